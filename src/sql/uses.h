/*
 * What a statement uses, by name: functions, relations, operators, types. Classify fills it, the
 * catalogue judges it, explain prints it.
 *
 * Each name is there once. A relation that is the name of a WITH query of the same statement is
 * marked, since it may be that or a table. Names that do not fit any more are counted, and a
 * statement with such is not judged weaker than a write (VERDICT_BY_NUMBER).
 *
 * Schema and name are as the parser gives them: unquoted ones in lower case. In fixed memory, about
 * 14 KB; one for each lane.
 */
#ifndef HF_SQL_USES_H
#define HF_SQL_USES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/sv.h"

enum uses_kind {
    USES_FUNCTION,
    USES_RELATION,
    USES_OPERATOR,
    USES_TYPE,
    USES_WITH, /* the name of a WITH query */
    USES_KINDS
};

#define USES_NAMES_MAX 256
#define USES_TEXT_SIZE 8192
#define USES_NAME_SIZE 256 /* of one name; a longer one does not fit */

struct uses_name {
    uint16_t schema_at; /* into text */
    uint16_t name_at;
    uint8_t schema_size; /* 0: without a schema */
    uint8_t name_size;
    uint8_t kind; /* enum uses_kind */
};

struct uses {
    uint32_t count;
    uint32_t text_size;
    uint32_t left_out; /* names that did not fit */
    struct uses_name names[USES_NAMES_MAX];
    char text[USES_TEXT_SIZE];
};

void uses_init(struct uses *uses);

/* Once more the same is no change. */
void uses_add(struct uses *uses, enum uses_kind kind, struct sv schema, struct sv name);

static inline struct sv uses_schema(const struct uses *uses, uint32_t index)
{
    const struct uses_name *name = &uses->names[index];
    return sv_from(uses->text + name->schema_at, name->schema_size);
}

static inline struct sv uses_name(const struct uses *uses, uint32_t index)
{
    const struct uses_name *name = &uses->names[index];
    return sv_from(uses->text + name->name_at, name->name_size);
}

/* Whether an unqualified relation could be a WITH query. */
bool uses_is_with(const struct uses *uses, uint32_t index);

const char *uses_kind_name(enum uses_kind kind);

#endif
