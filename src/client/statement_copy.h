/*
 * A statement whose caller does not wait: its text and parameters, copied into one block.
 */
#ifndef HF_CLIENT_STATEMENT_COPY_H
#define HF_CLIENT_STATEMENT_COPY_H

#include "holdfast.h"
#include "os/mem.h"

struct statement_copy {
    struct hf_params params; /* of count 0 where there were none */
    const char *sql;
};

/* To be given back by mem_free(). NULL: no memory. */
struct statement_copy *statement_copy_new(struct mem *mem, const char *sql,
                                          const struct hf_params *params);

#endif
