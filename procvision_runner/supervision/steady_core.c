/* The compiled form of `steady_calls`, a supervisor's and a pool's: a call to a host that is well, while nothing else
   goes on.

   The strategy is that of `steady_calls.py`, which stays the reference and what runs where this can't: let the call in,
   have the host's own steady calls make it, count it. What isn't as it is as a rule is left to that module: with nothing
   done, or with a call that came, was answered, or has failed as it would have there.
   What is shared with other threads is changed only while the interpreter's lock is held without a break and the lock
   that guards it is free: nobody can take that meanwhile. So between the look at a lock and the end of what it guards
   nothing runs that could let another thread in: no Python, and nothing that the collector counts is made. */

#include "../../procvision_sdk/wire/steady.h"

#define MOST_KEPT 4096 /* Sessions and open products, as `affinity` and `records` have it; the oldest go there. */

/* What the core is made of: objects of the general code, handed over by name. */
#define PARTS(X) \
    X(besides) X(go_on) X(filled) X(admission) X(admission_locked) X(enter_alone) X(leave_alone) X(withdraw) \
    X(sessions) X(bindings) X(orders) X(suspects) X(bus) X(inspections) X(inspections_locked) X(product_of) \
    X(open_products) X(metrics) X(metrics_locked) X(call_ended) X(products) X(counters) X(latencies) X(Host) X(Binding) \
    X(Lease) X(InspectionSession) X(SessionRef) X(CallResult) X(AttemptFailedError)

/* What is a pool's own. */
#define POOL_PARTS(X) \
    X(calls) X(of) X(bindings) X(locked) X(of_session) X(end) X(goes_anywhere) X(besides) X(CallError)

/* The slots that are read and written directly: of which part's class, and under which name. */
#define FIELDS(X) \
    X(admission, current) X(admission, _line) X(admission, _refusal) X(sessions, _ttl_s) X(suspects, any) \
    X(bus, calls_heard) X(inspections, heard) X(Host, calls) X(Host, inspect) X(Host, in_flight) X(Host, overdue) X(Host, closing) \
    X(Host, draining) X(Host, ready) X(Binding, host) X(Binding, answered) X(Binding, owner) X(Binding, lost) \
    X(Binding, used_at) X(InspectionSession, reference) X(SessionRef, id) X(CallResult, phase) X(CallResult, status) \
    X(CallResult, data)

PV_NAMES

#define PV_POOL_PART(part) POOL_##part,
enum { POOL_PARTS(PV_POOL_PART) N_POOL_PARTS };
static const char *const POOL_PART_NAMES[] = {POOL_PARTS(PV_PART_NAME)};

static PyObject *text_execute, *text_pre, *text_ok, *text_ng, *text_error, *text_none, *text_result_status, 
    *text_lend, *text_append, *text_move_to_end, *text_calls_ok, *text_calls_ng, *text_calls_none, 
    *text_products_ok, *text_products_ng;
static PyObject *zero, *one, *names_of_leaving, *names_of_product;

typedef struct {
    PyObject_HEAD
    PyObject *part[N_PARTS];
    pv_place field[N_FIELDS];
    PyObject *keep_latency[2]; /* What adds to the latencies of `pre` and `execute`; NULL before there are any. */
    PyObject *step, *phase, *key; /* The last call's, and both as `Products` has them. */
    int forks;
} Calls;

typedef struct {
    PyObject_HEAD
    PyObject *part[N_POOL_PARTS];
    Py_ssize_t turn; /* Who got the last call that could go to any. */
    int forks;
} Pool;

/* The arguments of `inspect`, in their order. */
enum { PHASE, IMAGE, PID, STEP_INDEX, SESSION, USER_PARAMS, FINAL, CAMERA_ID, TIMESTAMP_MS, TIMEOUT_S, N_ARGUMENTS };

/* A call that was let in. */
typedef struct {
    PyObject *host, *binding, *session_id, *order; /* Owned; NULL for none. */
    double began, ended;
} Entered;

/* --- coming ------------------------------------------------------------------------------------------------------- */

/* Whether a host may have a call that comes alone. */
static int is_free(Calls *self, PyObject *host)
{
    return OF(admission, current) == host && Py_IS_TYPE(host, (PyTypeObject *)PART(Host)) && OF(admission, _refusal) == Py_None &&
           PyList_CheckExact(OF(admission, _line)) && PyList_GET_SIZE(OF(admission, _line)) == 0 &&
           IN(host, Host, in_flight) == zero && IN(host, Host, overdue) == zero && IN(host, Host, closing) == Py_False &&
           IN(host, Host, draining) == Py_False && IN(host, Host, ready) == Py_True;
}

/* Whether a call could be let in now, and nobody listens to it. */
static int takes(Calls *self)
{
    PyObject *host = OF(admission, current);
    return OF(suspects, any) == Py_False && OF(bus, calls_heard) == Py_False && OF(inspections, heard) == Py_False &&
           is_free(self, host) && IN(host, Host, inspect) != Py_None;
}

/* Gives the id of a session, borrowed; NULL for none, or with `left` set for what is left. */
static PyObject *id_of(Calls *self, PyObject *session, int *left)
{
    *left = 0;
    if (session == Py_None)
        return NULL;
    if (Py_IS_TYPE(session, (PyTypeObject *)PART(InspectionSession))) {
        PyObject *reference = IN(session, InspectionSession, reference);
        if (reference != NULL && Py_IS_TYPE(reference, (PyTypeObject *)PART(SessionRef)))
            session = IN(reference, SessionRef, id);
    }
    *left = !PyUnicode_CheckExact(session);
    return session;
}

/* Gives a new session's binding; NULL, without an exception, where there can't be one more. */
static PyObject *new_binding(Calls *self, double now)
{
    PyTypeObject *type = (PyTypeObject *)PART(Binding);
    PyObject *used_at = PyFloat_FromDouble(now), *made = NULL;
    if (used_at != NULL && PyDict_GET_SIZE(PART(bindings)) < MOST_KEPT && (made = type->tp_alloc(type, 0)) != NULL) {
        SET(made, Binding, host, Py_None);
        SET(made, Binding, answered, Py_False);
        SET(made, Binding, owner, Py_None);
        SET(made, Binding, lost, Py_None);
        SET(made, Binding, used_at, used_at);
    }
    Py_XDECREF(used_at);
    PyErr_Clear();
    return made;
}

/* Lets a call in if all is quiet. Gives 0 for what is left. */
static int enter(Calls *self, Entered *entered)
{
    PyObject *binding = NULL, *host = entered->host, *id = entered->session_id;
    int new = 0;
    if (id != NULL) {
        binding = Py_XNewRef(PyDict_GetItemWithError(PART(bindings), id));
        if (binding == NULL) {
            binding = new_binding(self, entered->began);
            new = binding != NULL && PyDict_GetItemWithError(PART(bindings), id) == NULL;
            if (!new)
                goto left;
        }
        else if (IN(binding, Binding, lost) != Py_None || IN(binding, Binding, owner) != Py_None ||
                 (IN(binding, Binding, host) != host && IN(binding, Binding, host) != Py_None) ||
                 entered->began - PyFloat_AsDouble(IN(binding, Binding, used_at)) > PyFloat_AsDouble(OF(sessions, _ttl_s)))
            goto left;
    }
    if (pv_is_locked(PART(admission_locked)) != 0 || !is_free(self, host) ||
        (new && PyObject_SetItem(PART(bindings), id, binding) < 0))
        goto left;
    SET(host, Host, in_flight, one);
    if (binding != NULL) {
        SET(binding, Binding, host, host);
        SET(binding, Binding, owner, (PyObject *)self);
    }
    entered->binding = binding;
    return 1;
left:
    PyErr_Clear();
    Py_XDECREF(binding);
    return 0;
}

/* --- going -------------------------------------------------------------------------------------------------------- */

/* Adds one to a counter. */
static int count(Calls *self, PyObject *name)
{
    PyObject *known = PyDict_GetItemWithError(PART(counters), name);
    PyObject *more = known != NULL ? PyNumber_Add(known, one) : PyErr_Occurred() ? NULL : Py_NewRef(one);
    int failed = more == NULL || PyDict_SetItem(PART(counters), name, more) < 0;
    Py_XDECREF(more);
    return failed ? -1 : 0;
}

/* Takes a call that was answered out of its host. */
static int leave(Calls *self, Entered *entered, PyObject *final)
{
    PyObject *host = entered->host, *binding = entered->binding, *id = entered->session_id;
    PyObject *used_at = binding != NULL ? PyFloat_FromDouble(entered->ended) : NULL;
    if ((binding == NULL || used_at != NULL) && pv_is_locked(PART(admission_locked)) == 0 &&
        IN(host, Host, in_flight) == one && IN(host, Host, closing) == Py_False && IN(host, Host, draining) == Py_False &&
        PyList_GET_SIZE(OF(admission, _line)) == 0) {
        SET(host, Host, in_flight, zero);
        if (binding == NULL)
            return 0;
        /* It is there still: what has an owner isn't forgotten. */
        SET(binding, Binding, answered, Py_True);
        SET(binding, Binding, owner, Py_None);
        PUT(binding, Binding, used_at, used_at);
        if (final == Py_True)
            return PyObject_DelItem(PART(bindings), id);
        if (PyDict_GET_SIZE(PART(bindings)) == 1)
            return 0;
        return pv_done(PyObject_CallMethodOneArg(PART(bindings), text_move_to_end, id));
    }
    Py_XDECREF(used_at);
    if (PyErr_Occurred())
        PyErr_Clear();
    PyObject *arguments[] = {host, binding != NULL ? binding : Py_None, id != NULL ? id : Py_None, Py_True, final};
    return pv_done(PyObject_Vectorcall(PART(leave_alone), arguments, 3, names_of_leaving));
}

/* Counts the end of a call. */
static int count_call(Calls *self, PyObject *phase, PyObject *outcome, Entered *entered)
{
    PyObject *elapsed_ms = PyFloat_FromDouble(floor((entered->ended - entered->began) * 1e6 + 0.5) / 1e3);
    if (elapsed_ms == NULL)
        return -1;
    PyObject **keep = &self->keep_latency[phase == text_execute];
    PyObject *name = outcome == text_ok     ? text_calls_ok
                     : outcome == text_ng   ? text_calls_ng
                     : outcome == text_none ? text_calls_none
                                            : NULL;
    int failed;
    if (*keep != NULL && name != NULL && pv_is_locked(PART(metrics_locked)) == 0)
        failed = count(self, name) < 0 || pv_done(PyObject_CallOneArg(*keep, elapsed_ms)) < 0;
    else {
        failed = pv_done(PyObject_CallFunctionObjArgs(PART(call_ended), phase, outcome, elapsed_ms, NULL)) < 0;
        PyObject *kept = failed ? NULL : PyDict_GetItemWithError(PART(latencies), phase);
        if (kept != NULL && *keep == NULL)
            *keep = PyObject_GetAttr(kept, text_append);
        failed = failed || PyErr_Occurred() != NULL;
    }
    Py_DECREF(elapsed_ms);
    return failed ? -1 : 0;
}

/* Counts a product that is over with its last call. */
static int count_product(Calls *self, PyObject *verdict)
{
    if ((verdict == text_ok || verdict == text_ng) && pv_is_locked(PART(metrics_locked)) == 0)
        return count(self, verdict == text_ok ? text_products_ok : text_products_ng);
    PyObject *verdicts = PyTuple_Pack(1, verdict);
    int failed = verdicts == NULL ? -1 : pv_done(PyObject_CallOneArg(PART(products), verdicts));
    Py_XDECREF(verdicts);
    return failed;
}

/* Gives the verdict of a product, borrowed, as `records` has it. */
static PyObject *verdict_of(PyObject *steps)
{
    Py_ssize_t place = 0;
    PyObject *key, *outcome, *found = PyDict_GET_SIZE(steps) > 0 ? text_ok : text_error;
    while (PyDict_Next(steps, &place, &key, &outcome)) {
        if (pv_is(outcome, "NG", 2))
            return text_ng;
        if (!pv_is(outcome, "OK", 2))
            found = text_error;
    }
    return found;
}

/* Gives phase and step as a key, which is the last call's as a rule. */
static PyObject *key_of(Calls *self, PyObject *const *args)
{
    if (self->key == NULL || self->step != args[STEP_INDEX] || self->phase != args[PHASE]) {
        PyObject *key = PyTuple_Pack(2, args[PHASE], args[STEP_INDEX]);
        if (key == NULL)
            return NULL;
        Py_XSETREF(self->key, key);
        Py_XSETREF(self->step, Py_NewRef(args[STEP_INDEX]));
        Py_XSETREF(self->phase, Py_NewRef(args[PHASE]));
    }
    return Py_NewRef(self->key);
}

/* Notes what a call says of its product, and counts the product if it is over. As `Products.call_ended`. */
static int note_product(Calls *self, PyObject *const *args, PyObject *id, PyObject *outcome)
{
    int executes = args[PHASE] == text_execute, final = args[FINAL] == Py_True;
    if (id == NULL)
        return !executes ? 0 : count_product(self, outcome == text_ok || outcome == text_ng ? outcome : text_error);
    PyObject *open = PART(open_products), *key = key_of(self, args), *verdict = NULL;
    if (key == NULL)
        return -1;
    PyObject *steps = Py_XNewRef(PyDict_GetItemWithError(open, id));
    int new = steps == NULL, failed = 1;
    if (new && (PyErr_Occurred() || (steps = PyDict_New()) == NULL)) {
        Py_DECREF(key);
        return -1;
    }
    if (PyDict_CheckExact(steps) && pv_is_locked(PART(inspections_locked)) == 0 &&
        (!new || (PyDict_GetItemWithError(open, id) == NULL && (final || PyDict_GET_SIZE(open) < MOST_KEPT)))) {
        if (executes || outcome != text_none)
            failed = PyDict_SetItem(steps, key, outcome) < 0;
        else
            failed = PyDict_Contains(steps, key) > 0 && PyDict_DelItem(steps, key) < 0;
        if (!failed && final) {
            failed = !new && PyObject_DelItem(open, id) < 0;
            verdict = verdict_of(steps);
        }
        else if (!failed && new)
            failed = PyObject_SetItem(open, id, steps) < 0;
        else if (!failed && PyDict_GET_SIZE(open) > 1)
            failed = pv_done(PyObject_CallMethodOneArg(open, text_move_to_end, id)) < 0;
        if (!failed && verdict != NULL)
            failed = count_product(self, verdict) < 0;
    }
    else if (!PyErr_Occurred()) {
        PyObject *arguments[] = {args[PHASE], args[STEP_INDEX], id, outcome, args[FINAL]};
        PyObject *verdicts = PyObject_Vectorcall(PART(product_of), arguments, 4, names_of_product);
        failed = verdicts == NULL || pv_done(PyObject_CallOneArg(PART(products), verdicts)) < 0;
        Py_XDECREF(verdicts);
    }
    Py_DECREF(key);
    Py_DECREF(steps);
    return failed ? -1 : 0;
}

/* Gives what a call came to, borrowed. */
static PyObject *outcome_of(Calls *self, PyObject *result)
{
    if (!Py_IS_TYPE(result, (PyTypeObject *)PART(CallResult)) || !pv_is(IN(result, CallResult, status), "OK", 2))
        return text_error;
    if (!pv_is(IN(result, CallResult, phase), "execute", 7))
        return text_none;
    PyObject *data = IN(result, CallResult, data);
    return PyDict_CheckExact(data) && pv_is(PyDict_GetItemWithError(data, text_result_status), "OK", 2) ? text_ok : text_ng;
}

/* --- a call ------------------------------------------------------------------------------------------------------- */

/* Lets the general code make a call whose picture is in its slot, where that was put there here. `result` is None. */
static PyObject *left_to(PyObject *besides, PyObject *const *args, PyObject *lease, PyObject *result)
{
    if (result != Py_None || lease == args[IMAGE])
        return result;
    Py_DECREF(result);
    PyObject *given[N_ARGUMENTS];
    memcpy(given, args, sizeof given);
    given[IMAGE] = lease;
    return PyObject_Vectorcall(besides, given, N_ARGUMENTS, NULL);
}

/* Goes on with a call that has failed; an exception is set. */
static PyObject *go_on(Calls *self, Entered *entered, PyObject *const *args)
{
    PyObject *kind, *value, *trace, *result = NULL;
    PyErr_Fetch(&kind, &value, &trace);
    PyErr_NormalizeException(&kind, &value, &trace);
    PyObject *binding = entered->binding, *id = entered->session_id != NULL ? entered->session_id : Py_None;
    if (PyErr_GivenExceptionMatches(kind, PART(AttemptFailedError))) {
        PyObject *began = PyFloat_FromDouble(entered->began);
        if (began != NULL)
            result = PyObject_CallFunctionObjArgs(PART(go_on), value, entered->host, binding != NULL ? binding : Py_None, id,
                                                  entered->order, began, NULL);
        Py_XDECREF(began);
        Py_XDECREF(kind);
        Py_XDECREF(value);
        Py_XDECREF(trace);
        return result;
    }
    PyObject *arguments[] = {entered->host, binding != NULL ? binding : Py_None, id, Py_False, args[FINAL]};
    if (pv_done(PyObject_Vectorcall(PART(leave_alone), arguments, 3, names_of_leaving)) < 0)
        PyErr_Clear();
    PyErr_Restore(kind, value, trace);
    return NULL;
}

/* Makes a call in a host that it was let into. Gives its result; None, with nothing done, for one that isn't steady;
   NULL with an exception. */
static PyObject *made(Calls *self, Entered *entered, PyObject *const *args)
{
    PyObject *call = Py_NewRef(IN(entered->host, Host, inspect)); /* It is waited in: what it hangs on may change. */
    PyObject *result = PyObject_Vectorcall(call, args, N_ARGUMENTS, NULL);
    Py_DECREF(call);
    if (result == NULL)
        return go_on(self, entered, args);
    if (result == Py_None) {
        PyObject *binding = entered->binding != NULL ? entered->binding : Py_None;
        if (pv_done(PyObject_CallFunctionObjArgs(PART(withdraw), entered->host, binding, NULL)) < 0)
            Py_CLEAR(result);
        return result;
    }
    PyObject *outcome = outcome_of(self, result);
    entered->ended = pv_now();
    if (leave(self, entered, args[FINAL]) < 0 || count_call(self, args[PHASE], outcome, entered) < 0 ||
        note_product(self, args, entered->session_id, outcome) < 0)
        Py_CLEAR(result);
    return result;
}

/* Makes a call whose picture is in its slot. Gives its result; None, with nothing done, where it isn't let in or isn't
   steady; NULL with an exception. */
static PyObject *attempt(Calls *self, PyObject *const *args, PyObject *session_id)
{
    PyObject *result = NULL;
    if (!takes(self))
        Py_RETURN_NONE;
    Entered entered = {.host = Py_NewRef(OF(admission, current)), .session_id = Py_XNewRef(session_id)};
    entered.order = PyIter_Next(PART(orders));
    entered.began = pv_now();
    if (entered.order == NULL) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_SystemError, "the orders of calls have an end");
    }
    else if (enter(self, &entered))
        result = made(self, &entered, args);
    else {
        /* A session that is new, or something goes on. */
        PyObject *began = PyFloat_FromDouble(entered.began), *id = session_id != NULL ? session_id : Py_None;
        entered.binding = began == NULL ? NULL : PyObject_CallFunctionObjArgs(PART(enter_alone), entered.host, id, began, NULL);
        Py_XDECREF(began);
        if (entered.binding == Py_None)
            result = Py_NewRef(Py_None);
        else if (entered.binding != NULL) {
            if (session_id == NULL)
                Py_CLEAR(entered.binding);
            result = made(self, &entered, args);
        }
    }
    Py_XDECREF(entered.order);
    Py_XDECREF(entered.binding);
    Py_XDECREF(entered.session_id);
    Py_DECREF(entered.host);
    return result;
}

/* Whether the arguments could be a steady call's; `id` is its session's then, borrowed, or NULL. Gives -1 and an
   exception for too few or too many. */
static int could_be_steady(Calls *self, PyObject *const *args, Py_ssize_t count_, int forks, PyObject **id)
{
    *id = NULL;
    if (count_ != N_ARGUMENTS) {
        PyErr_Format(PyExc_TypeError, "inspect takes %d arguments, these are %zd", N_ARGUMENTS, count_);
        return -1;
    }
    int left;
    *id = id_of(self, args[SESSION], &left);
    return !left && forks == pv_forks && PyBool_Check(args[FINAL]) && (args[PHASE] == text_execute || args[PHASE] == text_pre);
}

/* Gives a call's picture in its slot, or None for none; NULL with an exception; NULL without for one of another kind. */
static PyObject *filled(Calls *self, PyObject *image)
{
    if (image == Py_None || Py_IS_TYPE(image, (PyTypeObject *)PART(Lease)))
        return Py_NewRef(image);
    PyObject *lease = PyObject_CallOneArg(PART(filled), image);
    if (lease == Py_None)
        Py_CLEAR(lease);
    return lease;
}

static PyObject *inspect(Calls *self, PyObject *const *args, Py_ssize_t count_)
{
    PyObject *id, *given[N_ARGUMENTS];
    int steady = could_be_steady(self, args, count_, self->forks, &id);
    if (steady < 0)
        return NULL;
    if (!steady || !takes(self))
        Py_RETURN_NONE;
    Py_XINCREF(id);
    PyObject *lease = filled(self, args[IMAGE]), *result = NULL;
    if (lease != NULL) {
        memcpy(given, args, sizeof given);
        given[IMAGE] = lease;
        result = left_to(PART(besides), args, lease, attempt(self, given, id));
        Py_DECREF(lease);
    }
    else if (!PyErr_Occurred())
        result = Py_NewRef(Py_None);
    Py_XDECREF(id);
    return result;
}

/* lend(width, height, color_space): as the current host's steady calls do. */
static PyObject *lend(Calls *self, PyObject *const *args, Py_ssize_t count_)
{
    PyObject *host = OF(admission, current);
    if (!Py_IS_TYPE(host, (PyTypeObject *)PART(Host)) || self->forks != pv_forks)
        Py_RETURN_NONE;
    PyObject *calls = IN(host, Host, calls);
    if (calls == Py_None)
        Py_RETURN_NONE;
    if (count_ != 3) {
        PyErr_SetString(PyExc_TypeError, "lend takes width, height and color_space");
        return NULL;
    }
    PyObject *given[] = {Py_NewRef(calls), args[0], args[1], args[2]};
    PyObject *lease = PyObject_VectorcallMethod(text_lend, given, 4, NULL);
    Py_DECREF(calls);
    return lease;
}

/* --- several supervisors ------------------------------------------------------------------------------------------ */

/* The calls of the supervisor in this place, borrowed. The pool keeps them. */
static inline Calls *calls_in(Pool *pool, Py_ssize_t place)
{
    return (Calls *)PyTuple_GET_ITEM(pool->part[POOL_calls], place);
}

/* Gives the calls of a supervisor, borrowed; NULL, without an exception, for none of the pool's. */
static Calls *calls_of(Pool *pool, PyObject *supervisor)
{
    PyObject *found = PyDict_GetItemWithError(pool->part[POOL_of], supervisor);
    if (found == NULL)
        PyErr_Clear();
    return (Calls *)found;
}

/* Gives the calls of the supervisor that has a session, borrowed; NULL, without an exception, for a new one. */
static Calls *holder(Pool *pool, PyObject *id)
{
    Calls *self = calls_in(pool, 0);
    PyObject *bindings = pool->part[POOL_bindings], *binding = PyDict_GetItemWithError(bindings, id);
    PyObject *used_at = binding != NULL ? PyFloat_FromDouble(pv_now()) : NULL;
    Calls *found = NULL;
    if (used_at != NULL && IN(binding, Binding, host) != Py_None && pv_is_locked(pool->part[POOL_locked]) == 0 &&
        PyFloat_AS_DOUBLE(used_at) - PyFloat_AsDouble(IN(binding, Binding, used_at)) <= PyFloat_AsDouble(OF(sessions, _ttl_s))) {
        found = calls_of(pool, IN(binding, Binding, host));
        SET(binding, Binding, used_at, used_at);
        if (PyDict_GET_SIZE(bindings) > 1 && pv_done(PyObject_CallMethodOneArg(bindings, text_move_to_end, id)) < 0)
            found = NULL;
    }
    Py_XDECREF(used_at);
    PyErr_Clear();
    return found;
}

/* Whether any supervisor could take a call. */
static int any_takes(Pool *pool)
{
    for (Py_ssize_t place = PyTuple_GET_SIZE(pool->part[POOL_calls]); place-- > 0;)
        if (takes(calls_in(pool, place)))
            return 1;
    return 0;
}

/* Makes a call in the next supervisor that has none, in turn. As `attempt`. */
static PyObject *attempt_in_turn(Pool *pool, PyObject *const *args, PyObject *id)
{
    Py_ssize_t count_ = PyTuple_GET_SIZE(pool->part[POOL_calls]), last = pool->turn;
    for (Py_ssize_t offset = 1; offset <= count_; offset++) {
        Py_ssize_t place = (last + offset) % count_;
        if (!takes(calls_in(pool, place)))
            continue;
        pool->turn = place;
        PyObject *result = attempt(calls_in(pool, place), args, id);
        if (result != Py_None)
            return result;
        Py_DECREF(result);
    }
    Py_RETURN_NONE;
}

/* Makes a call in the supervisor that has its session; a new one is bound now. As `attempt`. */
static PyObject *attempt_of_session(Pool *pool, Calls *calls, PyObject *const *args, PyObject *id)
{
    if (calls == NULL) {
        PyObject *supervisor = PyObject_CallOneArg(pool->part[POOL_of_session], id);
        if (supervisor == NULL)
            return NULL;
        calls = calls_of(pool, supervisor);
        Py_DECREF(supervisor);
        if (calls == NULL)
            Py_RETURN_NONE;
    }
    PyObject *result = attempt(calls, args, id);
    if (args[FINAL] != Py_True || result == Py_None || (result == NULL && !PyErr_ExceptionMatches(pool->part[POOL_CallError])))
        return result;
    PyObject *kind, *value, *trace;
    PyErr_Fetch(&kind, &value, &trace);
    if (pv_done(PyObject_CallOneArg(pool->part[POOL_end], id)) < 0)
        PyErr_Clear();
    PyErr_Restore(kind, value, trace);
    return result;
}

static PyObject *pool_inspect(Pool *pool, PyObject *const *args, Py_ssize_t count_)
{
    Calls *first = calls_in(pool, 0), *calls = NULL;
    PyObject *id, *given[N_ARGUMENTS], *lease = NULL, *result = NULL;
    int steady = could_be_steady(first, args, count_, pool->forks, &id), stays = id != NULL;
    if (steady < 0)
        return NULL;
    if (!steady)
        Py_RETURN_NONE;
    Py_XINCREF(id);
    if (stays && pool->part[POOL_goes_anywhere] != Py_None) {
        PyObject *anywhere = PyObject_CallNoArgs(pool->part[POOL_goes_anywhere]);
        stays = anywhere != Py_True;
        if (pv_done(anywhere) < 0)
            goto done;
    }
    if (stays)
        calls = holder(pool, id);
    if (calls != NULL ? takes(calls) : any_takes(pool))
        lease = filled(first, args[IMAGE]);
    if (lease != NULL) {
        memcpy(given, args, sizeof given);
        given[IMAGE] = lease;
        result = stays ? attempt_of_session(pool, calls, given, id) : attempt_in_turn(pool, given, id);
        result = left_to(pool->part[POOL_besides], args, lease, result);
        Py_DECREF(lease);
    }
    else if (!PyErr_Occurred())
        result = Py_NewRef(Py_None);
done:
    Py_XDECREF(id);
    return result;
}

static PyObject *pool_lend(Pool *pool, PyObject *const *args, Py_ssize_t count_)
{
    return lend(calls_in(pool, 0), args, count_);
}

/* --- the types ---------------------------------------------------------------------------------------------------- */

static int calls_traverse(Calls *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    for (int part = 0; part < N_PARTS; part++)
        Py_VISIT(self->part[part]);
    Py_VISIT(self->keep_latency[0]);
    Py_VISIT(self->keep_latency[1]);
    return 0;
}

static int calls_clear(Calls *self)
{
    for (int part = 0; part < N_PARTS; part++)
        Py_CLEAR(self->part[part]);
    Py_CLEAR(self->keep_latency[0]);
    Py_CLEAR(self->keep_latency[1]);
    Py_CLEAR(self->step);
    Py_CLEAR(self->phase);
    Py_CLEAR(self->key);
    return 0;
}

static void calls_dealloc(Calls *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    calls_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* SupervisedCalls(parts) */
static PyObject *calls_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *parts;
    if (!pv_no_keywords(type, kwargs) || !PyArg_ParseTuple(args, "O!", &PyDict_Type, &parts))
        return NULL;
    Calls *self = (Calls *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    if (pv_take(parts, PART_NAMES, N_PARTS, self->part, FIELD_NAMES, N_FIELDS, self->field) < 0)
        goto fail;
    if (!PyDict_Check(PART(bindings)) || !PyDict_Check(PART(counters)) || !PyDict_Check(PART(latencies)) ||
        !PyDict_Check(PART(open_products)) || !PyIter_Check(PART(orders))) {
        PyErr_SetString(PyExc_TypeError, "sessions, counters, latencies and products are dicts, the orders an iterator");
        goto fail;
    }
    self->forks = pv_forks;
    return (PyObject *)self;
fail:
    Py_DECREF(self);
    return NULL;
}

static PyMethodDef calls_methods[] = {
    {"lend", (PyCFunction)(void (*)(void))lend, METH_FASTCALL, NULL},
    {"inspect", (PyCFunction)(void (*)(void))inspect, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot calls_slots[] = {
    {Py_tp_new, calls_new},
    {Py_tp_dealloc, calls_dealloc},
    {Py_tp_traverse, calls_traverse},
    {Py_tp_clear, calls_clear},
    {Py_tp_methods, calls_methods},
    {0, NULL},
};

static PyType_Spec calls_spec = {
    .name = "procvision_runner.supervision.steady_core.SupervisedCalls",
    .basicsize = sizeof(Calls),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = calls_slots,
};

static int pool_traverse(Pool *pool, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(pool));
    for (int part = 0; part < N_POOL_PARTS; part++)
        Py_VISIT(pool->part[part]);
    return 0;
}

static int pool_clear(Pool *pool)
{
    for (int part = 0; part < N_POOL_PARTS; part++)
        Py_CLEAR(pool->part[part]);
    return 0;
}

static void pool_dealloc(Pool *pool)
{
    PyTypeObject *type = Py_TYPE(pool);
    PyObject_GC_UnTrack(pool);
    pool_clear(pool);
    type->tp_free(pool);
    Py_DECREF(type);
}

/* PooledCalls(parts) */
static PyObject *pool_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *parts;
    if (!pv_no_keywords(type, kwargs) || !PyArg_ParseTuple(args, "O!", &PyDict_Type, &parts))
        return NULL;
    Pool *pool = (Pool *)type->tp_alloc(type, 0);
    if (pool == NULL)
        return NULL;
    pool->turn = -1;
    pool->forks = pv_forks;
    if (pv_take(parts, POOL_PART_NAMES, N_POOL_PARTS, pool->part, NULL, 0, NULL) < 0)
        goto fail;
    PyObject *calls = pool->part[POOL_calls];
    int fits = PyTuple_CheckExact(calls) && PyTuple_GET_SIZE(calls) > 0 && PyDict_CheckExact(pool->part[POOL_of]) &&
               PyDict_Check(pool->part[POOL_bindings]);
    for (Py_ssize_t place = 0; fits && place < PyTuple_GET_SIZE(calls); place++)
        fits = Py_TYPE(PyTuple_GET_ITEM(calls, place))->tp_dealloc == (destructor)calls_dealloc;
    PyObject *key, *value;
    for (Py_ssize_t place = 0; fits && PyDict_Next(pool->part[POOL_of], &place, &key, &value);)
        fits = Py_TYPE(value)->tp_dealloc == (destructor)calls_dealloc;
    if (fits)
        return (PyObject *)pool;
    PyErr_SetString(PyExc_TypeError, "a pool has a tuple of SupervisedCalls, a dict of them, and one of sessions");
fail:
    Py_DECREF(pool);
    return NULL;
}

static PyMethodDef pool_methods[] = {
    {"lend", (PyCFunction)(void (*)(void))pool_lend, METH_FASTCALL, NULL},
    {"inspect", (PyCFunction)(void (*)(void))pool_inspect, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot pool_slots[] = {
    {Py_tp_new, pool_new},
    {Py_tp_dealloc, pool_dealloc},
    {Py_tp_traverse, pool_traverse},
    {Py_tp_clear, pool_clear},
    {Py_tp_methods, pool_methods},
    {0, NULL},
};

static PyType_Spec pool_spec = {
    .name = "procvision_runner.supervision.steady_core.PooledCalls",
    .basicsize = sizeof(Pool),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = pool_slots,
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "steady_core", .m_size = -1};

PyMODINIT_FUNC PyInit_steady_core(void)
{
    static const pv_text texts[] = {
        {&text_execute, "execute"}, {&text_pre, "pre"}, {&text_ok, "OK"}, {&text_ng, "NG"}, {&text_error, "ERROR"},
        {&text_none, "NONE"}, {&text_result_status, "result_status"}, {&text_lend, "lend"},
        {&text_append, "append"}, {&text_move_to_end, "move_to_end"}, {&text_calls_ok, "calls_OK"},
        {&text_calls_ng, "calls_NG"}, {&text_calls_none, "calls_NONE"}, {&text_products_ok, "products_OK"},
        {&text_products_ng, "products_NG"}};
    if (!pv_intern(texts, sizeof texts / sizeof *texts))
        return NULL;
    zero = PyLong_FromLong(0);
    one = PyLong_FromLong(1);
    names_of_leaving = Py_BuildValue("(ss)", "answered", "final");
    names_of_product = Py_BuildValue("(s)", "final");
    PyObject *module =
        pv_module(&definition, &calls_spec, zero != NULL && one != NULL && names_of_leaving != NULL && names_of_product != NULL);
    PyObject *type = module != NULL ? PyType_FromSpec(&pool_spec) : NULL;
    if (module != NULL && (type == NULL || PyModule_AddType(module, (PyTypeObject *)type) < 0))
        Py_CLEAR(module);
    Py_XDECREF(type);
    return module;
}
