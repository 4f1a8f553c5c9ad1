/* What the compiled cores of both sides share: fields of slotted objects, and a reader of plain JSON.

   The strategy: whatever is not exactly what a steady call has is *left*: a function gives NULL or 0, and the general
   code in Python is given the very same bytes. So the reader knows no white space, no escapes and no deep nesting, and
   refuses what it isn't sure of; what it does take it takes as msgspec does.
   Warning: the bytes are a stranger's. Nothing is read behind `end`, and no length of the peer's is believed. */

#ifndef PROCVISION_STEADY_H
#define PROCVISION_STEADY_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <structmember.h>
#include <time.h>

#define PV_HEADER_BYTES 4
#define PV_READ_BYTES (16 * 1024)
#define PV_MAX_DEPTH 16 /* Of the protocol's 64: what nests deeper is left. */
#define PV_MAX_ID_CHARS 256

static const char PV_BEGINNING[] = "{\"type\":\"call\",\"request_id\":\"";
#define PV_BEGINNING_BYTES ((Py_ssize_t)sizeof PV_BEGINNING - 1)

static int pv_forks; /* How many forks lie between the process that loaded this and the one that runs. */

static void pv_forked(void) { pv_forks++; }

static inline double pv_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* --- fields ------------------------------------------------------------------------------------------------------ */

typedef int16_t pv_place; /* Where a slot lies in its object. Short, so that many lie in one cache line. */

/* Gives where a class's slot lies in its instances. Raises, and gives -1, for what is no slot of Python objects. */
static Py_ssize_t pv_offset(PyObject *type, const char *name)
{
    PyObject *found = PyObject_GetAttrString(type, name);
    if (found == NULL)
        return -1;
    Py_ssize_t offset = -1;
    if (Py_IS_TYPE(found, &PyMemberDescr_Type)) {
        PyMemberDef *member = ((PyMemberDescrObject *)found)->d_member;
        if (member->type == T_OBJECT_EX && member->offset <= INT16_MAX)
            offset = member->offset;
    }
    Py_DECREF(found);
    if (offset < 0)
        PyErr_Format(PyExc_TypeError, "%s.%s is no slot", ((PyTypeObject *)type)->tp_name, name);
    return offset;
}

/* Gives a borrowed reference; NULL where the slot is empty. */
#define PV_FIELD(object, offset) (*(PyObject **)((char *)(object) + (offset)))

/* Puts a new reference into a slot and drops what was there. */
static inline void pv_put(PyObject *object, Py_ssize_t offset, PyObject *value)
{
    PyObject *old = PV_FIELD(object, offset);
    PV_FIELD(object, offset) = value;
    Py_XDECREF(old);
}

static inline void pv_set(PyObject *object, Py_ssize_t offset, PyObject *value)
{
    Py_INCREF(value);
    pv_put(object, offset, value);
}

/* A core's fields, by the names of its parts and of their slots: of the part itself, or of an object of its class. */
#define PART(name) (self->part[P_##name])
#define OF(part_, name) PV_FIELD(PART(part_), self->field[F_##part_##_##name])
#define IN(object, part_, name) PV_FIELD(object, self->field[F_##part_##_##name])
#define SET(object, part_, name, value) pv_set(object, self->field[F_##part_##_##name], value)
#define PUT(object, part_, name, value) pv_put(object, self->field[F_##part_##_##name], value)

typedef struct {
    int part; /* Of which part's class it is a slot. */
    const char *name;
} pv_field_name;

/* Numbers and names of a core's parts and fields, of its lists PARTS(X) and FIELDS(X). */
#define PV_PART(part) P_##part,
#define PV_PART_NAME(part) #part,
#define PV_FIELD_NUMBER(part, field) F_##part##_##field,
#define PV_FIELD_NAME(part, field) {P_##part, #field},
#define PV_NAMES                                                            \
    enum { PARTS(PV_PART) N_PARTS };                                        \
    enum { FIELDS(PV_FIELD_NUMBER) N_FIELDS };                              \
    static const char *const PART_NAMES[] = {PARTS(PV_PART_NAME)};          \
    static const pv_field_name FIELD_NAMES[] = {FIELDS(PV_FIELD_NAME)};

/* Takes the parts over, each with a new reference, and finds where their slots lie. Raises, and gives -1, for a part or
   a slot that isn't there. */
static int pv_take(PyObject *given, const char *const *names, int n_parts, PyObject **part,
                   const pv_field_name *fields, int n_fields, pv_place *offset)
{
    for (int at = 0; at < n_parts; at++) {
        PyObject *found = PyDict_GetItemString(given, names[at]);
        if (found == NULL) {
            PyErr_Format(PyExc_KeyError, "%s", names[at]);
            return -1;
        }
        Py_INCREF(found);
        part[at] = found;
    }
    for (int at = 0; at < n_fields; at++) {
        PyObject *of = part[fields[at].part];
        Py_ssize_t found = pv_offset(PyType_Check(of) ? of : (PyObject *)Py_TYPE(of), fields[at].name);
        if (found < 0)
            return -1;
        offset[at] = (pv_place)found;
    }
    return 0;
}

/* Drops what a function of Python's returned; gives -1 if it raised. */
static inline int pv_done(PyObject *result)
{
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Gives whether a lock is held; -1 and an exception where it can't be asked. Lets no other thread in. */
static inline int pv_is_locked(PyObject *locked)
{
    PyObject *answer = PyObject_CallNoArgs(locked);
    if (answer == NULL)
        return -1;
    Py_DECREF(answer);
    return answer == Py_True;
}

/* Whether a text is this ASCII. */
static inline int pv_is(PyObject *text, const char *ascii, Py_ssize_t length)
{
    return text != NULL && PyUnicode_CheckExact(text) && PyUnicode_IS_COMPACT_ASCII(text) &&
           PyUnicode_GET_LENGTH(text) == length && memcmp(PyUnicode_1BYTE_DATA(text), ascii, length) == 0;
}

/* Whether two values are the same text. */
static inline int pv_same_text(PyObject *one, PyObject *other)
{
    if (one == other)
        return 1;
    if (!PyUnicode_CheckExact(one) || !PyUnicode_CheckExact(other))
        return 0;
    return PyUnicode_GET_LENGTH(one) == PyUnicode_GET_LENGTH(other) && PyUnicode_Compare(one, other) == 0;
}

static PyObject *pv_ascii(const char *text, Py_ssize_t length)
{
    PyObject *made = PyUnicode_New(length, 127);
    if (made != NULL)
        memcpy(PyUnicode_1BYTE_DATA(made), text, length);
    return made;
}

/* Gives how many bytes from `at` on are what a JSON string says as it stands: printable ASCII, no quote, no escape. */
static inline Py_ssize_t pv_plain(const char *at, const char *end)
{
    const char *begin = at;
    while (at < end && *at >= 0x20 && *at < 0x7f && *at != '"' && *at != '\\')
        at++;
    return at - begin;
}

static inline uint32_t pv_length(const char *header)
{
    const unsigned char *byte = (const unsigned char *)header;
    return (uint32_t)byte[0] << 24 | (uint32_t)byte[1] << 16 | (uint32_t)byte[2] << 8 | byte[3];
}

static inline void pv_put_length(char *header, uint32_t length)
{
    header[0] = (char)(length >> 24);
    header[1] = (char)(length >> 16);
    header[2] = (char)(length >> 8);
    header[3] = (char)length;
}

#define PV_MOST_DIGITS 20

/* Writes a number in front of `end`; gives where it begins. It takes PV_MOST_DIGITS at most. */
static inline char *pv_number_before(char *end, uint64_t number)
{
    do {
        *--end = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    return end;
}

/* --- the reader -------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *at, *end;
    int depth;
} pv_reader;

static PyObject *pv_value(pv_reader *reader);

/* Reads a string, at its opening quote. */
static PyObject *pv_string(pv_reader *reader)
{
    const char *begin = ++reader->at, *at = begin, *end = reader->end;
    unsigned char all = 0;
    while (at < end && (unsigned char)*at >= 0x20 && *at != '"' && *at != '\\')
        all |= (unsigned char)*at++;
    if (at >= end || *at != '"')
        return NULL;
    reader->at = at + 1;
    return all < 0x80 ? pv_ascii(begin, at - begin) : PyUnicode_DecodeUTF8(begin, at - begin, NULL);
}

static const double PV_POWERS[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
#define PV_EXACT_DIGITS 15  /* So many digits are a double exactly, as is the power of ten beside them. */
#define PV_LONGEST_FLOAT 40

static PyObject *pv_number(pv_reader *reader)
{
    const char *begin = reader->at, *at = begin, *end = reader->end;
    int negative = at < end && *at == '-';
    at += negative;
    const char *digits = at;
    int64_t value = 0;
    while (at < end && *at >= '0' && *at <= '9' && at - digits < 18)
        value = value * 10 + (*at++ - '0');
    if (at == digits || at >= end || (*digits == '0' && at - digits > 1) || (*at >= '0' && *at <= '9'))
        return NULL; /* No digit, the end, a leading zero, or more than 18 digits. */
    if (*at != '.' && *at != 'e' && *at != 'E') {
        reader->at = at;
        return PyLong_FromLongLong(negative ? -value : value);
    }
    Py_ssize_t before = at - digits, behind = 0;
    if (*at == '.') {
        const char *fraction = ++at;
        while (at < end && *at >= '0' && *at <= '9') {
            if (before + (at - fraction) < PV_EXACT_DIGITS)
                value = value * 10 + (*at - '0');
            at++;
        }
        behind = at - fraction;
        if (behind == 0)
            return NULL;
    }
    int plain = at >= end || (*at != 'e' && *at != 'E');
    if (!plain) {
        at++;
        if (at < end && (*at == '+' || *at == '-'))
            at++;
        const char *exponent = at;
        while (at < end && *at >= '0' && *at <= '9')
            at++;
        if (at == exponent)
            return NULL;
    }
    reader->at = at;
    if (plain && before + behind <= PV_EXACT_DIGITS) {
        double exact = (double)value / PV_POWERS[behind];
        return PyFloat_FromDouble(negative ? -exact : exact);
    }
    char copy[PV_LONGEST_FLOAT + 1];
    if (at - begin > PV_LONGEST_FLOAT)
        return NULL;
    memcpy(copy, begin, at - begin);
    copy[at - begin] = 0;
    double found = PyOS_string_to_double(copy, NULL, NULL);
    if ((found == -1.0 && PyErr_Occurred()) || !isfinite(found))
        return NULL;
    return PyFloat_FromDouble(found);
}

static PyObject *pv_object(pv_reader *reader)
{
    PyObject *made = PyDict_New();
    if (made == NULL)
        return NULL;
    reader->at++;
    if (reader->at < reader->end && *reader->at == '}') {
        reader->at++;
        return made;
    }
    while (reader->at < reader->end && *reader->at == '"') {
        PyObject *key = pv_string(reader), *value = NULL;
        if (key != NULL && reader->at < reader->end && *reader->at == ':') {
            reader->at++;
            value = pv_value(reader);
        }
        int failed = value == NULL || PyDict_SetItem(made, key, value) < 0;
        Py_XDECREF(key);
        Py_XDECREF(value);
        if (failed || reader->at >= reader->end)
            break;
        if (*reader->at == '}') {
            reader->at++;
            return made;
        }
        if (*reader->at != ',')
            break;
        reader->at++;
    }
    Py_DECREF(made);
    return NULL;
}

static PyObject *pv_array(pv_reader *reader)
{
    PyObject *made = PyList_New(0);
    if (made == NULL)
        return NULL;
    reader->at++;
    if (reader->at < reader->end && *reader->at == ']') {
        reader->at++;
        return made;
    }
    for (;;) {
        PyObject *value = pv_value(reader);
        int failed = value == NULL || PyList_Append(made, value) < 0;
        Py_XDECREF(value);
        if (failed || reader->at >= reader->end)
            break;
        if (*reader->at == ']') {
            reader->at++;
            return made;
        }
        if (*reader->at != ',')
            break;
        reader->at++;
    }
    Py_DECREF(made);
    return NULL;
}

static PyObject *pv_word(pv_reader *reader, const char *word, Py_ssize_t length, PyObject *value)
{
    if (reader->end - reader->at < length || memcmp(reader->at, word, length) != 0)
        return NULL;
    reader->at += length;
    Py_INCREF(value);
    return value;
}

/* Gives a new reference to the value that begins here, and moves behind it; NULL, with or without an exception, for
   what is left to the general code. */
static PyObject *pv_value(pv_reader *reader)
{
    if (reader->at >= reader->end)
        return NULL;
    PyObject *found;
    switch (*reader->at) {
    case '{':
    case '[':
        if (reader->depth >= PV_MAX_DEPTH)
            return NULL;
        reader->depth++;
        found = *reader->at == '{' ? pv_object(reader) : pv_array(reader);
        reader->depth--;
        return found;
    case '"':
        return pv_string(reader);
    case 't':
        return pv_word(reader, "true", 4, Py_True);
    case 'f':
        return pv_word(reader, "false", 5, Py_False);
    case 'n':
        return pv_word(reader, "null", 4, Py_None);
    default:
        return pv_number(reader);
    }
}

/* --- a core's module --------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject **text;
    const char *is;
} pv_text;

/* Makes the texts that a core compares with. Gives 0 and an exception where it can't. */
static inline int pv_intern(const pv_text *texts, size_t count)
{
    for (size_t at = 0; at < count; at++)
        if ((*texts[at].text = PyUnicode_InternFromString(texts[at].is)) == NULL)
            return 0;
    return 1;
}

/* Whether a core was made without keywords; raises where it was not. */
static int pv_no_keywords(PyTypeObject *type, PyObject *kwargs)
{
    if (kwargs == NULL || PyDict_GET_SIZE(kwargs) == 0)
        return 1;
    PyErr_Format(PyExc_TypeError, "%s takes no keyword arguments", type->tp_name);
    return 0;
}

/* Makes a core's module with its one type. `ready` says whether all that it needs was made: else an exception is set. */
static PyObject *pv_module(PyModuleDef *definition, PyType_Spec *spec, int ready)
{
    PyObject *module = ready ? PyModule_Create(definition) : NULL, *type = ready ? PyType_FromSpec(spec) : NULL;
    if (module != NULL && (type == NULL || PyModule_AddType(module, (PyTypeObject *)type) < 0 ||
                           PyModule_AddStringConstant(module, "SOURCE", PV_SOURCE) < 0 ||
                           pthread_atfork(NULL, NULL, pv_forked) != 0))
        Py_CLEAR(module);
    Py_XDECREF(type);
    return module;
}

#endif
