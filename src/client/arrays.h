/*
 * Parameters in the four arrays that libpq takes them in. Few of them need no memory but the
 * caller's frame.
 *
 *     struct arrays arrays;
 *     if (arrays_make(&arrays, params, mem))
 *         PQsendQueryParams(pg, sql, arrays.count, arrays.types, arrays.values, ...);
 *     arrays_free(&arrays);
 *
 * The values point into `params`.
 */
#ifndef HF_CLIENT_ARRAYS_H
#define HF_CLIENT_ARRAYS_H

#include <stdbool.h>

#include "holdfast.h"
#include "os/mem.h"

#define ARRAYS_SMALL 16

struct arrays {
    int count;
    unsigned *types; /* libpq's Oid */
    const char **values;
    int *lengths, *formats;
    struct mem *mem; /* the arrays' owner; NULL: they are these: */
    unsigned small_types[ARRAYS_SMALL];
    const char *small_values[ARRAYS_SMALL];
    int small_lengths[ARRAYS_SMALL], small_formats[ARRAYS_SMALL];
};

/* False: no memory. `params` NULL: none. */
bool arrays_make(struct arrays *arrays, const struct hf_params *params, struct mem *mem);
void arrays_free(struct arrays *arrays);

#endif
