/*
 * The value of a setting: the text in the file with its ${NAMES} put in, a list put together, a
 * path made whole, or the content of a secret's file.
 *
 * A value may be a secret: whoever has one wipes it, also after a failure.
 */
#ifndef HF_CONFIG_VALUE_H
#define HF_CONFIG_VALUE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/opt.h"
#include "base/sv.h"
#include "config/tree.h"

#define VALUE_SIZE 4096

struct value {
    size_t size;
    char text[VALUE_SIZE];
};

/* A list of YAML may stand for this row's text with commas. */
bool value_may_be_list(const struct opt_row *row);

/* From a scalar, or a list of scalars where value_may_be_list(). `folder` is where relative paths
 * begin, or NULL. A failure says where in `place`. */
enum hf_rc value_from_node(struct value *value, const struct opt_row *row,
                           const struct tree_node *node, const char *folder,
                           struct tree_place *place, struct hf_err *err) HF_MUST_USE;

/* The content of the file that the node names, without a line end at its end. */
enum hf_rc value_from_file(struct value *value, const struct tree_node *node, const char *folder,
                           struct hf_err *err) HF_MUST_USE;

static inline struct sv value_text(const struct value *value)
{
    return sv_from(value->text, value->size);
}

void value_wipe(struct value *value);

#endif
