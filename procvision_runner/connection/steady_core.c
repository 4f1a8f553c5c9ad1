/* The compiled form of `steady_calls`, the runner's side: a call like those before it, from arguments to result.

   The strategy is that of `steady_calls.py`, which stays the reference and what runs where this can't: the bytes that
   calls have in common are kept, what differs is put into them, and an answer that is one whole result of exactly this
   call ends it. Everything else is left to that module, with nothing begun, or with a call that was begun as it would
   have begun it, and with every byte that was read.
   What is shared with other threads is changed only while the interpreter's lock is held without a break and the call
   table's and the writer's lock are free: nobody can take them meanwhile. So between `quiet` and the end of what it
   guards nothing runs that could let another thread in: no Python, and nothing that the collector counts is made.
   Warning: what is read is a stranger's; `steady.h` says how it is read. */

#include "../../procvision_sdk/wire/steady.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/random.h>
#include <unistd.h>

#define KEPT_FRAME_BYTES 4096 /* As `writer.KEPT_FRAME_BYTES`. */
#define MAX_SHAPES 8
#define MAX_PARAMS 64
#define OWN_ID_CHARS 16
#define GENERATION_AT 16 /* As `layout` has it. */
#define GENERATION_BYTES 8
#define LONGEST_S 1e9 /* As `steady_calls` has it. */
#define HEAD_START 0.05 /* This and the next two as `call_table` has them. */
#define SHORTEST_HEAD_START_S 0.02
#define LONGEST_HEAD_START_S 0.25

/* What the core is made of: objects of the general code, handed over by name. */
#define PARTS(X) \
    X(python) X(inspect) X(outcome) X(filled) X(encode) X(shapes) X(interrupted) X(go_on) \
    X(lost) X(finish_writing) X(table) X(connection) X(splitter) X(leadership) X(receiver) X(writer) X(calls) X(pending_ids) \
    X(locked) X(writer_locked) X(writer_acquire) X(record) X(Call) X(PendingCall) X(InspectionSession) \
    X(SessionRef) X(Result) X(CallResult) X(Shape) X(PictureShape) X(Lease) X(SharedLease) X(ArenaSlot) X(slots) \
    X(slots_lock) X(AttemptFailedError) X(deployment) X(supervised) X(open) X(nobody) X(nobody_steps) X(caller) X(caller_steps)

/* The slots that are read and written directly: of which part's class, and under which name. */
#define FIELDS(X) \
    X(table, end) X(table, stopping) X(table, last_number) X(table, tick_at) X(table, waiting_for_room) \
    X(connection, state) X(connection, answers_without_ids) X(splitter, empty) \
    X(leadership, state) X(leadership, _steps) X(leadership, leader) \
    X(receiver, pong_awaited) X(writer, _closed) \
    X(Call, request_id) X(Call, session) X(Call, shared_mem_id) X(Call, image_meta) X(Call, timeout_ms) \
    X(InspectionSession, reference) X(SessionRef, id) X(SessionRef, context) \
    X(python, _picture) X(PictureShape, described) X(PictureShape, camera_id) X(PictureShape, told) \
    X(PictureShape, before_time) X(PictureShape, after_time) X(SharedLease, lease) X(SharedLease, _holders) \
    X(SharedLease, _lock) \
    X(Lease, described) X(Lease, _released) X(Lease, _array) X(Lease, _copy) X(Lease, _slot) X(Lease, _pool) \
    X(ArenaSlot, memory) X(ArenaSlot, generation) X(ArenaSlot, described) X(ArenaSlot, prefix) \
    X(slots, _free) X(slots, _closed) X(slots, _named) X(slots, _waiting) X(slots, _locked) \
    X(PendingCall, call) X(PendingCall, sent_at) X(PendingCall, timeout_s) X(PendingCall, deadline) \
    X(PendingCall, on_freed) X(PendingCall, lease) X(PendingCall, kept) X(PendingCall, told) X(PendingCall, timestamp_ms) \
    X(PendingCall, future) X(PendingCall, judge) X(PendingCall, answer) X(PendingCall, error) X(PendingCall, ended) \
    X(PendingCall, freed) X(PendingCall, took_s) X(PendingCall, needs_wake) X(PendingCall, woken) \
    X(Shape, call) X(Shape, head) X(Shape, middle) X(Shape, params)

PV_NAMES

static PyObject *text_execute, *text_pre, *text_out, *text_in, *text_ok, *text_empty, *text_result_status, *text_debug,
    *text_release, *text_setflags, *text_write, *own_session;
static PyObject *zero, *one, *two, *names_of_result, *names_of_call_result, *names_of_own, *names_of_final, *names_of_flags;

/* What calls of one phase, step and product have in common, and what the last of them had. */
typedef struct {
    PyObject *phase, *pid, *params, *head, *middle, *call, *pending;
    PyObject *step; /* The index as it was given. */
    long step_index;
    PyObject *session, *final;                       /* As they were given; Py_True or Py_False. */
    PyObject *session_text, *session_value;          /* The same in the frame, and for who asks. */
    PyObject *timeout_s, *timeout_ms;                /* NULL where `seconds` has no meaning yet. */
    double seconds;
    unsigned long long milliseconds;
    char answer[80]; /* What stands in a good answer between its request's id and its data. */
    Py_ssize_t answer_bytes;
    unsigned long met_at;
} Shape;

/* Bytes that went out or came in, for a crash report. */
#define KEPT_FRAMES 32 /* As `writer.KEPT_FRAMES`. */
#define SHORT_FRAME_BYTES 512
typedef struct {
    double at;
    PyObject *way; /* Borrowed; NULL where nothing is kept yet. */
    Py_ssize_t length;
    char data[SHORT_FRAME_BYTES];
} Kept;

typedef struct {
    PyObject_HEAD
    PyObject *part[N_PARTS];
    pv_place field[N_FIELDS];
    Shape shapes[MAX_SHAPES];
    double execute_s, pre_s;
    Py_ssize_t max_frame_bytes;
    unsigned long calls;
    int stdin_, stdout_, forks;
    PyObject *last_number;       /* What the table has, if no other call was begun since; owned. */
    unsigned long long number;   /* The same as a number. */
    unsigned long frames;        /* How many were kept. */
    Kept kept[KEPT_FRAMES];
    PyObject *lease;             /* The last that was lent, to be lent again when nobody has it any more. */
    int busy; /* A thread is in the middle of a call: `in` and `out` are its own. */
    char out[PV_READ_BYTES], in[PV_READ_BYTES];
} Core;

static void forget(Shape *shape)
{
    Py_CLEAR(shape->phase);
    Py_CLEAR(shape->pid);
    Py_CLEAR(shape->step);
    Py_CLEAR(shape->params);
    Py_CLEAR(shape->head);
    Py_CLEAR(shape->middle);
    Py_CLEAR(shape->call);
    Py_CLEAR(shape->pending);
    Py_CLEAR(shape->session);
    Py_CLEAR(shape->final);
    Py_CLEAR(shape->session_text);
    Py_CLEAR(shape->session_value);
    Py_CLEAR(shape->timeout_s);
    Py_CLEAR(shape->timeout_ms);
}

static Py_ssize_t put_between(char *between, Py_ssize_t room, PyObject *phase, long step_index);

/* --- which calls are steady --------------------------------------------------------------------------------------- */

/* Whether parameters are the very objects that they were. */
static int the_same(PyObject *given, PyObject *known)
{
    Py_ssize_t count = PyTuple_GET_SIZE(known) / 2;
    if (given == Py_None)
        return count == 0;
    if (!PyDict_CheckExact(given) || PyDict_GET_SIZE(given) != count)
        return 0;
    Py_ssize_t place = 0, at = 0;
    PyObject *key, *value;
    while (PyDict_Next(given, &place, &key, &value)) {
        if (key != PyTuple_GET_ITEM(known, at) || value != PyTuple_GET_ITEM(known, at + 1))
            return 0;
        at += 2;
    }
    return 1;
}

/* The arguments of `inspect`, in their order. */
enum { PHASE, IMAGE, PID, STEP_INDEX, SESSION, USER_PARAMS, FINAL, CAMERA_ID, TIMESTAMP_MS, TIMEOUT_S, N_ARGUMENTS };

/* Gives a call's time; 0 for one that is left. */
static double seconds_of(Core *self, PyObject *const *args)
{
    PyObject *given = args[TIMEOUT_S];
    double seconds = 0;
    if (given == Py_None)
        seconds = args[PHASE] == text_execute ? self->execute_s : self->pre_s;
    else if (PyFloat_CheckExact(given))
        seconds = PyFloat_AS_DOUBLE(given);
    else if (PyLong_CheckExact(given)) {
        seconds = PyLong_AsDouble(given);
        if (PyErr_Occurred())
            PyErr_Clear();
    }
    return seconds > 0 && seconds < LONGEST_S ? seconds : 0;
}

static Shape *shape_of(Core *self, PyObject *const *args)
{
    if (!PyLong_CheckExact(args[STEP_INDEX]) || !PyUnicode_CheckExact(args[PID]) || !PyBool_Check(args[FINAL]) ||
        (args[FINAL] == Py_True && args[SESSION] == Py_None) || seconds_of(self, args) == 0)
        return NULL;
    for (Shape *shape = self->shapes; shape < self->shapes + MAX_SHAPES && shape->head != NULL; shape++)
        if (shape->step == args[STEP_INDEX] && shape->phase == args[PHASE] && pv_same_text(shape->pid, args[PID]) &&
            the_same(args[USER_PARAMS], shape->params))
            return shape;
    return NULL;
}

/* Takes over what the general code remembers of the call that it has just made. Fails without an exception. */
static void learn(Core *self, PyObject *const *args)
{
    long step_index = PyLong_CheckExact(args[STEP_INDEX]) ? PyLong_AsLong(args[STEP_INDEX]) : -1;
    if (step_index < 0 || !PyUnicode_CheckExact(args[PID]) || (args[PHASE] != text_execute && args[PHASE] != text_pre)) {
        PyErr_Clear();
        return;
    }
    PyObject *key = PyTuple_Pack(3, args[PHASE], args[STEP_INDEX], args[PID]);
    PyObject *found = key == NULL ? NULL : PyDict_GetItemWithError(PART(shapes), key);
    Py_XDECREF(key);
    if (found == NULL) {
        PyErr_Clear();
        return;
    }
    PyObject *params = IN(found, Shape, params), *head = IN(found, Shape, head), *middle = IN(found, Shape, middle);
    if (params == NULL || !PyTuple_CheckExact(params) || head == NULL || !PyBytes_CheckExact(head) || middle == NULL ||
        !PyBytes_CheckExact(middle) || PyTuple_GET_SIZE(params) > MAX_PARAMS ||
        PyBytes_GET_SIZE(head) > PV_READ_BYTES / 2 || PyBytes_GET_SIZE(middle) > PV_READ_BYTES / 2)
        return;
    PyObject *flat = PyTuple_New(2 * PyTuple_GET_SIZE(params));
    if (flat == NULL) {
        PyErr_Clear();
        return;
    }
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(params); at++)
        for (int half = 0; half < 2; half++) {
            PyObject *item = PyTuple_GET_ITEM(PyTuple_GET_ITEM(params, at), half);
            Py_INCREF(item);
            PyTuple_SET_ITEM(flat, 2 * at + half, item);
        }
    if (!the_same(args[USER_PARAMS], flat)) {
        Py_DECREF(flat); /* Another thread has made a call of this form since. */
        return;
    }
    Shape *place = self->shapes;
    for (Shape *shape = self->shapes; shape < self->shapes + MAX_SHAPES; shape++) {
        if (shape->head == NULL || (shape->phase == args[PHASE] && shape->step_index == step_index &&
                                    pv_same_text(shape->pid, args[PID]))) {
            place = shape;
            break;
        }
        if (shape->met_at < place->met_at)
            place = shape;
    }
    Shape old = *place;
    memset(place, 0, sizeof *place);
    place->answer_bytes = put_between(place->answer, sizeof place->answer, args[PHASE], step_index);
    place->step_index = step_index;
    place->met_at = self->calls;
#define KEEP(field, value) Py_INCREF(value), place->field = value
    KEEP(phase, args[PHASE]);
    KEEP(pid, args[PID]);
    KEEP(step, args[STEP_INDEX]);
    KEEP(head, head);
    KEEP(middle, middle);
    KEEP(call, IN(found, Shape, call));
#undef KEEP
    place->params = flat;
    forget(&old);
}

/* As `host_timeout_ms`. */
static unsigned long long host_milliseconds(double seconds)
{
    double head_start = seconds * HEAD_START;
    if (head_start < SHORTEST_HEAD_START_S)
        head_start = SHORTEST_HEAD_START_S;
    if (head_start > LONGEST_HEAD_START_S)
        head_start = LONGEST_HEAD_START_S;
    if (head_start > seconds / 2)
        head_start = seconds / 2;
    unsigned long long found = (unsigned long long)((seconds - head_start) * 1000);
    return found > 0 ? found : 1;
}

/* Keeps the time of a call that has another than the last. Fails without an exception. */
static int retime(Shape *shape, PyObject *given, double seconds)
{
    unsigned long long milliseconds = host_milliseconds(seconds);
    PyObject *timeout_ms = PyLong_FromUnsignedLongLong(milliseconds);
    PyObject *timeout_s = given == Py_None ? PyFloat_FromDouble(seconds) : Py_NewRef(given);
    if (timeout_ms == NULL || timeout_s == NULL) {
        Py_XDECREF(timeout_ms);
        Py_XDECREF(timeout_s);
        PyErr_Clear();
        return -1;
    }
    shape->seconds = seconds;
    shape->milliseconds = milliseconds;
    Py_XSETREF(shape->timeout_s, timeout_s);
    Py_XSETREF(shape->timeout_ms, timeout_ms);
    return 0;
}

/* Keeps the session of a call that has another than the last. Fails without an exception. */
static int another_session(Core *self, Shape *shape, PyObject *session, PyObject *final)
{
    PyObject *value = NULL, *text = NULL;
    if (session == Py_None)
        text = Py_NewRef(own_session);
    else if (Py_IS_TYPE(session, (PyTypeObject *)PART(InspectionSession))) {
        PyObject *reference = IN(session, InspectionSession, reference);
        if (reference == NULL || !Py_IS_TYPE(reference, (PyTypeObject *)PART(SessionRef)))
            return -1;
        if (final == Py_True) {
            PyObject *arguments[] = {IN(reference, SessionRef, id), Py_True, IN(reference, SessionRef, context)};
            value = PyObject_Vectorcall(PART(SessionRef), arguments, 0, names_of_final);
        }
        else
            value = Py_NewRef(reference);
    }
    else if (PyUnicode_CheckExact(session)) {
        PyObject *arguments[] = {session, final};
        value = PyObject_Vectorcall(PART(SessionRef), arguments, 0, names_of_own);
    }
    if (value != NULL)
        text = PyObject_CallOneArg(PART(encode), value);
    if (text == NULL || !PyBytes_CheckExact(text) || PyBytes_GET_SIZE(text) > PV_READ_BYTES / 2) {
        Py_XDECREF(value);
        Py_XDECREF(text);
        PyErr_Clear();
        return -1;
    }
    Py_XSETREF(shape->session, Py_NewRef(session));
    Py_XSETREF(shape->final, Py_NewRef(final));
    Py_XSETREF(shape->session_text, text);
    Py_XSETREF(shape->session_value, value);
    return 0;
}

/* --- a call's beginning ------------------------------------------------------------------------------------------- */

/* Whether a call can begin here, as the only one, with no other thread in between. */
static int quiet(Core *self)
{
    return PyDict_GET_SIZE(PART(calls)) == 0 && PySet_GET_SIZE(PART(pending_ids)) == 0 &&
           OF(table, end) == Py_None && OF(table, stopping) == Py_False && OF(connection, state) == PART(open) &&
           OF(connection, answers_without_ids) == Py_False && OF(splitter, empty) == Py_True &&
           OF(leadership, state) == PART(nobody) && OF(writer, _closed) == Py_False && pv_is_locked(PART(locked)) == 0 &&
           pv_is_locked(PART(writer_locked)) == 0;
}

/* Makes the shape's `pending` one that nobody else has, with a call that nobody else has. */
static int renew(Core *self, Shape *shape)
{
    PyObject *pending = shape->pending;
    if (pending != NULL && Py_REFCNT(pending) == 1 && Py_REFCNT(IN(pending, PendingCall, call)) == 1)
        return 0;
    static PyObject *copy;
    if (copy == NULL && (copy = PyUnicode_InternFromString("__copy__")) == NULL)
        return -1;
    PyObject *call = PyObject_CallMethodNoArgs(shape->call, copy);
    if (call == NULL)
        return -1;
    PyObject *sent_at = PyFloat_FromDouble(0.0);
    PyObject *arguments[] = {call, sent_at, shape->timeout_s, Py_None};
    pending = sent_at == NULL ? NULL : PyObject_Vectorcall(PART(PendingCall), arguments, 4, NULL);
    Py_XDECREF(sent_at);
    Py_DECREF(call);
    if (pending == NULL)
        return -1;
    Py_XSETREF(shape->pending, pending);
    return 0;
}

/* Gives a frame as the general code keeps it. */
static PyObject *told(double at, PyObject *way, const char *data, Py_ssize_t length)
{
    PyObject *time = PyFloat_FromDouble(at);
    PyObject *bytes = PyBytes_FromStringAndSize(data, length < KEPT_FRAME_BYTES ? length : KEPT_FRAME_BYTES);
    PyObject *made = time == NULL || bytes == NULL ? NULL : PyTuple_Pack(3, time, way, bytes);
    Py_XDECREF(time);
    Py_XDECREF(bytes);
    return made;
}

/* Keeps bytes that went out or came in. A crash report that lacks a frame is better than a call that fails for it. */
static void keep(Core *self, double at, PyObject *way, const char *data, Py_ssize_t length)
{
    if (length <= SHORT_FRAME_BYTES) {
        Kept *kept = &self->kept[self->frames++ % KEPT_FRAMES];
        kept->at = at;
        kept->way = way;
        kept->length = length;
        memcpy(kept->data, data, length);
        return;
    }
    PyObject *record = told(at, way, data, length);
    if (record == NULL || pv_done(PyObject_CallOneArg(PART(record), record)) < 0)
        PyErr_Clear();
    Py_XDECREF(record);
}

/* frames(): what was kept here, the oldest first, as the general code keeps it. */
static PyObject *frames(Core *self, PyObject *Py_UNUSED(nothing))
{
    PyObject *found = PyList_New(0);
    for (unsigned long at = 0; found != NULL && at < KEPT_FRAMES; at++) {
        Kept *kept = &self->kept[(self->frames + at) % KEPT_FRAMES];
        PyObject *record = kept->way == NULL ? NULL : told(kept->at, kept->way, kept->data, kept->length);
        if ((record == NULL && kept->way != NULL) || (record != NULL && PyList_Append(found, record) < 0))
            Py_CLEAR(found);
        Py_XDECREF(record);
    }
    return found;
}

/* A call on its way. */
typedef struct {
    Shape *shape;
    PyObject *pending, *request_id; /* Owned. */
    char id[32];                    /* The same id as text. */
    Py_ssize_t id_bytes;
    double sent_at, deadline;
    PyObject *lease, *picture; /* Borrowed; NULL where there is no picture. */
    int64_t time_ms;
    uint64_t generation; /* As the call names it. */
} OnItsWay;

static const char HEX[] = "0123456789abcdef";

/* Whether a lease can be used for a call here: not yet used, in the arena, with the header written but for the
   generation. Gives that of the call, or 0. */
static uint64_t generation_of(Core *self, PyObject *lease)
{
    PyObject *slot = IN(lease, Lease, _slot);
    if (IN(lease, Lease, _released) != Py_False || IN(lease, Lease, _copy) != Py_None || slot == NULL ||
        !Py_IS_TYPE(slot, (PyTypeObject *)PART(ArenaSlot)) || IN(lease, Lease, _pool) != PART(slots) ||
        !PyTuple_CheckExact(IN(slot, ArenaSlot, described)) ||
        PyObject_RichCompareBool(IN(slot, ArenaSlot, described), IN(lease, Lease, described), Py_EQ) != 1)
        return 0;
    uint64_t generation = PyLong_AsUnsignedLongLong(IN(slot, ArenaSlot, generation));
    if (PyErr_Occurred() || generation % 2 == 0)
        return 0;
    return generation + 1;
}

/* Writes a slot's generation where hosts see it, and keeps it in mind. Fails with an exception. */
static int put_generation(Core *self, PyObject *slot, uint64_t generation)
{
    PyObject *memory = IN(slot, ArenaSlot, memory), *number;
    if (!PyMemoryView_Check(memory) || (((PyMemoryViewObject *)memory)->flags & _Py_MEMORYVIEW_RELEASED) ||
        PyMemoryView_GET_BUFFER(memory)->readonly || PyMemoryView_GET_BUFFER(memory)->len < GENERATION_AT + GENERATION_BYTES) {
        PyErr_SetString(PyExc_ValueError, "the slot has no room for a header");
        return -1;
    }
    if ((number = PyLong_FromUnsignedLongLong(generation)) == NULL)
        return -1;
    unsigned char *at = (unsigned char *)PyMemoryView_GET_BUFFER(memory)->buf + GENERATION_AT;
    for (int byte = 0; byte < GENERATION_BYTES; byte++)
        at[byte] = (unsigned char)(generation >> 8 * byte);
    PUT(slot, ArenaSlot, generation, number);
    return 0;
}

/* Whether a slot's header tells of raw pixels of this size and kind, 8 bits a sample. */
static int is_described(PyObject *described, PyObject *const *args)
{
    if (described == NULL || !PyTuple_CheckExact(described) || PyTuple_GET_SIZE(described) != 6 ||
        !pv_is(PyTuple_GET_ITEM(described, 3), "raw", 3) || PyTuple_GET_ITEM(described, 5) != Py_None)
        return 0;
    for (int at = 0; at < 2; at++)
        if (!PyLong_CheckExact(args[at]) || !PyLong_CheckExact(PyTuple_GET_ITEM(described, at)) ||
            PyObject_RichCompareBool(PyTuple_GET_ITEM(described, at), args[at], Py_EQ) != 1)
            return 0;
    return pv_same_text(PyTuple_GET_ITEM(described, 2), args[2]);
}

/* lend(width, height, color_space): the lease of the slot that came back last, if it held such a picture; None where the
   pool has to look for one. Lets no other thread in. */
static PyObject *lend(Core *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "lend takes width, height and color_space");
        return NULL;
    }
    PyTypeObject *type = (PyTypeObject *)PART(Lease);
    PyObject *lease = self->lease, *free = OF(slots, _free);
    if (lease != NULL && Py_REFCNT(lease) == 1 && IN(lease, Lease, _released) == Py_True)
        Py_INCREF(lease);
    else {
        if ((lease = type->tp_alloc(type, 0)) == NULL)
            return NULL;
        Py_XSETREF(self->lease, Py_NewRef(lease));
    }
    Py_ssize_t last = PyList_CheckExact(free) ? PyList_GET_SIZE(free) - 1 : -1;
    PyObject *slot = last < 0 ? NULL : PyList_GET_ITEM(free, last);
    if (slot != NULL && self->forks == pv_forks && OF(slots, _closed) == Py_False && pv_is_locked(OF(slots, _locked)) == 0 &&
        Py_IS_TYPE(slot, (PyTypeObject *)PART(ArenaSlot)) && is_described(IN(slot, ArenaSlot, described), args)) {
        uint64_t generation = PyLong_AsUnsignedLongLong(IN(slot, ArenaSlot, generation));
        Py_INCREF(slot);
        /* Odd: it is being written. It is odd already where the last lease went back without a call. */
        if (!PyErr_Occurred() && put_generation(self, slot, generation + 1 + generation % 2) == 0 &&
            PyList_SetSlice(free, last, last + 1, NULL) == 0) {
            SET(lease, Lease, _pool, PART(slots));
            SET(lease, Lease, _copy, Py_None);
            SET(lease, Lease, _array, Py_None);
            SET(lease, Lease, _released, Py_False);
            SET(lease, Lease, described, IN(slot, ArenaSlot, described));
            PUT(lease, Lease, _slot, slot);
            return lease;
        }
        Py_DECREF(slot);
    }
    PyErr_Clear();
    Py_DECREF(lease);
    Py_RETURN_NONE;
}

/* Makes a lease's array read-only. Other threads may be let in. Fails with an exception. */
static int close_array(Core *self, PyObject *lease)
{
    PyObject *array = IN(lease, Lease, _array);
    if (array == Py_None)
        return 0;
    PyObject *arguments[] = {Py_NewRef(array), Py_False};
    int failed = pv_done(PyObject_VectorcallMethod(text_setflags, arguments, 1, names_of_flags));
    Py_DECREF(array);
    return failed;
}

/* Gives a slot back, as `Lease.release`. */
static int give_back(Core *self, PyObject *lease)
{
    PyObject *slot = IN(lease, Lease, _slot), *free = OF(slots, _free);
    if (IN(lease, Lease, _released) != Py_False || IN(lease, Lease, _copy) != Py_None || slot == NULL ||
        OF(slots, _closed) != Py_False || OF(slots, _named) != Py_False || OF(slots, _waiting) != zero ||
        !PyList_CheckExact(free) || pv_is_locked(OF(slots, _locked)) != 0)
        return pv_done(PyObject_CallMethodNoArgs(lease, text_release));
    SET(lease, Lease, _released, Py_True);
    int failed = PyList_Append(free, slot);
    PUT(lease, Lease, _slot, NULL);
    SET(lease, Lease, _array, Py_None);
    return failed;
}

/* Puts what stands between two parts, and gives where the next stands. */
static char *put(char *at, PyObject *bytes)
{
    memcpy(at, PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes));
    return at + PyBytes_GET_SIZE(bytes);
}

static char *put_number(char *at, uint64_t number)
{
    char digits[PV_MOST_DIGITS], *end = digits + sizeof digits, *first = pv_number_before(end, number);
    memcpy(at, first, end - first);
    return at + (end - first);
}

static const char BEFORE_PICTURE[] = ",\"shared_mem_id\":\"", BEFORE_TIMEOUT[] = ",\"timeout_ms\":";
#define BEFORE_OWN_ID "{\"id\":\"" /* Of a session of the call's own, whose text is `own_session`. */
#define OWN_SESSION BEFORE_OWN_ID "0123456789abcdef\",\"final\":true}"

/* Writes a call's frame into `out`; gives its length, or 0 for what is left. */
static Py_ssize_t write_frame(Core *self, OnItsWay *way, unsigned long long number, char *own_id)
{
    Shape *shape = way->shape;
    PyObject *prefix = NULL, *before_time = NULL, *after_time = NULL;
    Py_ssize_t tail_bytes = PyBytes_GET_SIZE(shape->head) + PyBytes_GET_SIZE(shape->session_text) +
                            PyBytes_GET_SIZE(shape->middle) + sizeof BEFORE_TIMEOUT + PV_MOST_DIGITS;
    if (way->lease != NULL) {
        prefix = IN(IN(way->lease, Lease, _slot), ArenaSlot, prefix);
        before_time = IN(way->picture, PictureShape, before_time);
        after_time = IN(way->picture, PictureShape, after_time);
        if (!PyUnicode_IS_COMPACT_ASCII(prefix) || !PyBytes_CheckExact(before_time) || !PyBytes_CheckExact(after_time))
            return 0;
        tail_bytes += sizeof BEFORE_PICTURE + PyUnicode_GET_LENGTH(prefix) + PyBytes_GET_SIZE(before_time) +
                      PyBytes_GET_SIZE(after_time) + 2 * PV_MOST_DIGITS;
    }
    char digits[PV_MOST_DIGITS], *first = pv_number_before(digits + sizeof digits, number);
    memcpy(way->id, "call-", 5);
    memcpy(way->id + 5, first, digits + sizeof digits - first);
    way->id_bytes = 5 + (digits + sizeof digits - first);
    Py_ssize_t length = PV_BEGINNING_BYTES + way->id_bytes + tail_bytes;
    if (length > self->max_frame_bytes || length + PV_HEADER_BYTES > (Py_ssize_t)sizeof self->out)
        return 0;
    char *at = self->out + PV_HEADER_BYTES;
    memcpy(at, PV_BEGINNING, PV_BEGINNING_BYTES);
    at += PV_BEGINNING_BYTES;
    memcpy(at, way->id, way->id_bytes);
    at += way->id_bytes;
    at = put(at, shape->head);
    char *session = at;
    at = put(put(at, shape->session_text), shape->middle);
    if (way->lease != NULL) {
        memcpy(at, BEFORE_PICTURE, sizeof BEFORE_PICTURE - 1);
        at += sizeof BEFORE_PICTURE - 1;
        memcpy(at, PyUnicode_1BYTE_DATA(prefix), PyUnicode_GET_LENGTH(prefix));
        at += PyUnicode_GET_LENGTH(prefix);
        at = put(put_number(at, way->generation), before_time);
        at = put(put_number(at, (uint64_t)way->time_ms), after_time);
    }
    memcpy(at, BEFORE_TIMEOUT, sizeof BEFORE_TIMEOUT - 1);
    at = put_number(at + sizeof BEFORE_TIMEOUT - 1, shape->milliseconds);
    *at++ = '}';
    if (shape->session == Py_None) {
        unsigned char random[OWN_ID_CHARS / 2];
        if (getrandom(random, sizeof random, 0) != sizeof random)
            return 0;
        for (int byte = 0; byte < OWN_ID_CHARS / 2; byte++) {
            own_id[2 * byte] = HEX[random[byte] >> 4];
            own_id[2 * byte + 1] = HEX[random[byte] & 15];
        }
        memcpy(session + sizeof BEFORE_OWN_ID - 1, own_id, OWN_ID_CHARS);
    }
    length = at - self->out - PV_HEADER_BYTES;
    pv_put_length(self->out, (uint32_t)length);
    return PV_HEADER_BYTES + length;
}

/* Gives a lease that the call and its caller hold, as `SharedLease` does. */
static PyObject *shared(Core *self, PyObject *lease)
{
    PyTypeObject *type = (PyTypeObject *)PART(SharedLease);
    PyObject *made = type->tp_alloc(type, 0);
    if (made != NULL) {
        SET(made, SharedLease, lease, lease);
        SET(made, SharedLease, _holders, two);
        SET(made, SharedLease, _lock, PART(slots_lock));
    }
    return made;
}

/* Puts a call into the table and writes it. Gives 1; 0, with nothing begun, if it is left; -1 and an exception if the
   call has begun and was interrupted. */
static int begin(Core *self, OnItsWay *way)
{
    Shape *shape = way->shape;
    if (renew(self, shape) < 0) {
        PyErr_Clear();
        return 0;
    }
    PyObject *pending = shape->pending, *last_number = OF(table, last_number);
    PyObject *call = IN(pending, PendingCall, call);
    unsigned long long number = (last_number == self->last_number ? self->number : PyLong_AsUnsignedLongLong(last_number)) + 1;
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    char own_id[OWN_ID_CHARS];
    Py_ssize_t length = write_frame(self, way, number, own_id);
    if (length == 0)
        return 0;
    way->sent_at = pv_now();
    way->deadline = way->sent_at + shape->seconds;
    PyObject *session = NULL, *kept = NULL, *time_ms = NULL, *new_number = PyLong_FromUnsignedLongLong(number);
    PyObject *request_id = pv_ascii(way->id, way->id_bytes);
    PyObject *sent_at = PyFloat_FromDouble(way->sent_at), *deadline = PyFloat_FromDouble(way->deadline);
    if (shape->session == Py_None) {
        PyObject *id = pv_ascii(own_id, OWN_ID_CHARS), *arguments[] = {id, Py_True};
        session = id == NULL ? NULL : PyObject_Vectorcall(PART(SessionRef), arguments, 0, names_of_own);
        Py_XDECREF(id);
    }
    else
        session = Py_NewRef(shape->session_value);
    if (way->lease != NULL) {
        kept = PART(supervised) == Py_True ? shared(self, way->lease) : Py_NewRef(Py_None);
        time_ms = PyLong_FromLongLong(way->time_ms);
    }
    int begun = 0;
    if (new_number != NULL && request_id != NULL && sent_at != NULL && deadline != NULL && session != NULL &&
        ((kept != NULL && time_ms != NULL) || way->lease == NULL) &&
        (way->lease == NULL ||
         (close_array(self, way->lease) == 0 && generation_of(self, way->lease) == way->generation)) &&
        OF(table, last_number) == last_number && shape->pending == pending &&
        Py_REFCNT(pending) == 1 && quiet(self) &&
        (way->lease == NULL || put_generation(self, IN(way->lease, Lease, _slot), way->generation) == 0) &&
        PySet_Add(PART(pending_ids), request_id) == 0) {
        if (PyDict_SetItem(PART(calls), request_id, pending) == 0)
            begun = 1;
        else
            PySet_Discard(PART(pending_ids), request_id);
    }
    if (!begun) {
        PyErr_Clear();
        Py_XDECREF(session);
        Py_XDECREF(kept);
        Py_XDECREF(time_ms);
        Py_XDECREF(new_number);
        Py_XDECREF(request_id);
        Py_XDECREF(sent_at);
        Py_XDECREF(deadline);
        return 0;
    }
    SET(call, Call, request_id, request_id);
    PUT(call, Call, session, session);
    SET(call, Call, timeout_ms, shape->timeout_ms);
    SET(call, Call, image_meta, Py_None);
    PUT(pending, PendingCall, sent_at, sent_at);
    SET(pending, PendingCall, timeout_s, shape->timeout_s);
    PUT(pending, PendingCall, deadline, deadline);
    SET(pending, PendingCall, on_freed, Py_None);
    SET(call, Call, shared_mem_id, Py_None); /* `whole_call` makes it. */
    if (way->lease == NULL) {
        SET(pending, PendingCall, lease, Py_None);
        SET(pending, PendingCall, kept, Py_None);
        SET(pending, PendingCall, told, Py_None);
    }
    else {
        SET(pending, PendingCall, lease, way->lease);
        PUT(pending, PendingCall, kept, kept);
        SET(pending, PendingCall, told, IN(way->picture, PictureShape, told));
        PUT(pending, PendingCall, timestamp_ms, time_ms);
    }
    SET(pending, PendingCall, future, Py_None);
    SET(pending, PendingCall, judge, Py_None);
    SET(pending, PendingCall, answer, Py_None);
    SET(pending, PendingCall, error, Py_None);
    SET(pending, PendingCall, ended, Py_False);
    SET(pending, PendingCall, freed, Py_False);
    SET(pending, PendingCall, needs_wake, Py_False);
    SET(pending, PendingCall, woken, Py_None);
    Py_INCREF(new_number);
    Py_XSETREF(self->last_number, new_number);
    self->number = number;
    PUT(PART(table), table, last_number, new_number);
    SET(PART(leadership), leadership, state, PART(caller));
    SET(PART(leadership), leadership, _steps, PART(caller_steps));
    SET(PART(leadership), leadership, leader, pending);
    Py_INCREF(pending);
    way->pending = pending;
    way->request_id = request_id;
    ssize_t written = write(self->stdin_, self->out, length); /* It doesn't block: the general code has set that. */
    int torn = written >= 0 ? written < length : errno == EAGAIN || errno == EINTR;
    /* The writer's lock is free still, since nobody else ran after it was looked at. */
    if (torn && pv_done(PyObject_CallNoArgs(PART(writer_acquire))) < 0)
        return -1;
    keep(self, way->sent_at, text_out, self->out, length);
    if (!torn)
        return 1; /* Or the host is gone: the leader learns of it with the cause. */
    if (written < 0)
        written = 0;
    return pv_done(PyObject_CallFunction(PART(finish_writing), "Oy#n", pending, self->out, length, (Py_ssize_t)written)) < 0
               ? -1
               : 1;
}

/* --- its answer --------------------------------------------------------------------------------------------------- */

/* Waits for the answer and reads. Gives the bytes that were read into `in`; -1 if nothing was read, with an exception
   if the thread was interrupted. */
static ssize_t wait_and_read(Core *self, OnItsWay *way, double until, double *now)
{
    *now = way->sent_at;
    for (;;) {
        if (OF(leadership, leader) != way->pending)
            return -1;
        double left = (until - *now) * 1000;
        /* A negative time would mean for ever. */
        int patience_ms = left > INT_MAX ? INT_MAX : left > 0 ? (int)ceil(left + 0.5) : 1;
        struct pollfd watched = {self->stdout_, POLLIN, 0};
        int ready, problem;
        ssize_t got = -1;
        Py_BEGIN_ALLOW_THREADS
        ready = poll(&watched, 1, patience_ms);
        if (ready > 0)
            got = read(self->stdout_, self->in, sizeof self->in);
        problem = errno;
        *now = pv_now();
        Py_END_ALLOW_THREADS
        if (got >= 0)
            return got;
        if (ready == 0)
            return -1;
        if (problem != EINTR)
            return ready > 0 ? 0 : -1; /* What can't be read has ended. */
        if (PyErr_CheckSignals() < 0)
            return -1;
        if (*now >= until)
            return -1;
    }
}

/* Gives the data of a good answer to a call that is all that was read; NULL, without an exception, for any other.
   `between` is what stands between its request's id and its data. */
static PyObject *data_of(const char *in, Py_ssize_t got, Py_ssize_t max_frame_bytes, const char *id, Py_ssize_t id_bytes,
                         const char *between, Py_ssize_t between_bytes)
{
    static const char before[] = "{\"type\":\"result\",\"request_id\":\"";
    const Py_ssize_t before_bytes = sizeof before - 1, least = before_bytes + id_bytes + between_bytes + 3;
    const char *at = in + PV_HEADER_BYTES, *end = in + got;
    if (got < PV_HEADER_BYTES + least || (Py_ssize_t)pv_length(in) != got - PV_HEADER_BYTES ||
        got - PV_HEADER_BYTES > max_frame_bytes || memcmp(at, before, before_bytes) != 0)
        return NULL;
    at += before_bytes;
    if (memcmp(at, id, id_bytes) != 0)
        return NULL;
    at += id_bytes;
    if (memcmp(at, between, between_bytes) != 0)
        return NULL;
    at += between_bytes;
    pv_reader reader = {at, end - 1, 0};
    if (end[-1] != '}' || *at != '{')
        return NULL;
    PyObject *data = pv_value(&reader);
    if (data == NULL) {
        PyErr_Clear();
        return NULL;
    }
    if (reader.at != reader.end)
        Py_CLEAR(data);
    return data;
}

/* Writes what stands in a good answer between its request's id and its data. */
static Py_ssize_t put_between(char *between, Py_ssize_t room, PyObject *phase, long step_index)
{
    return snprintf(between, room, "\",\"phase\":\"%s\",\"step_index\":%ld,\"status\":\"OK\",\"data\":",
                    phase == text_execute ? "execute" : "pre", step_index);
}

/* Whether data says nothing that has to be held against the protocol: an OK, or no verdict where there is none. */
static int is_bare(PyObject *data, PyObject *phase)
{
    Py_ssize_t most = 1;
    if (phase == text_execute) {
        if (!pv_is(PyDict_GetItemWithError(data, text_result_status), "OK", 2))
            return 0;
        most = 2;
    }
    if (PyDict_GET_SIZE(data) < most)
        return 1;
    if (PyDict_GET_SIZE(data) > most)
        return 0;
    PyObject *debug = PyDict_GetItemWithError(data, text_debug);
    return debug != NULL && PyDict_CheckExact(debug);
}

/* Ends the call in the table if it may. Lets no other thread in. */
static int end(Core *self, OnItsWay *way, PyObject *took_s)
{
    PyObject *pending = way->pending;
    if (PyDict_GET_SIZE(PART(calls)) != 1 || IN(pending, PendingCall, ended) != Py_False ||
        OF(table, stopping) != Py_False || OF(leadership, leader) != pending || OF(connection, state) != PART(open) ||
        OF(splitter, empty) != Py_True || OF(table, waiting_for_room) != zero ||
        pv_is_locked(PART(locked)) != 0 || PyDict_GetItemWithError(PART(calls), way->request_id) != pending ||
        PyDict_DelItem(PART(calls), way->request_id) < 0)
        return 0;
    PySet_Discard(PART(pending_ids), way->request_id);
    SET(pending, PendingCall, took_s, took_s);
    SET(pending, PendingCall, ended, Py_True);
    SET(pending, PendingCall, freed, Py_True);
    SET(PART(leadership), leadership, state, PART(nobody));
    SET(PART(leadership), leadership, _steps, PART(nobody_steps));
    SET(PART(leadership), leadership, leader, Py_None);
    return 1;
}

/* Gives what a call that has ended came to, by the general code. */
static PyObject *outcome(Core *self, OnItsWay *way, PyObject *const *args)
{
    PyObject *size = way->lease == NULL ? Py_NewRef(Py_None) : PyTuple_GetSlice(IN(way->lease, Lease, described), 0, 2);
    PyObject *result = size == NULL ? NULL : PyObject_CallFunctionObjArgs(PART(outcome), way->pending, args[PHASE], size, NULL);
    Py_XDECREF(size);
    return result;
}

/* Gives the result of an answer's data, as the caller gets it. Raises what the general code raises. */
static PyObject *result_of(Core *self, OnItsWay *way, PyObject *const *args, PyObject *data, double took_s, int bare)
{
    if (bare) {
        PyObject *elapsed_ms = PyFloat_FromDouble((double)(long long)(took_s * 1e6) / 1e3);
        if (elapsed_ms == NULL)
            return NULL;
        PyObject *arguments[] = {args[PHASE], args[STEP_INDEX], text_ok,    text_empty,      Py_None,
                                 data,        way->request_id,  elapsed_ms, PART(deployment)};
        PyObject *result = PyObject_Vectorcall(PART(CallResult), arguments, 0, names_of_call_result);
        Py_DECREF(elapsed_ms);
        return result;
    }
    PyObject *arguments[] = {way->request_id, args[PHASE], args[STEP_INDEX], text_ok, data};
    PyObject *answer = PyObject_Vectorcall(PART(Result), arguments, 0, names_of_result);
    if (answer == NULL)
        return NULL;
    PUT(way->pending, PendingCall, answer, answer);
    return outcome(self, way, args);
}

/* Lets the general code carry on: `got` bytes were read, none at all if it is negative. Gives the call's outcome. */
static PyObject *go_on(Core *self, OnItsWay *way, PyObject *const *args, ssize_t got, double now)
{
    PyObject *data = Py_None;
    if (got >= 0)
        data = PyBytes_FromStringAndSize(self->in, got);
    else
        Py_INCREF(data);
    self->busy = 0;
    if (data == NULL) {
        pv_done(PyObject_CallNoArgs(PART(lost))); /* Frames can't be told apart any more. */
        return NULL;
    }
    if (pv_done(PyObject_CallFunction(PART(go_on), "ONd", way->pending, data, now)) < 0)
        return NULL;
    return outcome(self, way, args);
}

/* Carries a call to its end. Gives its result; NULL with an exception, or without one, and nothing begun, if it is
   left. */
static PyObject *carry(Core *self, Shape *shape, PyObject *const *args, PyObject *lease, int64_t time_ms)
{
    OnItsWay way = {.shape = shape, .lease = lease, .time_ms = time_ms};
    PyObject *result = NULL;
    double seconds = seconds_of(self, args);
    self->busy = 1;
    if (((shape->timeout_s == NULL || seconds != shape->seconds) && retime(shape, args[TIMEOUT_S], seconds) < 0) ||
        ((args[SESSION] != shape->session || args[FINAL] != shape->final) &&
         another_session(self, shape, args[SESSION], args[FINAL]) < 0)) {
        self->busy = 0;
        return NULL;
    }
    if (lease != NULL) {
        PyObject *described = IN(lease, Lease, described);
        way.picture = OF(python, _picture);
        way.generation = generation_of(self, lease);
        if (way.generation == 0 || way.picture == Py_None ||
            PyObject_RichCompareBool(IN(way.picture, PictureShape, described), described, Py_EQ) != 1 ||
            IN(way.picture, PictureShape, camera_id) != args[CAMERA_ID]) {
            PyErr_Clear();
            self->busy = 0;
            return NULL;
        }
        Py_INCREF(way.picture); /* Another thread's call may be of another. */
    }
    int begun = begin(self, &way);
    if (begun > 0) {
        double until = way.deadline, now;
        PyObject *tick_at = OF(table, tick_at);
        if (tick_at != NULL && PyFloat_CheckExact(tick_at) && PyFloat_AS_DOUBLE(tick_at) < until)
            until = PyFloat_AS_DOUBLE(tick_at);
        ssize_t got = wait_and_read(self, &way, until, &now);
        if (got >= 0)
            keep(self, now, text_in, self->in, got);
        if (!PyErr_Occurred()) {
            PyObject *data = got <= 0 ? NULL
                                      : data_of(self->in, got, self->max_frame_bytes, way.id, way.id_bytes, shape->answer,
                                                shape->answer_bytes);
            PyObject *took_s = data == NULL ? NULL : PyFloat_FromDouble(now - way.sent_at);
            if (took_s != NULL && end(self, &way, took_s)) {
                self->busy = 0;
                int bare = is_bare(data, args[PHASE]);
                if (PyErr_Occurred())
                    PyErr_Clear();
                PyObject *kept = IN(way.pending, PendingCall, kept);
                if (kept != Py_None && !bare)
                    SET(kept, SharedLease, _holders, one); /* What is malformed may be asked for again. */
                else if (lease != NULL) {
                    SET(way.pending, PendingCall, kept, Py_None);
                    SET(way.pending, PendingCall, lease, Py_None);
                    if (give_back(self, lease) < 0)
                        PyErr_Clear(); /* There is no memory for it: the slot is lost to the pool, the answer isn't. */
                }
                int late = until < way.deadline && now >= until;
                if (!(late || OF(receiver, pong_awaited) != Py_False) ||
                    pv_done(PyObject_CallFunction(PART(go_on), "OOd", way.pending, Py_None, now)) == 0)
                    result = result_of(self, &way, args, data, now - way.sent_at, bare);
            }
            else {
                PyErr_Clear();
                result = go_on(self, &way, args, got, now);
            }
            Py_XDECREF(took_s);
            Py_XDECREF(data);
        }
    }
    self->busy = 0;
    if (begun && result == NULL && !PyErr_ExceptionMatches(PART(AttemptFailedError))) {
        PyObject *kind, *value, *trace;
        PyErr_Fetch(&kind, &value, &trace);
        if (pv_done(PyObject_CallOneArg(PART(interrupted), way.pending)) < 0)
            PyErr_Clear();
        PyErr_Restore(kind, value, trace);
    }
    Py_XDECREF(way.pending);
    Py_XDECREF(way.request_id);
    Py_XDECREF(way.picture);
    return result;
}

/* Gives the time of a picture in milliseconds. Gives 0 for what is left. */
static int time_of(PyObject *const *args, int64_t *time_ms)
{
    if (args[CAMERA_ID] != Py_None && !PyUnicode_CheckExact(args[CAMERA_ID]))
        return 0;
    if (args[TIMESTAMP_MS] == Py_None) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        *time_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
        return 1;
    }
    int overflow;
    if (!PyLong_CheckExact(args[TIMESTAMP_MS]))
        return 0;
    *time_ms = PyLong_AsLongLongAndOverflow(args[TIMESTAMP_MS], &overflow);
    return !overflow && *time_ms >= 0;
}

static PyObject *inspect(Core *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != N_ARGUMENTS) {
        PyErr_Format(PyExc_TypeError, "inspect takes %d arguments, these are %zd", N_ARGUMENTS, count);
        return NULL;
    }
    Shape *shape = self->busy || self->forks != pv_forks ? NULL : shape_of(self, args);
    PyObject *lease = NULL, *result = NULL;
    int64_t time_ms = 0;
    int filled = 0;
    if (shape != NULL && args[IMAGE] != Py_None && !time_of(args, &time_ms))
        shape = NULL;
    if (shape != NULL) {
        shape->met_at = ++self->calls;
        if (Py_IS_TYPE(args[IMAGE], (PyTypeObject *)PART(Lease))) {
            lease = args[IMAGE];
            Py_INCREF(lease);
        }
        else if (args[IMAGE] != Py_None) {
            lease = PyObject_CallOneArg(PART(filled), args[IMAGE]);
            if (lease == NULL)
                return NULL;
            filled = Py_IS_TYPE(lease, (PyTypeObject *)PART(Lease));
            if (!filled)
                Py_CLEAR(lease); /* A picture of another kind. */
            /* Meanwhile another thread may have begun a call, and the shape may be another's. */
            if (self->busy || shape_of(self, args) != shape)
                shape = NULL;
        }
        if (shape != NULL && (lease != NULL || args[IMAGE] == Py_None)) {
            result = carry(self, shape, args, lease, time_ms);
            if (result != NULL || PyErr_Occurred()) {
                Py_XDECREF(lease);
                return result;
            }
        }
    }
    PyObject *given[N_ARGUMENTS];
    memcpy(given, args, sizeof given);
    if (lease != NULL)
        given[IMAGE] = lease;
    result = PyObject_Vectorcall(PART(inspect), given, N_ARGUMENTS, NULL);
    if (result == Py_None && filled && pv_done(PyObject_CallMethodNoArgs(lease, text_release)) < 0)
        Py_CLEAR(result); /* The general code takes a slot of its own. */
    Py_XDECREF(lease);
    if (result != NULL && result != Py_None && shape == NULL && !self->busy)
        learn(self, args);
    return result;
}

/* --- the type ----------------------------------------------------------------------------------------------------- */

static int core_traverse(Core *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->lease);
    for (int part = 0; part < N_PARTS; part++)
        Py_VISIT(self->part[part]);
    for (Shape *shape = self->shapes; shape < self->shapes + MAX_SHAPES; shape++) {
        Py_VISIT(shape->session);
        Py_VISIT(shape->params);
        Py_VISIT(shape->call);
        Py_VISIT(shape->pending);
    }
    return 0;
}

static int core_clear(Core *self)
{
    Py_CLEAR(self->last_number);
    Py_CLEAR(self->lease);
    for (int part = 0; part < N_PARTS; part++)
        Py_CLEAR(self->part[part]);
    for (Shape *shape = self->shapes; shape < self->shapes + MAX_SHAPES; shape++)
        forget(shape);
    return 0;
}

static void core_dealloc(Core *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    core_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* SteadyCalls(parts, stdin, stdout, execute_timeout_s, pre_timeout_s, max_frame_bytes) */
static PyObject *core_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *parts;
    int stdin_, stdout_;
    double execute_s, pre_s;
    Py_ssize_t max_frame_bytes;
    if (!pv_no_keywords(type, kwargs) || !PyArg_ParseTuple(args, "O!iiddn", &PyDict_Type, &parts, &stdin_, &stdout_, &execute_s, &pre_s, &max_frame_bytes))
        return NULL;
    int flags = fcntl(stdin_, F_GETFL);
    if (flags < 0 || !(flags & O_NONBLOCK)) {
        PyErr_SetString(PyExc_ValueError, "a write to the host's stdin would block");
        return NULL;
    }
    Core *self = (Core *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    if (pv_take(parts, PART_NAMES, N_PARTS, self->part, FIELD_NAMES, N_FIELDS, self->field) < 0)
        goto fail;
    if (!PyDict_CheckExact(PART(calls)) || !PyDict_CheckExact(PART(shapes)) || !PySet_Check(PART(pending_ids))) {
        PyErr_SetString(PyExc_TypeError, "the calls and the shapes are dicts, the ids are a set");
        goto fail;
    }
    self->stdin_ = stdin_;
    self->stdout_ = stdout_;
    self->execute_s = execute_s;
    self->pre_s = pre_s;
    self->max_frame_bytes = max_frame_bytes;
    self->forks = pv_forks;
    return (PyObject *)self;
fail:
    Py_DECREF(self);
    return NULL;
}

/* Copies bytes to where a sanitizer sees their end: behind those of a bytes object there is one more. */
static char *alone(const char *bytes, Py_ssize_t length)
{
    char *copy = PyMem_RawMalloc(length > 0 ? length : 1);
    return copy != NULL ? memcpy(copy, bytes, length) : (char *)PyErr_NoMemory();
}

/* read_value(data): what the reader takes it for; raises ValueError for what it leaves. For tests. */
static PyObject *read_value(PyObject *Py_UNUSED(module), PyObject *data)
{
    if (!PyBytes_CheckExact(data)) {
        PyErr_SetString(PyExc_TypeError, "bytes are read");
        return NULL;
    }
    char *copy = alone(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data));
    if (copy == NULL)
        return NULL;
    pv_reader reader = {copy, copy + PyBytes_GET_SIZE(data), 0};
    PyObject *found = pv_value(&reader);
    PyMem_RawFree(copy);
    if (found != NULL && reader.at == reader.end)
        return found;
    Py_XDECREF(found);
    PyErr_Clear();
    PyErr_SetString(PyExc_ValueError, "this is left to the general code");
    return NULL;
}

/* read_answer(frame, request_id, phase, step_index): the data of a good answer that these bytes are to a call; raises
   ValueError for what is left. For tests. */
static PyObject *read_answer(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *frame, *id;
    Py_ssize_t frame_bytes, id_bytes;
    PyObject *phase;
    long step_index;
    char between[80];
    if (!PyArg_ParseTuple(args, "y#s#Ul", &frame, &frame_bytes, &id, &id_bytes, &phase, &step_index))
        return NULL;
    char *copy = alone(frame, frame_bytes);
    if (copy == NULL)
        return NULL;
    PyObject *data = data_of(copy, frame_bytes, frame_bytes, id, id_bytes, between,
                             put_between(between, sizeof between, pv_same_text(phase, text_execute) ? text_execute : text_pre,
                                         step_index));
    PyMem_RawFree(copy);
    if (data == NULL)
        PyErr_SetString(PyExc_ValueError, "this is left to the general code");
    return data;
}

static PyMethodDef core_methods[] = {
    {"frames", (PyCFunction)(void (*)(void))frames, METH_NOARGS, NULL},
    {"lend", (PyCFunction)(void (*)(void))lend, METH_FASTCALL, NULL},
    {"inspect", (PyCFunction)(void (*)(void))inspect, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot core_slots[] = {
    {Py_tp_new, core_new},
    {Py_tp_dealloc, core_dealloc},
    {Py_tp_traverse, core_traverse},
    {Py_tp_clear, core_clear},
    {Py_tp_methods, core_methods},
    {0, NULL},
};

static PyType_Spec core_spec = {
    .name = "procvision_runner.connection.steady_core.SteadyCalls",
    .basicsize = sizeof(Core),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = core_slots,
};

static PyMethodDef module_methods[] = {
    {"read_answer", read_answer, METH_VARARGS, NULL},
    {"read_value", read_value, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "steady_core", .m_size = -1, .m_methods = module_methods};

PyMODINIT_FUNC PyInit_steady_core(void)
{
    static const pv_text texts[] = {
        {&text_execute, "execute"}, {&text_pre, "pre"}, {&text_out, "out"}, {&text_in, "in"}, {&text_ok, "OK"},
        {&text_empty, ""}, {&text_result_status, "result_status"}, {&text_debug, "debug"},
        {&text_release, "release"}, {&text_setflags, "setflags"}, {&text_write, "write"}};
    if (!pv_intern(texts, sizeof texts / sizeof *texts))
        return NULL;
    names_of_result = Py_BuildValue("(sssss)", "request_id", "phase", "step_index", "status", "data");
    zero = PyLong_FromLong(0);
    names_of_flags = PyTuple_Pack(1, text_write);
    one = PyLong_FromLong(1);
    two = PyLong_FromLong(2);
    own_session = PyBytes_FromString(OWN_SESSION);
    names_of_own = Py_BuildValue("(ss)", "id", "final");
    names_of_final = Py_BuildValue("(sss)", "id", "final", "context");
    names_of_call_result = Py_BuildValue("(sssssssss)", "phase", "step_index", "status", "message", "error_code", "data",
                                         "request_id", "elapsed_ms", "deployment");
    return pv_module(&definition, &core_spec, names_of_result != NULL && zero != NULL && one != NULL && two != NULL && own_session != NULL && names_of_own != NULL && names_of_final != NULL && names_of_flags != NULL && names_of_call_result != NULL);
}
