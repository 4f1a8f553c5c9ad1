/* The compiled form of `steady_calls`, the host's side: a call like one before it, from its bytes to its answer's.

   The strategy is that of `steady_calls.py`, which stays the reference and what runs where this can't: a frame that is
   byte for byte one that was checked, but for its holes, says what that one said, with the holes' values in it. `pump`
   waits for it, reads it, begins the call, lets the algorithm execute it and writes the answer. An OK that says nothing
   more is held against everything here; any other answer is the worker's to judge, and is written here all the same.
   What observers are told of a call is one copy into the memory that is shared with the host half.
   Everything else is left to the general code, with nothing begun and every byte that was read, or with the answer that
   it is to write.
   What is shared with the second thread is changed while the interpreter's lock is held without a break and the
   conversation's is free: nobody can take it meanwhile. Only the main thread calls `pump`.
   Warning: what is read is a stranger's, and the algorithm may have done anything to the process and to its own object. */

#include "../../procvision_sdk/wire/steady.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef F_GETSIG
#define F_GETSIG 11
#endif

#define MARK 57 /* As `channels._MARK`. */
#define MAX_TEMPLATES 16
#define MAX_SESSION_ID_CHARS 256
#define MAX_GENERATION_DIGITS 20
#define MAX_TIME_DIGITS 15
#define MAX_IMAGE_ID 128
/* As `layout` has them. */
#define SLOT_HEADER_BYTES 64
#define GENERATION_AT 16
#define GENERATION_BYTES 8
#define BEHIND_AT (GENERATION_AT + GENERATION_BYTES)
#define MAX_KNOWN_DIGITS 19 /* So many are less than 2^64. */
/* As `ring` and `records` have them. */
#define RING_FIRST 64
#define RING_SLEEPS 16
#define RECORD_HEADER_BYTES 8
#define RECORD_STATE 4
#define PENDING 1
#define DONE 2
#define SKIP 3
#define ANSWERED 1
#define FACTS_BYTES 21
#define FAILED 1
#define DIAGNOSTICS 2
/* As `shared_page` has them. */
#define PAGE_ID_AT 15
#define PAGE_ID_BYTES 64

/* What the core is made of: objects of the general code, handed over by name. */
#define PARTS(X) \
    X(python) X(take) X(templates) X(loop) X(finish) X(conversation) X(connection) X(splitter) X(status) \
    X(pending_ids) X(waiting) X(write_rest) X(locked) X(acquire) X(release) X(cancellation) X(flag) X(reader) X(pump) \
    X(interrupted) X(nothing) X(ends) X(verify) X(wait_for_stray_output) X(standby) X(wake) X(worker) X(algorithm) \
    X(diagnostics) X(context) X(judge) X(raised) X(leave) X(save) X(answered) X(images) X(open_image) X(sessions) \
    X(store) X(met) X(records) X(events) X(ring) X(look) X(write_recorded) X(expect) X(load) X(end_session) X(encode) X(deepcopy) X(Call) X(CheckedCall) X(GuardedSessions) \
    X(MemorySessionStore) X(MappedSlots) X(Mapping) X(MappedImage) X(SlotHeader) X(Ok) X(Result) X(Session) X(SessionRef) X(Template) X(no_start) X(no_finish) \
    X(session_of_the_call) X(open) X(ready) X(executing)

/* The slots that are read and written directly: of which part's class, and under which name. */
#define FIELDS(X) \
    X(python, _vain) X(loop, calls) X(conversation, running) X(conversation, running_since) \
    X(conversation, abandoned) X(conversation, _output_lost) X(connection, state) X(connection, anonymous) \
    X(splitter, empty) X(status, now) X(cancellation, requested) X(flag, requested) X(reader, whole) \
    X(ends, frames_in) X(ends, frames_out) X(ends, control) X(ends, _reopened) X(standby, sleeps) \
    X(worker, _must_read) X(diagnostics, _values) X(context, call) X(images, failed_read) \
    X(images, was_read) X(images, _current) X(images, _backends) \
    X(Mapping, memory) X(Mapping, said) X(Mapping, header) X(Mapping, meta) X(SlotHeader, encoding) X(SlotHeader, bits) \
    X(MappedImage, _mapping) X(MappedImage, _header) X(MappedImage, _generation) X(MappedImage, _array) \
    X(Call, request_id) X(Call, session) X(Call, shared_mem_id) X(Call, image_meta) X(Call, phase) X(Call, timeout_ms) \
    X(CheckedCall, step_index) X(CheckedCall, pid) X(CheckedCall, user_params) X(CheckedCall, meta) \
    X(CheckedCall, size) X(GuardedSessions, _ended) X(GuardedSessions, _prefix) \
    X(MemorySessionStore, _states) X(MemorySessionStore, _put_out) \
    X(Ok, message) X(Ok, debug) X(Ok, position_rects) \
    X(Session, _id) X(Session, _context) X(Session, _saved) X(Session, _loaded) X(Session, _lent) \
    X(SessionRef, id) X(SessionRef, context) X(SessionRef, final) X(Result, status) X(Result, data) \
    X(Template, context) X(Template, ending) X(Template, told_before) X(Template, call) X(Template, checked) X(Template, session) X(Template, to_session) X(Template, to_picture) \
    X(Template, to_time) X(Template, after) X(Template, image_prefix) X(Template, image_meta) X(Template, deep) \
    X(Template, met_at)

PV_NAMES

static const char CONTEXT[] = "\",\"context\":";
#define CONTEXT_BYTES ((Py_ssize_t)sizeof CONTEXT - 1)

static PyObject *text_execute, *text_pre, *text_pre_execute, *text_on_step_start, *text_on_step_finish, *text_status,
    *text_data, *text_result_status, *text_debug, *text_context, *text_latency_ms, *text_timestamp_ms, *text_ok, *text_empty, *text_copy,
    *zero;
static PyObject *names_of_result, *names_of_session;

/* A frame that was checked, as `_Template` has it. */
typedef struct {
    PyObject *of;      /* The template; NULL where there is none. */
    PyObject *call;    /* The last call of this form, which the next may be once nobody else has it. */
    PyObject *session; /* What the last call's frame said of its session. */
    PyObject *context; /* How it said what its context is; empty where these frames have none. */
    PyObject *checked; /* What the template had then: it may have another by now. */
    /* The template's, which never change. */
    const char *to_session, *to_picture, *to_time, *after, *told_before;
    Py_ssize_t to_session_bytes, to_picture_bytes, to_time_bytes, after_bytes, told_before_bytes;
    int executes, deep, has_picture, has_timeout;
    PyObject *timeout; /* The last frame's, once it is known. */
    int64_t timeout_ms;
    PyObject *mapping, *said; /* The slot of its pictures, and the header that agreed with what is said of them. */
    Py_buffer slot;
    char session_id[MAX_SESSION_ID_CHARS];
    Py_ssize_t session_id_bytes;
    char answer[80]; /* What stands in a bare OK between its request's id and its verdict. */
    Py_ssize_t answer_bytes;
} Template;

typedef struct {
    PyObject_HEAD
    PyObject *part[N_PARTS];
    pv_place field[N_FIELDS];
    Template templates[MAX_TEMPLATES];
    Py_buffer page, ring; /* The second without memory where no observer is told of calls. */
    Py_ssize_t max_frame_bytes;
    PyObject *calls, *numbers[3]; /* Numbers that were read once, owned: of calls, and of the descriptors. */
    unsigned long long number;
    int descriptors[3];
    int forks, is_fifo;
    char in[PV_READ_BYTES], out[PV_READ_BYTES];
} Core;

enum { FRAMES_IN, FRAMES_OUT, CONTROL };

/* Gives a descriptor, which is another once it was opened again. */
static int descriptor(Core *self, int which, PyObject *number)
{
    if (number != self->numbers[which]) {
        long found = PyLong_AsLong(number);
        PyErr_Clear();
        self->descriptors[which] = found < 0 || found > INT_MAX ? -1 : (int)found;
        Py_INCREF(number);
        Py_XSETREF(self->numbers[which], number);
    }
    return self->descriptors[which];
}

/* --- templates ---------------------------------------------------------------------------------------------------- */

static void forget_slot(Template *template)
{
    Py_CLEAR(template->mapping);
    Py_CLEAR(template->said);
    if (template->slot.obj != NULL)
        PyBuffer_Release(&template->slot);
}

static void forget(Template *template)
{
    forget_slot(template);
    Py_CLEAR(template->of);
    Py_CLEAR(template->call);
    Py_CLEAR(template->session);
    Py_CLEAR(template->context);
    Py_CLEAR(template->timeout);
    Py_CLEAR(template->checked);
}

/* Takes over one template of the general code's. Fails without an exception: the template is then its alone. */
static void learn(Core *self, Template *mine, PyObject *template)
{
    PyObject *call = IN(template, Template, call), *checked = IN(template, Template, checked);
    PyObject *session = IN(template, Template, session), *phase = IN(call, Call, phase);
    PyObject *id = IN(session, SessionRef, id), *step_index = IN(checked, CheckedCall, step_index);
    const struct { PyObject *bytes; const char **at; Py_ssize_t *length; } pieces[] = {
        {IN(template, Template, to_session), &mine->to_session, &mine->to_session_bytes},
        {IN(template, Template, to_picture), &mine->to_picture, &mine->to_picture_bytes},
        {IN(template, Template, to_time), &mine->to_time, &mine->to_time_bytes},
        {IN(template, Template, after), &mine->after, &mine->after_bytes},
        {IN(template, Template, told_before), &mine->told_before, &mine->told_before_bytes}};
    forget(mine);
    for (size_t piece = 0; piece < sizeof pieces / sizeof *pieces; piece++) {
        if (!PyBytes_CheckExact(pieces[piece].bytes))
            return;
        *pieces[piece].at = PyBytes_AS_STRING(pieces[piece].bytes);
        *pieces[piece].length = PyBytes_GET_SIZE(pieces[piece].bytes);
    }
    mine->executes = pv_same_text(phase, text_execute);
    if (!PyBytes_CheckExact(IN(template, Template, context)) || !PyBytes_CheckExact(IN(template, Template, ending)))
        return;
    mine->has_timeout = PyBytes_GET_SIZE(IN(template, Template, ending)) > 0;
    if ((!mine->executes && !pv_same_text(phase, text_pre)) || !PyUnicode_IS_COMPACT_ASCII(id) ||
        PyUnicode_GET_LENGTH(id) > MAX_SESSION_ID_CHARS || !PyDict_CheckExact(IN(checked, CheckedCall, user_params)) ||
        !PyDict_CheckExact(IN(template, Template, image_meta)))
        return;
    mine->has_picture = IN(template, Template, image_prefix) != Py_None;
    if (mine->has_picture && PyUnicode_GET_LENGTH(IN(template, Template, image_prefix)) > MAX_IMAGE_ID)
        return;
    long number = PyLong_AsLong(step_index);
    if (number == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        return;
    }
    mine->deep = IN(template, Template, deep) != Py_False;
    mine->session_id_bytes = PyUnicode_GET_LENGTH(id);
    memcpy(mine->session_id, PyUnicode_1BYTE_DATA(id), mine->session_id_bytes);
    mine->answer_bytes = snprintf(mine->answer, sizeof mine->answer,
                                  "\",\"phase\":\"execute\",\"step_index\":%ld,\"status\":\"OK\",\"data\":", number);
    Py_INCREF(checked);
    mine->checked = checked;
    Py_INCREF(session);
    mine->session = session;
    mine->context = IN(template, Template, context);
    Py_INCREF(mine->context);
    Py_INCREF(template);
    mine->of = template;
}

/* Takes over what the general code has learned since. */
static void learn_all(Core *self)
{
    Py_ssize_t count = PyList_GET_SIZE(PART(templates));
    for (Py_ssize_t at = 0; at < MAX_TEMPLATES; at++) {
        Template *mine = &self->templates[at];
        PyObject *template = at < count ? PyList_GET_ITEM(PART(templates), at) : NULL;
        if (template == NULL)
            forget(mine);
        else if (mine->of != template || mine->checked != IN(template, Template, checked))
            learn(self, mine, template);
    }
}

/* --- a call ------------------------------------------------------------------------------------------------------- */

typedef struct {
    Template *template;
    PyObject *call, *session_ref, *request_id, *params, *number; /* Owned. */
    PyObject *image_id, *image_meta;                             /* Owned; "" and {} where there is no picture. */
    char id[PV_MAX_ID_CHARS];
    Py_ssize_t id_bytes;
    uint64_t generation; /* 0 where it has too many digits: the general code reads it. */
    double since;        /* When it began. */
} Met;

static void drop(Met *met)
{
    Py_XDECREF(met->call);
    Py_XDECREF(met->session_ref);
    Py_XDECREF(met->request_id);
    Py_XDECREF(met->params);
    Py_XDECREF(met->number);
    Py_XDECREF(met->image_id);
    Py_XDECREF(met->image_meta);
}

static Py_ssize_t digits(const char *at, const char *end)
{
    const char *begin = at;
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at - begin;
}

static inline int goes_on(const char *at, const char *end, const char *piece, Py_ssize_t length)
{
    return end - at >= length && memcmp(at, piece, length) == 0;
}

/* What a frame has in a template's holes. */
typedef struct {
    const char *session_id, *context, *generation, *time, *timeout;
    Py_ssize_t session_id_bytes, context_bytes; /* The second 0 where the context is the last frame's, or there is none. */
    PyObject *read;                             /* Owned: a context that is another. */
} Holes;

/* Finds the end of a context; NULL for what is left. Reads it if it is another than the last frame's. */
static const char *behind_context(Template *template, const char *at, const char *end, Holes *holes)
{
    const char *last = PyBytes_AS_STRING(template->context);
    Py_ssize_t length = PyBytes_GET_SIZE(template->context);
    if (length == 0)
        return at;
    if (!goes_on(at, end, CONTEXT, CONTEXT_BYTES))
        return NULL;
    at += CONTEXT_BYTES;
    if (goes_on(at, end, last, length))
        return at + length;
    pv_reader reader = {at, end, 0};
    if (at >= end || *at != '{' || (holes->read = pv_value(&reader)) == NULL) {
        PyErr_Clear();
        return NULL;
    }
    holes->context = at;
    holes->context_bytes = reader.at - at;
    return reader.at;
}

/* Whether nothing comes any more but the timeout, where there is one. */
static int is_end(Template *template, const char *at, const char *end, Holes *holes)
{
    if (!template->has_timeout)
        return at == end;
    Py_ssize_t count = digits(at, end);
    holes->timeout = at;
    return count >= 1 && count <= MAX_TIME_DIGITS && *at != '0' && end - at == count + 1 && at[count] == '}';
}

/* Gives the number that stands here, of MAX_TIME_DIGITS at most. */
static int64_t number_at(const char *at, const char *end)
{
    int64_t number = 0;
    while (at < end && *at >= '0' && *at <= '9')
        number = number * 10 + (*at++ - '0');
    return number;
}

/* Finds the template of a frame, and what it has in the holes. */
static Template *template_of(Core *self, const char *at, const char *end, Holes *holes)
{
    for (Template *template = self->templates; template < self->templates + MAX_TEMPLATES; template++) {
        if (template->of == NULL || !goes_on(at, end, template->to_session, template->to_session_bytes))
            continue;
        Py_CLEAR(holes->read);
        holes->context_bytes = 0;
        const char *place = holes->session_id = at + template->to_session_bytes;
        place += holes->session_id_bytes = pv_plain(place, end);
        if (holes->session_id_bytes < 1 || holes->session_id_bytes > MAX_SESSION_ID_CHARS ||
            (place = behind_context(template, place, end, holes)) == NULL ||
            !goes_on(place, end, template->to_picture, template->to_picture_bytes))
            continue;
        place += template->to_picture_bytes;
        if (!template->has_picture) {
            if (is_end(template, place, end, holes))
                return template;
            continue;
        }
        holes->generation = place;
        Py_ssize_t count = digits(place, end);
        if (count < 1 || count > MAX_GENERATION_DIGITS)
            continue;
        place += count;
        if (!goes_on(place, end, template->to_time, template->to_time_bytes))
            continue;
        holes->time = place += template->to_time_bytes;
        count = digits(place, end);
        if (count < 1 || count > MAX_TIME_DIGITS || *place == '0')
            continue;
        place += count;
        if (goes_on(place, end, template->after, template->after_bytes) &&
            is_end(template, place + template->after_bytes, end, holes))
            return template;
    }
    Py_CLEAR(holes->read);
    return NULL;
}

/* Takes over a frame's timeout, if that is another than the last frame's. Gives -1 if that fails. */
static int take_timeout(Template *template, int64_t milliseconds)
{
    if (template->timeout != NULL && template->timeout_ms == milliseconds)
        return 0;
    PyObject *timeout = PyLong_FromLongLong(milliseconds);
    if (timeout == NULL)
        return -1;
    Py_XSETREF(template->timeout, timeout);
    template->timeout_ms = milliseconds;
    return 0;
}

/* Takes over what a frame says of its session, if that is another than the last frame's. Gives -1 if that fails. */
static int take_session(Core *self, Template *template, const Holes *holes)
{
    if (holes->read == NULL && holes->session_id_bytes == template->session_id_bytes &&
        memcmp(holes->session_id, template->session_id, template->session_id_bytes) == 0)
        return 0;
    PyObject *id = pv_ascii(holes->session_id, holes->session_id_bytes);
    PyObject *context = holes->read == NULL ? IN(template->session, SessionRef, context) : holes->read;
    PyObject *arguments[] = {id, context, IN(template->session, SessionRef, final)};
    PyObject *session = id == NULL ? NULL : PyObject_Vectorcall(PART(SessionRef), arguments, 0, names_of_session);
    PyObject *written = holes->read == NULL ? NULL : PyBytes_FromStringAndSize(holes->context, holes->context_bytes);
    Py_XDECREF(id);
    if (session == NULL || (written == NULL && holes->read != NULL)) {
        Py_XDECREF(session);
        Py_XDECREF(written);
        return -1;
    }
    Py_SETREF(template->session, session);
    if (written != NULL)
        Py_SETREF(template->context, written);
    memcpy(template->session_id, holes->session_id, holes->session_id_bytes);
    template->session_id_bytes = holes->session_id_bytes;
    return 0;
}

/* Gives a call that nobody else has. */
static PyObject *fresh_call(Core *self, Template *template)
{
    if (template->call == NULL || Py_REFCNT(template->call) != 1) {
        PyObject *call = PyObject_CallMethodNoArgs(IN(template->of, Template, call), text_copy);
        if (call == NULL)
            return NULL;
        Py_XSETREF(template->call, call);
    }
    Py_INCREF(template->call);
    return template->call;
}

/* Reads a frame. Gives 1 if it is a steady call's; 0 for what is left. Changes nothing that others see. */
static int meet(Core *self, Met *met, Py_ssize_t got)
{
    const char *at = self->in + PV_HEADER_BYTES, *end = self->in + got;
    if (got <= PV_HEADER_BYTES + PV_BEGINNING_BYTES || (Py_ssize_t)pv_length(self->in) != got - PV_HEADER_BYTES ||
        got - PV_HEADER_BYTES > self->max_frame_bytes || OF(splitter, empty) != Py_True ||
        memcmp(at, PV_BEGINNING, PV_BEGINNING_BYTES) != 0)
        return 0;
    at += PV_BEGINNING_BYTES;
    met->id_bytes = pv_plain(at, end);
    if (met->id_bytes > PV_MAX_ID_CHARS || at + met->id_bytes >= end || at[met->id_bytes] != '"')
        return 0;
    memcpy(met->id, at, met->id_bytes);
    at += met->id_bytes;
    Holes holes = {.read = NULL};
    Template *template = template_of(self, at, end, &holes);
    if (template == NULL)
        return 0;
    met->template = template;
    int taken = take_session(self, template, &holes);
    if (taken == 0 && template->has_timeout)
        taken = take_timeout(template, number_at(holes.timeout, end));
    Py_XDECREF(holes.read);
    if (taken < 0)
        return 0;
    Py_INCREF(template->session);
    met->session_ref = template->session;
    PyObject *params = IN(template->checked, CheckedCall, user_params);
    met->params = template->deep ? PyObject_CallOneArg(PART(deepcopy), params)
                  : PyDict_GET_SIZE(params) == 0 ? PyDict_New()
                                                 : PyDict_Copy(params);
    if (template->has_picture) {
        PyObject *prefix = IN(template->of, Template, image_prefix);
        Py_ssize_t prefix_bytes = PyUnicode_GET_LENGTH(prefix), count = digits(holes.generation, end);
        char image_id[MAX_IMAGE_ID + MAX_GENERATION_DIGITS];
        memcpy(image_id, PyUnicode_1BYTE_DATA(prefix), prefix_bytes);
        memcpy(image_id + prefix_bytes, holes.generation, count);
        if (count <= MAX_KNOWN_DIGITS)
            for (Py_ssize_t digit = 0; digit < count; digit++)
                met->generation = met->generation * 10 + (uint64_t)(holes.generation[digit] - '0');
        met->image_id = pv_ascii(image_id, prefix_bytes + count);
        met->image_meta = PyDict_Copy(IN(template->of, Template, image_meta));
        PyObject *number = PyLong_FromLongLong(number_at(holes.time, end));
        if (number == NULL || met->image_meta == NULL ||
            PyDict_SetItem(met->image_meta, text_timestamp_ms, number) < 0)
            Py_CLEAR(met->image_meta);
        Py_XDECREF(number);
    }
    else {
        Py_INCREF(text_empty);
        met->image_id = text_empty;
        met->image_meta = PyDict_New();
    }
    met->request_id = pv_ascii(met->id, met->id_bytes);
    met->call = fresh_call(self, template);
    if (met->params == NULL || met->image_id == NULL || met->image_meta == NULL || met->request_id == NULL ||
        met->call == NULL)
        return 0;
    SET(met->call, Call, request_id, met->request_id);
    SET(met->call, Call, session, met->session_ref);
    if (template->has_timeout)
        SET(met->call, Call, timeout_ms, template->timeout);
    if (template->has_picture) {
        SET(met->call, Call, shared_mem_id, met->image_id);
        SET(met->call, Call, image_meta, met->image_meta);
    }
    return 1;
}

/* --- its picture -------------------------------------------------------------------------------------------------- */

/* Keeps in mind where the picture lies that the general code has opened, if it is one that is seen as it lies there. */
static void remember_slot(Core *self, Template *template)
{
    PyObject *prefix = IN(template->of, Template, image_prefix), *backends = OF(images, _backends);
    Py_ssize_t length = PyUnicode_GET_LENGTH(prefix), colon = PyUnicode_FindChar(prefix, ':', 0, length, 1);
    PyObject *scheme = colon < 1 ? NULL : PyUnicode_Substring(prefix, 0, colon);
    PyObject *named = PyUnicode_Substring(prefix, 0, length - 1), *mappings = NULL, *mapping = NULL;
    PyObject *backend = scheme == NULL || !PyDict_Check(backends) ? NULL : PyDict_GetItemWithError(backends, scheme);
    forget_slot(template);
    if (backend != NULL && named != NULL && PyObject_IsInstance(backend, PART(MappedSlots)) == 1)
        mappings = PyObject_GetAttrString(backend, "_mappings");
    if (mappings != NULL && PyDict_Check(mappings))
        mapping = PyDict_GetItemWithError(mappings, named);
    if (mapping != NULL && Py_IS_TYPE(mapping, (PyTypeObject *)PART(Mapping)) &&
        IN(mapping, Mapping, meta) == IN(template->checked, CheckedCall, meta)) {
        PyObject *header = IN(mapping, Mapping, header), *said = IN(mapping, Mapping, said);
        if (Py_IS_TYPE(header, (PyTypeObject *)PART(SlotHeader)) && PyTuple_CheckExact(said) &&
            PyTuple_GET_SIZE(said) == 2 && PyBytes_CheckExact(PyTuple_GET_ITEM(said, 0)) &&
            PyBytes_GET_SIZE(PyTuple_GET_ITEM(said, 0)) == GENERATION_AT && PyBytes_CheckExact(PyTuple_GET_ITEM(said, 1)) &&
            PyBytes_GET_SIZE(PyTuple_GET_ITEM(said, 1)) == SLOT_HEADER_BYTES - BEHIND_AT &&
            pv_is(IN(header, SlotHeader, encoding), "raw", 3) && PyLong_AsLong(IN(header, SlotHeader, bits)) <= 8 &&
            !PyErr_Occurred() && PyObject_GetBuffer(IN(mapping, Mapping, memory), &template->slot, PyBUF_SIMPLE) == 0) {
            if (template->slot.len >= SLOT_HEADER_BYTES) {
                Py_INCREF(mapping);
                template->mapping = mapping;
                Py_INCREF(said);
                template->said = said;
            }
            else
                PyBuffer_Release(&template->slot);
        }
    }
    PyErr_Clear();
    Py_XDECREF(mappings);
    Py_XDECREF(scheme);
    Py_XDECREF(named);
}

static uint64_t generation_of(const char *header)
{
    uint64_t generation = 0;
    for (int byte = GENERATION_BYTES - 1; byte >= 0; byte--)
        generation = generation << 8 | (unsigned char)header[GENERATION_AT + byte];
    return generation;
}

/* Opens the picture in a slot that is known. Gives NULL, without an exception, where the general code has to. */
static PyObject *open_known(Core *self, Met *met)
{
    Template *template = met->template;
    if (template->mapping == NULL || met->generation == 0 || met->generation % 2)
        return NULL;
    char header[SLOT_HEADER_BYTES]; /* A copy: what is looked at can't change under it. */
    memcpy(header, template->slot.buf, sizeof header);
    if (generation_of(header) != met->generation || IN(template->mapping, Mapping, said) != template->said ||
        memcmp(header, PyBytes_AS_STRING(PyTuple_GET_ITEM(template->said, 0)), GENERATION_AT) != 0 ||
        memcmp(header + BEHIND_AT, PyBytes_AS_STRING(PyTuple_GET_ITEM(template->said, 1)),
               SLOT_HEADER_BYTES - BEHIND_AT) != 0)
        return NULL;
    PyTypeObject *type = (PyTypeObject *)PART(MappedImage);
    PyObject *image = type->tp_alloc(type, 0), *generation = PyLong_FromUnsignedLongLong(met->generation);
    PyObject *current = image == NULL || generation == NULL ? NULL
                                                            : PyTuple_Pack(3, met->image_id, met->image_meta, image);
    if (current == NULL) {
        PyErr_Clear();
        Py_XDECREF(image);
        Py_XDECREF(generation);
        return NULL;
    }
    SET(image, MappedImage, _mapping, template->mapping);
    SET(image, MappedImage, _header, IN(template->mapping, Mapping, header));
    SET(image, MappedImage, _array, Py_None);
    PUT(image, MappedImage, _generation, generation);
    SET(PART(images), images, was_read, Py_False);
    PUT(PART(images), images, _current, current);
    return image;
}

/* Whether an algorithm has a method of its own in place of the contract's empty one. */
static int has_own(PyObject *algorithm, PyObject *attributes, PyObject *name, PyObject *empty)
{
    return _PyType_Lookup(Py_TYPE(algorithm), name) != empty || PyDict_Contains(attributes, name) != 0;
}

/* Begins a call where it is the only one. Gives 1; 0, with nothing begun, for what is left. Lets no other thread in
   until it has begun. */
static int begin(Core *self, Met *met)
{
    met->since = pv_now();
    PyObject *since = PyFloat_FromDouble(met->since);
    PyObject *calls = OF(loop, calls);
    unsigned long long number = (calls == self->calls ? self->number : PyLong_AsUnsignedLongLong(calls)) + 1;
    met->number = PyLong_FromUnsignedLongLong(number);
    if (since == NULL || met->number == NULL || PyErr_Occurred() || PySet_GET_SIZE(PART(pending_ids)) != 0 ||
        OF(connection, anonymous) != zero || Py_SIZE(PART(waiting)) != 0 ||
        OF(connection, state) != PART(open) || OF(status, now) != PART(ready) || pv_is_locked(PART(locked)) != 0 ||
        PySet_Add(PART(pending_ids), met->request_id) < 0) {
        PyErr_Clear();
        Py_XDECREF(since);
        return 0;
    }
    SET(PART(status), status, now, PART(executing));
    SET(PART(conversation), conversation, abandoned, Py_False);
    SET(PART(cancellation), cancellation, requested, Py_False);
    PUT(PART(conversation), conversation, running_since, since);
    SET(PART(conversation), conversation, running, met->call);
    SET(PART(loop), loop, calls, met->number);
    Py_INCREF(met->number);
    Py_XSETREF(self->calls, met->number);
    self->number = number;
    SET(met->template->of, Template, met_at, met->number);
    SET(PART(python), python, _vain, zero);
    char *page = self->page.buf;
    Py_ssize_t shown = met->id_bytes < PAGE_ID_BYTES ? met->id_bytes : PAGE_ID_BYTES;
    page[PAGE_ID_AT] = (char)shown;
    memcpy(page + PAGE_ID_AT + 1, met->id, shown);
    *(volatile uint64_t *)page = number;
    return 1;
}

/* Gives the state that a session has, as its store has kept it: None where it has none. */
static PyObject *state_of(Core *self, PyObject *id)
{
    if (PART(sessions) != Py_None) {
        PyObject *ended = IN(PART(sessions), GuardedSessions, _ended);
        PyObject *prefix = IN(PART(sessions), GuardedSessions, _prefix);
        int met = PART(met) == Py_None ? 1 : PyDict_Contains(PART(met), id); /* Observers are told of one that isn't. */
        if (met < 0)
            return NULL;
        if (met && PyDict_GET_SIZE(ended) == 0 && PyUnicode_GET_LENGTH(prefix) == 0 &&
            PyDict_GET_SIZE(IN(PART(store), MemorySessionStore, _put_out)) == 0) {
            int there = PyDict_Contains(IN(PART(store), MemorySessionStore, _states), id);
            if (there < 0)
                return NULL;
            if (!there)
                Py_RETURN_NONE;
        }
    }
    return PyObject_CallOneArg(PART(load), id);
}

static PyObject *session_of(Core *self, PyObject *reference, PyObject *state)
{
    PyTypeObject *type = (PyTypeObject *)PART(Session);
    PyObject *session = type->tp_alloc(type, 0);
    if (session == NULL)
        return NULL;
    SET(session, Session, _id, IN(reference, SessionRef, id));
    SET(session, Session, _context, IN(reference, SessionRef, context));
    SET(session, Session, _saved, state);
    SET(session, Session, _loaded, Py_None);
    SET(session, Session, _lent, Py_False);
    return session;
}

/* Whether what was returned is an OK and nothing else, as `is_bare_ok`. */
static int is_bare_ok(Core *self, PyObject *returned)
{
    if (Py_IS_TYPE(returned, (PyTypeObject *)PART(Ok))) {
        PyObject *message = IN(returned, Ok, message), *debug = IN(returned, Ok, debug);
        PyObject *rects = IN(returned, Ok, position_rects);
        return message != NULL && PyUnicode_CheckExact(message) && PyUnicode_GET_LENGTH(message) == 0 &&
               debug != NULL && PyDict_CheckExact(debug) && PyDict_GET_SIZE(debug) == 0 && rects != NULL &&
               PyTuple_CheckExact(rects) && PyTuple_GET_SIZE(rects) == 0;
    }
    if (!PyDict_CheckExact(returned) || PyDict_GET_SIZE(returned) != 2)
        return 0;
    PyObject *key, *value, *data = NULL;
    Py_ssize_t place = 0;
    int good = 0;
    while (PyDict_Next(returned, &place, &key, &value))
        if (pv_is(key, "status", 6))
            good = pv_is(value, "OK", 2);
        else if (pv_is(key, "data", 4))
            data = value;
    if (!good || data == NULL || !PyDict_CheckExact(data) || PyDict_GET_SIZE(data) != 1)
        return 0;
    place = 0;
    return PyDict_Next(data, &place, &key, &value) && pv_is(key, "result_status", 13) && pv_is(value, "OK", 2);
}

/* Writes microseconds as milliseconds, as the encoder writes a float of so many; gives where it ends. */
static char *put_latency(char *at, uint64_t microseconds)
{
    char digits_[PV_MOST_DIGITS], *end = digits_ + sizeof digits_, *first = pv_number_before(end, microseconds / 1000);
    memcpy(at, first, end - first);
    at += end - first;
    unsigned rest = (unsigned)(microseconds % 1000);
    *at++ = '.';
    *at++ = (char)('0' + rest / 100);
    if (rest % 100) {
        *at++ = (char)('0' + rest / 10 % 10);
        if (rest % 10)
            *at++ = (char)('0' + rest % 10);
    }
    return at;
}

#define MOST_MICROSECONDS 1000000000000000.0

/* What becomes of a call: a bare OK, or another answer. */
typedef struct {
    PyObject *answer; /* Owned; NULL for a bare OK. */
    uint64_t microseconds;
} Outcome;

/* Makes the exception that is set the call's answer. */
static PyObject *refused(Core *self, Met *met)
{
    PyObject *kind, *value, *trace;
    PyErr_Fetch(&kind, &value, &trace);
    PyErr_NormalizeException(&kind, &value, &trace);
    if (trace != NULL)
        PyException_SetTraceback(value, trace);
    PyObject *arguments[] = {met->call, value == NULL ? Py_None : value};
    PyObject *answer = PyObject_Vectorcall(PART(raised), arguments, 2, NULL);
    Py_XDECREF(kind);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    return answer;
}

/* Whether nothing was published. The algorithm may have put anything in there. */
static int is_silent(Core *self)
{
    PyObject *values = OF(diagnostics, _values);
    return values != NULL && PyDict_CheckExact(values) && PyDict_GET_SIZE(values) == 0;
}

/* Holds a bare OK against everything else. Gives 1 if it is the answer, 0 if the worker has to judge, -1 and an
   exception for what is refused. */
static int holds(Core *self, Met *met, PyObject *attributes, PyObject *session, PyObject *image, int known)
{
    if ((image != NULL && (!known || generation_of(met->template->slot.buf) != met->generation ||
                           (OF(images, was_read) != Py_True && OF(worker, _must_read) != Py_False))) ||
        OF(images, failed_read) != Py_None ||
        OF(flag, requested) != Py_False ||
        !is_silent(self) || has_own(PART(algorithm), attributes, text_on_step_finish, PART(no_finish)))
        return 0;
    if (IN(session, Session, _loaded) != Py_None && IN(met->session_ref, SessionRef, final) == Py_False) {
        PyObject *arguments[] = {IN(met->session_ref, SessionRef, id), session};
        return pv_done(PyObject_Vectorcall(PART(save), arguments, 2, NULL)) < 0 ? -1 : 1;
    }
    return 1;
}

/* Tells an algorithm that a step begins, where it has a method for that. */
static int start_step(Core *self, Met *met, PyObject *session)
{
    PyObject *step_index = IN(met->template->checked, CheckedCall, step_index);
    PyObject *context = PyObject_GetAttr(session, text_context);
    int failed = context == NULL || pv_done(PyObject_CallMethodObjArgs(PART(algorithm), text_on_step_start, step_index,
                                                                       session, context, NULL)) < 0;
    Py_XDECREF(context);
    return failed ? -1 : 0;
}

/* Lets the worker judge what was returned. */
static PyObject *judged(Core *self, Met *met, PyObject *session, PyObject *image, PyObject *returned, double began)
{
    PyObject *checked = met->template->checked, *time = PyFloat_FromDouble(began);
    PyObject *arguments[] = {IN(checked, CheckedCall, step_index), IN(checked, CheckedCall, pid), met->session_ref,
                             met->params, IN(checked, CheckedCall, meta), IN(checked, CheckedCall, size)};
    PyObject *mine = time == NULL ? NULL : PyObject_Vectorcall(PART(CheckedCall), arguments, 6, NULL);
    PyObject *answer = NULL;
    if (mine != NULL)
        answer = PyObject_CallFunctionObjArgs(PART(judge), met->call, mine, session, image == NULL ? Py_None : image,
                                              returned, time, NULL);
    Py_XDECREF(mine);
    Py_XDECREF(time);
    return answer;
}

/* Executes a call, as `Worker.run`. Gives 0; -1 and an exception if there is no answer at all. */
static int execute(Core *self, Met *met, Outcome *outcome)
{
    Template *template = met->template;
    PyObject *id = IN(met->session_ref, SessionRef, id), *meta = IN(template->checked, CheckedCall, meta);
    PyObject *image = NULL, *state = NULL, *session = NULL, *returned = NULL;
    PyObject *attributes = PyObject_GenericGetDict(PART(algorithm), NULL);
    int known = 0; /* Whether the picture lies in a slot that is known. */
    int bare = 0;  /* Whether the answer is a bare OK. Only what holds makes it one. */
    SET(PART(context), context, call, met->call);
    if (attributes == NULL || (PART(sessions) == Py_None && pv_done(PyObject_CallOneArg(PART(expect), id)) < 0))
        goto refuse;
    if (meta != Py_None) {
        image = open_known(self, met);
        known = image != NULL;
        if (!known) {
            PyObject *arguments[] = {met->image_id, met->image_meta, meta};
            if ((image = PyObject_Vectorcall(PART(open_image), arguments, 3, NULL)) == NULL)
                goto refuse;
            remember_slot(self, template);
        }
    }
    if ((state = state_of(self, id)) == NULL || (session = session_of(self, met->session_ref, state)) == NULL ||
        PyDict_SetItem(attributes, PART(session_of_the_call), session) < 0)
        goto refuse;
    double began = pv_now();
    if (has_own(PART(algorithm), attributes, text_on_step_start, PART(no_start)) && start_step(self, met, session) < 0)
        goto refuse;
    PyObject *arguments[] = {PART(algorithm), IN(template->checked, CheckedCall, step_index),
                             IN(template->checked, CheckedCall, pid), session, met->params, met->image_id, met->image_meta};
    returned = PyObject_VectorcallMethod(template->executes ? text_execute : text_pre_execute, arguments, 7, NULL);
    if (returned == NULL)
        goto refuse;
    Py_SETREF(attributes, PyObject_GenericGetDict(PART(algorithm), NULL)); /* The algorithm may have put another there. */
    if (attributes == NULL)
        goto refuse;
    if (template->executes && is_bare_ok(self, returned)) {
        double microseconds = (pv_now() - began) * 1e6;
        if (microseconds >= 0 && microseconds < MOST_MICROSECONDS) {
            outcome->microseconds = (uint64_t)microseconds;
            int held = holds(self, met, attributes, session, image, known);
            if (held < 0)
                goto refuse;
            bare = held;
        }
    }
    if (!bare && (outcome->answer = judged(self, met, session, image, returned, began)) == NULL)
        goto refuse;
    goto leave;
refuse:
    outcome->answer = refused(self, met);
leave:
    Py_XDECREF(returned);
    Py_XDECREF(session);
    Py_XDECREF(state);
    int failed = outcome->answer == NULL && !bare;
    if (attributes == NULL || (image != NULL && !known) || OF(images, failed_read) != Py_None ||
        !is_silent(self)) {
        PyObject *kind, *value, *trace;
        PyErr_Fetch(&kind, &value, &trace);
        if (pv_done(PyObject_CallOneArg(PART(leave), image == NULL ? Py_None : image)) < 0) {
            failed = 1;
            Py_XDECREF(kind);
            Py_XDECREF(value);
            Py_XDECREF(trace);
        }
        else
            PyErr_Restore(kind, value, trace);
    }
    else {
        if (known) {
            SET(PART(images), images, _current, Py_None);
            SET(PART(images), images, was_read, Py_False);
        }
        SET(PART(context), context, call, Py_None);
        if (PyDict_Contains(attributes, PART(session_of_the_call)) > 0)
            PyDict_DelItem(attributes, PART(session_of_the_call));
    }
    Py_XDECREF(image);
    Py_XDECREF(attributes);
    return failed ? -1 : 0;
}

/* --- its answer --------------------------------------------------------------------------------------------------- */

/* Gives a bare OK as the general code has it. */
static PyObject *bare_answer(Core *self, Met *met, uint64_t microseconds)
{
    PyObject *data = Py_BuildValue("{s:s,s:{s:d}}", "result_status", "OK", "debug", "latency_ms",
                                   (double)microseconds / 1e3);
    if (data == NULL)
        return NULL;
    PyObject *arguments[] = {met->request_id, text_execute, IN(met->template->checked, CheckedCall, step_index), text_ok,
                             data};
    PyObject *answer = PyObject_Vectorcall(PART(Result), arguments, 0, names_of_result);
    Py_DECREF(data);
    return answer;
}

/* Writes an answer's frame into `out`; gives its length, or 0 for what is left. */
static Py_ssize_t write_frame(Core *self, Met *met, Outcome *outcome)
{
    static const char before[] = "{\"type\":\"result\",\"request_id\":\"";
    static const char verdict[] = "{\"result_status\":\"OK\",\"debug\":{\"latency_ms\":";
    char *at = self->out + PV_HEADER_BYTES;
    if (outcome->answer == NULL) {
        memcpy(at, before, sizeof before - 1);
        at += sizeof before - 1;
        memcpy(at, met->id, met->id_bytes);
        at += met->id_bytes;
        memcpy(at, met->template->answer, met->template->answer_bytes);
        at += met->template->answer_bytes;
        memcpy(at, verdict, sizeof verdict - 1);
        at = put_latency(at + sizeof verdict - 1, outcome->microseconds);
        memcpy(at, "}}}", 3);
        at += 3;
    }
    else {
        if (!Py_IS_TYPE(outcome->answer, (PyTypeObject *)PART(Result)))
            return 0;
        PyObject *payload = PyObject_CallOneArg(PART(encode), outcome->answer);
        if (payload == NULL || !PyBytes_CheckExact(payload) ||
            PyBytes_GET_SIZE(payload) > (Py_ssize_t)sizeof self->out - PV_HEADER_BYTES) {
            PyErr_Clear(); /* The general code tells what JSON can't carry. */
            Py_XDECREF(payload);
            return 0;
        }
        memcpy(at, PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload));
        at += PyBytes_GET_SIZE(payload);
        Py_DECREF(payload);
    }
    Py_ssize_t length = at - self->out - PV_HEADER_BYTES;
    if (length > self->max_frame_bytes)
        return 0;
    pv_put_length(self->out, (uint32_t)length);
    return PV_HEADER_BYTES + length;
}

/* Whether an answer is more than its verdict and its time, as `Records.answering` sees it. */
static int flags_of(Core *self, Outcome *outcome)
{
    if (outcome->answer == NULL)
        return 0;
    PyObject *data = IN(outcome->answer, Result, data);
    PyObject *debug = PyDict_CheckExact(data) ? PyDict_GetItemWithError(data, text_debug) : NULL;
    int published = debug != NULL && PyDict_CheckExact(debug) && PyDict_GET_SIZE(debug) > 1;
    return (pv_is(IN(outcome->answer, Result, status), "OK", 2) ? 0 : FAILED) | (published ? DIAGNOSTICS : 0);
}

static inline char *put(char *at, const void *from, size_t length)
{
    memcpy(at, from, length);
    return at + length;
}

/* Puts a call and its answer, which is written next, into the memory that the host half reads, as `Ring.put`. Gives the
   place of the record's state; NULL, with nothing put, where there is no room, or more to be told.
   Warning: the algorithm may have written there. Nothing is put outside of it, whatever its counts say. */
static char *put_record(Core *self, Met *met, Outcome *outcome, Py_ssize_t length)
{
    Template *template = met->template;
    if (self->ring.obj == NULL)
        return NULL;
    uint64_t *counts = self->ring.buf, size = (uint64_t)self->ring.len - RING_FIRST;
    uint64_t written = counts[0], read = __atomic_load_n(&counts[1], __ATOMIC_ACQUIRE), at = written % size;
    const char *context = PyBytes_GET_SIZE(template->context) ? PyBytes_AS_STRING(template->context) : "{}";
    Py_ssize_t context_bytes = PyBytes_GET_SIZE(template->context) ? PyBytes_GET_SIZE(template->context) : 2;
    int final = IN(met->session_ref, SessionRef, final) != Py_False;
    uint32_t told = (uint32_t)(template->told_before_bytes + met->id_bytes + 3 + template->session_id_bytes + 2 +
                               context_bytes + (final ? 6 : 7));
    uint32_t bytes = FACTS_BYTES + told + (uint32_t)length;
    uint64_t whole = (bytes + RECORD_HEADER_BYTES + 7) & ~(uint64_t)7, skipped = at + whole > size ? size - at : 0;
    if (PyList_GET_SIZE(PART(events)) != 0 || at % 8 || bytes > size / 4 ||
        written + skipped + whole - read > size)
        return NULL;
    char *first = (char *)self->ring.buf + RING_FIRST, header[RECORD_HEADER_BYTES] = {0};
    if (skipped) {
        uint32_t rest = (uint32_t)skipped - RECORD_HEADER_BYTES;
        memcpy(header, &rest, sizeof rest);
        header[RECORD_STATE] = SKIP;
        memcpy(first + at, header, sizeof header);
        at = 0;
    }
    memcpy(header, &bytes, sizeof bytes);
    header[RECORD_STATE] = PENDING;
    header[RECORD_STATE + 1] = ANSWERED;
    double elapsed_ms = (pv_now() - met->since) * 1000;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t ended_at_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    char flags = (char)flags_of(self, outcome), *place = first + at, *next = put(place, header, sizeof header);
    next = put(next, &elapsed_ms, sizeof elapsed_ms);
    next = put(next, &ended_at_ns, sizeof ended_at_ns);
    next = put(next, &told, sizeof told);
    next = put(next, &flags, 1);
    next = put(next, template->told_before, template->told_before_bytes);
    next = put(next, met->id, met->id_bytes);
    next = put(next, "\",\"", 3);
    next = put(next, template->session_id, template->session_id_bytes);
    next = put(next, "\",", 2);
    next = put(next, context, context_bytes);
    next = final ? put(next, ",true]", 6) : put(next, ",false]", 7);
    put(next, self->out, length);
    __atomic_store_n(&counts[0], written + skipped + whole, __ATOMIC_RELEASE);
    return place + RECORD_STATE;
}

/* Whether observers are told of no calls, and nothing has happened to sessions that they are told of. */
static int is_untold(Core *self)
{
    return self->ring.obj == NULL && PyList_GET_SIZE(PART(events)) == 0;
}

/* Notes that the answer is out; wakes the host half if it sleeps. */
static int mark_record(Core *self, char *state)
{
    __atomic_store_n(state, DONE, __ATOMIC_SEQ_CST);
    char sleeps = __atomic_load_n((char *)self->ring.buf + RING_SLEEPS, __ATOMIC_SEQ_CST);
    return sleeps == 1 ? pv_done(PyObject_CallNoArgs(PART(look))) : 0;
}

/* Whether the frames' descriptors are what they were, as far as two questions tell. */
static int are_ours(Core *self)
{
    return OF(ends, _reopened) == Py_False && fcntl(descriptor(self, FRAMES_IN, OF(ends, frames_in)), F_GETSIG) == MARK &&
           fcntl(descriptor(self, FRAMES_OUT, OF(ends, frames_out)), F_GETSIG) == MARK;
}

/* Lets the general code write an answer. */
static int finish(Core *self, Met *met, Outcome *outcome)
{
    if (outcome->answer == NULL && (outcome->answer = bare_answer(self, met, outcome->microseconds)) == NULL)
        return -1;
    PyObject *arguments[] = {met->call, outcome->answer};
    return pv_done(PyObject_Vectorcall(PART(finish), arguments, 2, NULL));
}

/* Lets the general code write the frame that was made, and put it down for observers. The lock is held. */
static int give_recorded(Core *self, Met *met, Outcome *outcome, Py_ssize_t length)
{
    if (outcome->answer == NULL && (outcome->answer = bare_answer(self, met, outcome->microseconds)) == NULL)
        return -1;
    return pv_done(
        PyObject_CallFunction(PART(write_recorded), "OOy#", met->call, outcome->answer, self->out, length));
}

/* Writes a call's answer, and does what follows from it. Gives -1 and an exception if that fails. */
static int give(Core *self, Met *met, Outcome *outcome)
{
    Py_ssize_t length = write_frame(self, met, outcome);
    if (length == 0)
        return finish(self, met, outcome);
    if (self->forks != pv_forks)
        _exit(0); /* A child that the algorithm has forked does not answer in the original's name. */
    int stray = 0;
    if (ioctl(1, FIONREAD, &stray) == 0 && stray != 0 && pv_done(PyObject_CallNoArgs(PART(wait_for_stray_output))) < 0)
        return -1;
    if (!are_ours(self) && pv_done(PyObject_CallNoArgs(PART(verify))) < 0)
        return -1;
    /* A pipe that is empty has room: the write doesn't wait, and nobody else runs meanwhile. */
    int out = descriptor(self, FRAMES_OUT, OF(ends, frames_out)), failed = 0, unread = 1;
    int alone = self->is_fifo && length <= PIPE_BUF && ioctl(out, FIONREAD, &unread) == 0 && unread == 0 &&
                pv_is_locked(PART(locked)) == 0;
    if (!alone && pv_done(PyObject_CallNoArgs(PART(acquire))) < 0)
        return -1;
    int recorded = PART(records) == Py_None;
    char *state = NULL; /* Of the record that was put here. */
    for (;;) {
        if (OF(status, now) != PART(executing) || OF(conversation, abandoned) != Py_False ||
            OF(connection, state) != PART(open) || OF(conversation, _output_lost) != Py_False) {
            if (!alone && pv_done(PyObject_CallNoArgs(PART(release))) < 0)
                return -1;
            return finish(self, met, outcome);
        }
        if (!recorded)
            recorded = (state = put_record(self, met, outcome, length)) != NULL || is_untold(self);
        if (recorded || !alone)
            break;
        alone = 0; /* The general code puts it down, which lets other threads in. */
        if (pv_done(PyObject_CallNoArgs(PART(acquire))) < 0)
            return -1;
    }
    SET(PART(conversation), conversation, running, Py_None);
    SET(PART(status), status, now, PART(ready));
    PySet_Discard(PART(pending_ids), met->request_id);
    ssize_t written = length;
    if (!recorded)
        failed = give_recorded(self, met, outcome, length);
    else if (alone)
        written = write(out, self->out, length);
    else {
        Py_BEGIN_ALLOW_THREADS
        written = write(out, self->out, length);
        Py_END_ALLOW_THREADS
    }
    if (written < length && alone) {
        /* Nothing was written: so few bytes are written whole or not at all. */
        alone = 0;
        if (pv_done(PyObject_CallNoArgs(PART(acquire))) < 0)
            return -1;
    }
    if (written < length)
        failed = pv_done(PyObject_CallFunction(PART(write_rest), "y#n", self->out, length,
                                            (Py_ssize_t)(written < 0 ? 0 : written)));
    if (!failed && state != NULL)
        failed = mark_record(self, state);
    if (failed) {
        PyObject *kind, *value, *trace;
        PyErr_Fetch(&kind, &value, &trace);
        if (pv_done(PyObject_CallNoArgs(PART(release))) < 0)
            PyErr_Clear();
        PyErr_Restore(kind, value, trace);
        return -1;
    }
    if (!alone && pv_done(PyObject_CallNoArgs(PART(release))) < 0)
        return -1;
    *(volatile uint64_t *)self->page.buf = 0;
    if (IN(met->session_ref, SessionRef, final) == Py_False)
        return 0;
    return pv_done(PyObject_CallOneArg(PART(end_session), IN(met->session_ref, SessionRef, id)));
}

/* Answers the call that was read. Gives 1; 0, with nothing done, for what is left; -1 and an exception. */
static int answer(Core *self, Py_ssize_t got)
{
    Met met = {.id_bytes = 0};
    Outcome outcome = {NULL, 0};
    int answered = 0;
    if (meet(self, &met, got) && begin(self, &met)) {
        answered = 1;
        if ((OF(standby, sleeps) != Py_False && pv_done(PyObject_CallNoArgs(PART(wake))) < 0) ||
            execute(self, &met, &outcome) < 0 || give(self, &met, &outcome) < 0)
            answered = -1;
    }
    if (answered == 0)
        PyErr_Clear();
    Py_XDECREF(outcome.answer);
    drop(&met);
    return answered;
}

/* Passes bytes on to the general code, and takes over what it has learned from them. */
static PyObject *pass_on(Core *self, const char *data, Py_ssize_t length)
{
    PyObject *bytes = PyBytes_FromStringAndSize(data, length);
    PyObject *result = bytes == NULL ? NULL : PyObject_CallOneArg(PART(take), bytes);
    Py_XDECREF(bytes);
    if (result != NULL)
        learn_all(self);
    return result;
}

/* Logs the exception that is set, which was raised while nothing of the algorithm's ran. */
static int tell_of_interruption(Core *self)
{
    PyObject *kind, *value, *trace;
    PyErr_Fetch(&kind, &value, &trace);
    PyErr_NormalizeException(&kind, &value, &trace);
    if (trace != NULL)
        PyException_SetTraceback(value, trace);
    int failed = pv_done(PyObject_CallOneArg(PART(interrupted), value));
    Py_XDECREF(kind);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    return failed;
}

/* pump(): waits for bytes or a request, and handles what comes. */
static PyObject *pump(Core *self, PyObject *Py_UNUSED(nothing))
{
    if (OF(reader, whole) != Py_True)
        return PyObject_CallNoArgs(PART(pump));
    struct pollfd watched[] = {{descriptor(self, FRAMES_IN, OF(ends, frames_in)), POLLIN, 0},
                              {descriptor(self, CONTROL, OF(ends, control)), POLLIN, 0}};
    int ready, problem;
    ssize_t got = -1;
    Py_BEGIN_ALLOW_THREADS
    ready = poll(watched, 2, -1);
    if (ready == 1 && watched[0].revents == POLLIN)
        got = read(watched[0].fd, self->in, sizeof self->in);
    problem = errno;
    Py_END_ALLOW_THREADS
    /* What a handler, or another thread, has raised here is nobody's call. A signal that a handler is there for is a
       request, too, and interrupts the wait. */
    int raised = got < 0 && PyErr_CheckSignals() < 0;
    if (!raised && PyThreadState_Get()->async_exc != NULL)
        raised = pv_done(PyObject_CallNoArgs(PART(nothing))) < 0;
    if (raised && tell_of_interruption(self) < 0)
        return NULL;
    if (got < 0) {
        if (ready < 0 && problem == EINTR)
            Py_RETURN_NONE;
        return PyObject_CallNoArgs(PART(pump)); /* It finds the same, and tells what it is. */
    }
    int answered = answer(self, got);
    if (answered < 0)
        return NULL;
    if (answered > 0)
        Py_RETURN_NONE;
    return pass_on(self, self->in, got);
}

/* take(data): does with bytes what `pump` does with those that it reads. For tests. */
static PyObject *take(Core *self, PyObject *data)
{
    if (!PyBytes_CheckExact(data)) {
        PyErr_SetString(PyExc_TypeError, "bytes are taken");
        return NULL;
    }
    Py_ssize_t length = PyBytes_GET_SIZE(data);
    if (length <= (Py_ssize_t)sizeof self->in) {
        memcpy(self->in, PyBytes_AS_STRING(data), length);
        int answered = answer(self, length);
        if (answered < 0)
            return NULL;
        if (answered > 0)
            Py_RETURN_NONE;
    }
    return pass_on(self, PyBytes_AS_STRING(data), length);
}

/* met(data): what a frame is taken for, as the call, its parameters and its picture's id and description; None for what
   is left. For tests. */
static PyObject *met_of(Core *self, PyObject *data)
{
    Met met = {.id_bytes = 0};
    if (!PyBytes_CheckExact(data)) {
        PyErr_SetString(PyExc_TypeError, "bytes are met");
        return NULL;
    }
    Py_ssize_t length = PyBytes_GET_SIZE(data);
    if (length > (Py_ssize_t)sizeof self->in)
        Py_RETURN_NONE;
    memcpy(self->in, PyBytes_AS_STRING(data), length);
    PyObject *found = Py_None;
    if (meet(self, &met, length))
        found = PyTuple_Pack(4, met.call, met.params, met.image_id, met.image_meta);
    else {
        PyErr_Clear();
        Py_INCREF(found);
    }
    drop(&met);
    return found;
}

/* --- the type ----------------------------------------------------------------------------------------------------- */

static int core_traverse(Core *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    for (int part = 0; part < N_PARTS; part++)
        Py_VISIT(self->part[part]);
    for (Template *template = self->templates; template < self->templates + MAX_TEMPLATES; template++) {
        Py_VISIT(template->of);
        Py_VISIT(template->call);
        Py_VISIT(template->session);
        Py_VISIT(template->checked);
    }
    return 0;
}

static int core_clear(Core *self)
{
    Py_CLEAR(self->calls);
    for (int which = 0; which < 3; which++)
        Py_CLEAR(self->numbers[which]);
    for (int part = 0; part < N_PARTS; part++)
        Py_CLEAR(self->part[part]);
    for (Template *template = self->templates; template < self->templates + MAX_TEMPLATES; template++)
        forget(template);
    return 0;
}

static void core_dealloc(Core *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    core_clear(self);
    if (self->page.obj != NULL)
        PyBuffer_Release(&self->page);
    if (self->ring.obj != NULL)
        PyBuffer_Release(&self->ring);
    type->tp_free(self);
    Py_DECREF(type);
}

/* SteadyCalls(parts, page, max_frame_bytes) */
static PyObject *core_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *parts, *page;
    Py_ssize_t max_frame_bytes;
    if (!pv_no_keywords(type, kwargs) || !PyArg_ParseTuple(args, "O!On", &PyDict_Type, &parts, &page, &max_frame_bytes))
        return NULL;
    Core *self = (Core *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    if (pv_take(parts, PART_NAMES, N_PARTS, self->part, FIELD_NAMES, N_FIELDS, self->field) < 0)
        goto fail;
    if (PyObject_GetBuffer(page, &self->page, PyBUF_WRITABLE) < 0 ||
        (PART(ring) != Py_None && PyObject_GetBuffer(PART(ring), &self->ring, PyBUF_WRITABLE) < 0))
        goto fail;
    struct stat out;
    self->is_fifo = fstat(descriptor(self, FRAMES_OUT, OF(ends, frames_out)), &out) == 0 && S_ISFIFO(out.st_mode);
    if (strcmp(Py_TYPE(PART(waiting))->tp_name, "collections.deque") != 0 ||
        !PyList_CheckExact(PART(templates)) || !PyList_CheckExact(PART(events)) || !PySet_Check(PART(pending_ids)) ||
        (self->ring.obj != NULL && (self->ring.len < 2 * RING_FIRST || self->ring.len % 8 ||
                                    (uintptr_t)self->ring.buf % sizeof(uint64_t) != 0)) ||
        self->page.len < PAGE_ID_AT + 1 + PAGE_ID_BYTES || (uintptr_t)self->page.buf % sizeof(uint64_t) != 0) {
        PyErr_SetString(PyExc_TypeError, "templates and events are lists, the ids a set, what waits is a deque, the shared memory is whole");
        goto fail;
    }
    self->max_frame_bytes = max_frame_bytes;
    self->forks = pv_forks;
    return (PyObject *)self;
fail:
    Py_DECREF(self);
    return NULL;
}

static PyMethodDef core_methods[] = {
    {"pump", (PyCFunction)(void (*)(void))pump, METH_NOARGS, NULL},
    {"met", (PyCFunction)(void (*)(void))met_of, METH_O, NULL},
    {"take", (PyCFunction)(void (*)(void))take, METH_O, NULL},
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
    .name = "procvision_host.conversation.steady_core.SteadyCalls",
    .basicsize = sizeof(Core),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = core_slots,
};

/* latency(microseconds): the text that an answer has for it. For tests. */
static PyObject *latency(PyObject *Py_UNUSED(module), PyObject *microseconds)
{
    unsigned long long number = PyLong_AsUnsignedLongLong(microseconds);
    if (PyErr_Occurred())
        return NULL;
    char text[PV_MOST_DIGITS + 8];
    return pv_ascii(text, put_latency(text, number) - text);
}

static PyMethodDef module_methods[] = {
    {"latency", latency, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "steady_core", .m_size = -1, .m_methods = module_methods};

PyMODINIT_FUNC PyInit_steady_core(void)
{
    static const pv_text texts[] = {
        {&text_execute, "execute"}, {&text_pre, "pre"}, {&text_pre_execute, "pre_execute"},
        {&text_on_step_start, "on_step_start"}, {&text_on_step_finish, "on_step_finish"}, {&text_status, "status"},
        {&text_data, "data"}, {&text_result_status, "result_status"}, {&text_debug, "debug"},
        {&text_latency_ms, "latency_ms"}, {&text_context, "context"}, {&text_timestamp_ms, "timestamp_ms"}, {&text_ok, "OK"}, {&text_empty, ""},
        {&text_copy, "__copy__"}};
    if (!pv_intern(texts, sizeof texts / sizeof *texts))
        return NULL;
    zero = PyLong_FromLong(0);
    names_of_result = Py_BuildValue("(sssss)", "request_id", "phase", "step_index", "status", "data");
    names_of_session = Py_BuildValue("(sss)", "id", "context", "final");
    return pv_module(&definition, &core_spec, zero != NULL && names_of_result != NULL && names_of_session != NULL);
}
