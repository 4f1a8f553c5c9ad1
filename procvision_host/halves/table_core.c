/* The compiled form of what `table_sessions` does at every call: a state that is as it was, and a state that is kept.

   The strategy is that of `table_sessions.py`, which stays the reference. `load` and `keep` do the whole of it, or leave
   it with nothing changed: then Python does it, and says what is wrong. So nothing is refused here, and nobody asked.
   Warning: the table's bytes are a stranger's: they are compared, and never taken for lengths or places. Python's
   objects are this process's own, and are looked at before they are used all the same. */

#include "../../procvision_sdk/wire/steady.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* As `session_table` has them. */
#define WAYS 4
#define SETS 16
#define SLOTS (WAYS * SETS)
#define HALF_BYTES (16 * 1024)
#define FIRST_AT 8192
#define HEADER_BYTES 40
#define CHECKED_BYTES 36
#define STATE 1
#define STAMPS (1LL << 56)
#define MAX_VERSION (1LL << 62)
#define LOCKS_AT (1LL << 40)
/* As `ring` has them. */
#define TABLE_REFUSED 17
#define TABLE_WRITES 3

#define PARTS(X) X(sessions) X(known) X(python_expect) X(python_load) X(python_save) X(keep) X(encode) X(Known) X(Session)

#define FIELDS(X) \
    X(sessions, _base) X(sessions, _stamp) X(Known, name) X(Known, slot) X(Known, version) X(Known, stamp) \
    X(Known, saved_at_ms) X(Known, state) X(Known, own) X(Known, other) X(Session, _saved) X(Session, _loaded) \
    X(Session, _lent)

PV_NAMES

typedef struct {
    PyObject_HEAD
    PyObject *part[N_PARTS];
    pv_place field[N_FIELDS];
    Py_buffer ring;
    PyObject *zero;
    int descriptor, forks;
    long long ttl_ms, max_bytes;
    unsigned long mark;
    char record[HALF_BYTES];
} Core;

/* CRC-32 as zlib has it, by half bytes: its table is one line of the cache. */
static uint32_t crc_of(uint32_t crc, const char *at, Py_ssize_t length)
{
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    crc = ~crc;
    for (; length > 0; length--) {
        crc ^= (unsigned char)*at++;
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

static long long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* What is known of a session, as numbers. */
typedef struct {
    PyObject *of;
    long long slot, version, stamp, saved_at_ms;
    const char *name;
    Py_ssize_t name_bytes;
} Known;

static int is_bytes(PyObject *object, Py_ssize_t length)
{
    return object != NULL && PyBytes_CheckExact(object) && (length < 0 || PyBytes_GET_SIZE(object) == length);
}

static int number_of(PyObject *object, long long least, long long below, long long *number)
{
    if (object == NULL || !PyLong_CheckExact(object))
        return 0;
    int beyond;
    *number = PyLong_AsLongLongAndOverflow(object, &beyond);
    return !beyond && *number >= least && *number < below;
}

/* Finds what is known of a session, and may be used. Gives 0, without an exception, for what is left. */
static int find(Core *self, PyObject *id, Known *known)
{
    volatile char *refused = (char *)self->ring.buf + TABLE_REFUSED;
    if (self->forks != pv_forks || *refused || !PyUnicode_CheckExact(id))
        return 0;
    PyObject *found = known->of = PyDict_GetItemWithError(PART(known), id);
    if (found == NULL || !Py_IS_TYPE(found, (PyTypeObject *)PART(Known))) {
        PyErr_Clear();
        return 0;
    }
    PyObject *name = IN(found, Known, name), *state = IN(found, Known, state);
    if (!is_bytes(name, -1) || !is_bytes(IN(found, Known, own), HEADER_BYTES) ||
        !is_bytes(IN(found, Known, other), HEADER_BYTES) || (state != Py_None && !is_bytes(state, -1)) ||
        !number_of(IN(found, Known, slot), 0, SLOTS, &known->slot) ||
        !number_of(IN(found, Known, version), 1, MAX_VERSION - 1, &known->version) ||
        !number_of(IN(found, Known, stamp), 0, STAMPS, &known->stamp) ||
        !number_of(IN(found, Known, saved_at_ms), 0, 1LL << 62, &known->saved_at_ms))
        return 0;
    known->name = PyBytes_AS_STRING(name);
    known->name_bytes = PyBytes_GET_SIZE(name);
    return 1;
}

static off_t half_at(long long slot, long long version)
{
    return FIRST_AT + (off_t)(2 * slot + (version & 1)) * HALF_BYTES;
}

/* Whether nobody has saved since: what the next save would go into has the header that it had. */
static int is_as_it_was(Core *self, Known *known)
{
    char header[HEADER_BYTES];
    return pread(self->descriptor, header, sizeof header, half_at(known->slot, known->version + 1)) == HEADER_BYTES &&
           memcmp(header, PyBytes_AS_STRING(IN(known->of, Known, other)), HEADER_BYTES) == 0;
}

/* Notes the session that was loaded or saved last, and its stamp. Gives -1 and an exception if that fails. */
static int set_base(Core *self, PyObject *id, PyObject *stamp)
{
    PyObject *base = PyTuple_Pack(2, id, stamp);
    if (base == NULL)
        return -1;
    PUT(PART(sessions), sessions, _base, base);
    return 0;
}

/* expect(id): prepares for a `load` that follows. */
static PyObject *expect(Core *self, PyObject *id)
{
    if (self->forks == pv_forks && PyUnicode_CheckExact(id) && PyDict_GetItemWithError(PART(known), id) != NULL)
        Py_RETURN_NONE;
    PyErr_Clear();
    return PyObject_CallOneArg(PART(python_expect), id);
}

/* load(id): the state last saved; None where there is none. */
static PyObject *load(Core *self, PyObject *id)
{
    Known known;
    if (!find(self, id, &known) || !is_as_it_was(self, &known))
        return PyObject_CallOneArg(PART(python_load), id);
    PyObject *state = IN(known.of, Known, state), *stamp = IN(known.of, Known, stamp);
    if (state == Py_None || known.saved_at_ms < now_ms() - self->ttl_ms) {
        state = Py_None;
        stamp = self->zero;
    }
    if (set_base(self, id, stamp) < 0)
        return NULL;
    Py_INCREF(state);
    return state;
}

static int lock(Core *self, short kind, int number)
{
    struct flock lock = {.l_type = kind, .l_whence = SEEK_SET, .l_start = LOCKS_AT + number, .l_len = 1};
    return fcntl(self->descriptor, F_OFD_SETLK, &lock);
}

/* Makes a state's record; gives its length. */
static Py_ssize_t pack(Core *self, Known *known, long long stamp, long long saved_at_ms, PyObject *state)
{
    char *at = self->record;
    uint64_t numbers[] = {(uint64_t)known->version + 1, (uint64_t)stamp, (uint64_t)saved_at_ms};
    uint32_t lengths[] = {(uint32_t)self->mark, (uint32_t)PyBytes_GET_SIZE(state)}, check;
    uint16_t name_bytes = (uint16_t)known->name_bytes;
    Py_ssize_t length = HEADER_BYTES + known->name_bytes + PyBytes_GET_SIZE(state);
    memcpy(at, numbers, sizeof numbers);
    memcpy(at + 24, lengths, sizeof lengths);
    memcpy(at + 32, &name_bytes, sizeof name_bytes);
    at[34] = STATE;
    at[35] = 0;
    memcpy(at + HEADER_BYTES, known->name, known->name_bytes);
    memcpy(at + HEADER_BYTES + known->name_bytes, PyBytes_AS_STRING(state), PyBytes_GET_SIZE(state));
    check = crc_of(crc_of(0, at, CHECKED_BYTES), at + HEADER_BYTES, length - HEADER_BYTES);
    memcpy(at + CHECKED_BYTES, &check, sizeof check);
    return length;
}

/* Writes a state into the table, if its session is still what the call was given. Gives 1; 0, without an exception and
   with nothing changed that counts, for what is left. */
static int put(Core *self, PyObject *id, PyObject *state)
{
    Known known;
    long long base = 0, stamp, saved_at_ms = now_ms();
    PyObject *loaded = OF(sessions, _base);
    if (!find(self, id, &known) || PyBytes_GET_SIZE(state) > self->max_bytes ||
        HEADER_BYTES + known.name_bytes + PyBytes_GET_SIZE(state) > HALF_BYTES || known.name_bytes > UINT16_MAX ||
        !PyTuple_CheckExact(loaded) || PyTuple_GET_SIZE(loaded) != 2 ||
        !pv_same_text(PyTuple_GET_ITEM(loaded, 0), id) ||
        !number_of(PyTuple_GET_ITEM(loaded, 1), 0, STAMPS, &base) || !number_of(OF(sessions, _stamp), 0, STAMPS, &stamp))
        return 0;
    int has_none = IN(known.of, Known, state) == Py_None;
    if (base == 0 ? !has_none && known.saved_at_ms >= saved_at_ms - self->ttl_ms : has_none || known.stamp != base)
        return 0;
    stamp = stamp + 1 >= STAMPS ? 1 : stamp + 1;
    if (saved_at_ms < known.saved_at_ms)
        saved_at_ms = known.saved_at_ms;
    Py_ssize_t length = pack(self, &known, stamp, saved_at_ms, state);
    int number = (int)(crc_of(0, known.name, known.name_bytes) % SETS), kept = 0;
    PyObject *version = PyLong_FromLongLong(known.version + 1), *mine = PyLong_FromLongLong(stamp);
    PyObject *time = PyLong_FromLongLong(saved_at_ms), *own = PyBytes_FromStringAndSize(self->record, HEADER_BYTES);
    PyObject *next = mine == NULL ? NULL : PyTuple_Pack(2, id, mine);
    struct stat status;
    if (version != NULL && mine != NULL && time != NULL && own != NULL && next != NULL &&
        lock(self, F_WRLCK, number) == 0) {
        kept = is_as_it_was(self, &known) && fstat(self->descriptor, &status) == 0 && status.st_nlink > 0 &&
               pwrite(self->descriptor, self->record, length, half_at(known.slot, known.version + 1)) == length;
        lock(self, F_UNLCK, number);
    }
    PyErr_Clear();
    if (kept) {
        SET(PART(sessions), sessions, _base, next);
        SET(PART(sessions), sessions, _stamp, mine);
        PyObject *before = IN(known.of, Known, own);
        SET(known.of, Known, other, before);
        SET(known.of, Known, own, own);
        SET(known.of, Known, version, version);
        SET(known.of, Known, stamp, mine);
        SET(known.of, Known, saved_at_ms, time);
        SET(known.of, Known, state, state);
        volatile uint64_t *writes = (uint64_t *)self->ring.buf + TABLE_WRITES;
        *writes = (*writes + 1) & 0xFFFFFFFF;
    }
    Py_XDECREF(version);
    Py_XDECREF(mine);
    Py_XDECREF(time);
    Py_XDECREF(own);
    Py_XDECREF(next);
    return kept;
}

/* save(id, state): keeps a state. */
static PyObject *save(Core *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (count == 2 && PyBytes_CheckExact(arguments[1]) && put(self, arguments[0], arguments[1]))
        Py_RETURN_NONE;
    return PyObject_Vectorcall(PART(python_save), arguments, count, NULL);
}

/* keep(id, session): keeps a session's state if it was changed, as `Worker.save`. */
static PyObject *keep(Core *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 2 || !Py_IS_TYPE(arguments[1], (PyTypeObject *)PART(Session)))
        return PyObject_Vectorcall(PART(keep), arguments, count, NULL);
    PyObject *session = arguments[1], *loaded = IN(session, Session, _loaded), *saved = IN(session, Session, _saved);
    if (loaded == NULL || !PyDict_CheckExact(loaded) || IN(session, Session, _lent) != Py_False || saved == NULL ||
        (saved != Py_None && !PyBytes_CheckExact(saved)))
        return PyObject_Vectorcall(PART(keep), arguments, count, NULL);
    PyObject *state = PyObject_CallOneArg(PART(encode), loaded);
    if (state == NULL || !PyBytes_CheckExact(state)) {
        PyErr_Clear(); /* Python tells what JSON can't carry. */
        Py_XDECREF(state);
        return PyObject_Vectorcall(PART(keep), arguments, count, NULL);
    }
    const char *before = saved == Py_None ? "{}" : PyBytes_AS_STRING(saved);
    Py_ssize_t length = saved == Py_None ? 2 : PyBytes_GET_SIZE(saved);
    PyObject *result = Py_None;
    Py_INCREF(result);
    if (PyBytes_GET_SIZE(state) != length || memcmp(PyBytes_AS_STRING(state), before, length) != 0) {
        SET(session, Session, _saved, state);
        PyObject *given[] = {arguments[0], state};
        Py_SETREF(result, save(self, given, 2));
    }
    Py_DECREF(state);
    return result;
}

/* --- the type ----------------------------------------------------------------------------------------------------- */

static int core_traverse(Core *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    for (int part = 0; part < N_PARTS; part++)
        Py_VISIT(self->part[part]);
    return 0;
}

static int core_clear(Core *self)
{
    for (int part = 0; part < N_PARTS; part++)
        Py_CLEAR(self->part[part]);
    Py_CLEAR(self->zero);
    return 0;
}

static void core_dealloc(Core *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    core_clear(self);
    if (self->ring.obj != NULL)
        PyBuffer_Release(&self->ring);
    type->tp_free(self);
    Py_DECREF(type);
}

/* TableCore(parts, ring, descriptor, ttl_ms, max_bytes, mark) */
static PyObject *core_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *parts, *ring;
    int descriptor;
    long long ttl_ms, max_bytes;
    unsigned long mark;
    if (!pv_no_keywords(type, kwargs) || !PyArg_ParseTuple(args, "O!OiLLk", &PyDict_Type, &parts, &ring, &descriptor, &ttl_ms, &max_bytes, &mark))
        return NULL;
    Core *self = (Core *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->descriptor = descriptor;
    self->ttl_ms = ttl_ms;
    self->max_bytes = max_bytes;
    self->mark = mark;
    self->forks = pv_forks;
    self->zero = PyLong_FromLong(0);
    if (self->zero == NULL || PyObject_GetBuffer(ring, &self->ring, PyBUF_WRITABLE) < 0 ||
        pv_take(parts, PART_NAMES, N_PARTS, self->part, FIELD_NAMES, N_FIELDS, self->field) < 0)
        goto fail;
    if (!PyDict_CheckExact(PART(known)) || self->ring.len < 64 || (uintptr_t)self->ring.buf % sizeof(uint64_t) != 0) {
        PyErr_SetString(PyExc_TypeError, "what is known is a dict, the ring's memory is whole");
        goto fail;
    }
    return (PyObject *)self;
fail:
    Py_DECREF(self);
    return NULL;
}

static PyMethodDef core_methods[] = {
    {"expect", (PyCFunction)(void (*)(void))expect, METH_O, NULL},
    {"load", (PyCFunction)(void (*)(void))load, METH_O, NULL},
    {"save", (PyCFunction)(void (*)(void))save, METH_FASTCALL, NULL},
    {"keep", (PyCFunction)(void (*)(void))keep, METH_FASTCALL, NULL},
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
    .name = "procvision_host.halves.table_core.TableCore",
    .basicsize = sizeof(Core),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = core_slots,
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "table_core", .m_size = -1};

PyMODINIT_FUNC PyInit_table_core(void)
{
    return pv_module(&definition, &core_spec, 1);
}
