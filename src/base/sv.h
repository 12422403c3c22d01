/*
 * String view: a pointer and a length into bytes that somebody else owns.
 *
 * A view is a value, passed and returned as such. It need not end in NUL, may hold any byte, and
 * lives no longer than the bytes it points to: every view made from another one borrows the same
 * bytes. Nothing here copies but sv_copy(), and nothing here knows a locale: letters, digits and
 * blanks are ASCII's.
 *
 *     struct sv key, line = sv_from_cstr("pool_size = 20");
 *     sv_split(&line, '=', &key);                            key "pool_size ", line " 20"
 *     err_set(err, HF_RC_INVALID, "22023", "unknown key \"" SV_FMT "\"", SV_ARG(sv_trim(key)));
 */
#ifndef HF_BASE_SV_H
#define HF_BASE_SV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sv {
    const char *data; /* borrowed; may be NULL only if size is 0 */
    size_t size;
};

/* From a string literal, whose length the compiler knows. SV_INIT is for static tables. */
#define SV(literal) ((struct sv)SV_INIT(literal))
#define SV_INIT(literal)                                                                           \
    {                                                                                              \
        "" literal "", sizeof(literal) - 1                                                         \
    }

/* For printf and err_set: SV_FMT inside the format, SV_ARG(view) among the arguments. At most
 * SV_PRINT_MAX bytes are printed: enough to recognise what a person wrote, too little to push the
 * rest out of a message. */
#define SV_PRINT_MAX 64
#define SV_FMT       "%.*s"
#define SV_ARG(view) sv_print_size(view), sv_print_data(view)

static inline int sv_print_size(struct sv view)
{
    return view.size < SV_PRINT_MAX ? (int)view.size : SV_PRINT_MAX;
}

static inline const char *sv_print_data(struct sv view)
{
    return view.data != NULL ? view.data : "";
}

static inline struct sv sv_from(const char *data, size_t size)
{
    return (struct sv){data, size};
}

/* NULL gives the empty view. */
struct sv sv_from_cstr(const char *text);

bool sv_eq(struct sv a, struct sv b);
bool sv_eq_nocase(struct sv a, struct sv b);
bool sv_starts_with(struct sv view, struct sv prefix);
bool sv_ends_with(struct sv view, struct sv suffix);

/* Index of the first `c`, or the view's size if it holds none. */
size_t sv_find(struct sv view, char c);

/* The first `count` bytes, or what follows them; at most all of it. */
static inline struct sv sv_take(struct sv view, size_t count)
{
    return sv_from(view.data, count < view.size ? count : view.size);
}

static inline struct sv sv_drop(struct sv view, size_t count)
{
    if (count > view.size)
        count = view.size;
    if (count == 0)
        return view; /* NULL + 0 is undefined in C11 */
    return sv_from(view.data + count, view.size - count);
}

/* Without blanks (space, tab, newline, carriage return) at either end. */
struct sv sv_trim(struct sv view);

/* Splits off what stands before the next separator and leaves in `rest` what follows it. Returns
 * false when nothing is left. Empty fields count: "a,,b" gives "a", "", "b"; "a," gives "a", "";
 * "" gives one "". An exhausted `rest` has NULL data.
 *
 *     while (sv_split(&rest, ',', &field)) ...
 */
bool sv_split(struct sv *rest, char separator, struct sv *field);

/* What a hexadecimal digit stands for; -1: it is none. */
int sv_hex_digit(char c);

/* Reads "...", where a doubled quote stands for one, from the front of `rest`, and leaves there
 * what follows. What it says goes to `out`, which has room for rest->size bytes and may be the
 * view's own bytes, as it only gets shorter. False: there is no quote, or it does not end. */
bool sv_take_quoted(struct sv *rest, char *out, struct sv *text);

enum sv_number {
    SV_NUMBER_OK,
    SV_NUMBER_NONE,  /* not an integer: empty, other characters, trailing rubbish */
    SV_NUMBER_RANGE, /* an integer, but not within min .. max */
};

/* The whole view as a decimal integer, one sign allowed; `*out` is set only with SV_NUMBER_OK. */
enum sv_number sv_to_int(struct sv view, int64_t min, int64_t max, int64_t *out);

/* Copies the view and a NUL to `out`; false, and out empty, if it does not fit or holds a NUL. */
bool sv_copy(struct sv view, char *out, size_t out_size);

/* How many single-character mistakes lie between two words, for "did you mean": insert, delete,
 * change, or swap two neighbours; case is ignored. Counts up to `max` and returns max + 1 for
 * anything beyond, as it does for words longer than SV_DISTANCE_SIZE_MAX. */
#define SV_DISTANCE_SIZE_MAX 64
unsigned sv_distance(struct sv a, struct sv b, unsigned max);

#endif
