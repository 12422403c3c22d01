#include "sql/uses.h"

#include <string.h>

void uses_init(struct uses *uses)
{
    uses->count = 0;
    uses->text_size = 0;
    uses->left_out = 0;
}

static bool has(const struct uses *uses, enum uses_kind kind, struct sv schema, struct sv name)
{
    for (uint32_t i = 0; i < uses->count; i++) {
        if (uses->names[i].kind == (uint8_t)kind && sv_eq(uses_name(uses, i), name) &&
            sv_eq(uses_schema(uses, i), schema))
            return true;
    }
    return false;
}

static uint16_t put(struct uses *uses, struct sv text)
{
    const uint32_t at = uses->text_size;
    if (text.size > 0)
        memcpy(uses->text + at, text.data, text.size);
    uses->text_size += (uint32_t)text.size;
    return (uint16_t)at;
}

void uses_add(struct uses *uses, enum uses_kind kind, struct sv schema, struct sv name)
{
    if (name.size >= USES_NAME_SIZE || schema.size >= USES_NAME_SIZE) {
        uses->left_out++;
        return;
    }
    if (has(uses, kind, schema, name))
        return;
    if (uses->count == USES_NAMES_MAX ||
        schema.size + name.size > USES_TEXT_SIZE - uses->text_size) {
        uses->left_out++;
        return;
    }
    struct uses_name *entry = &uses->names[uses->count++];
    entry->kind = (uint8_t)kind;
    entry->schema_size = (uint8_t)schema.size;
    entry->name_size = (uint8_t)name.size;
    entry->schema_at = put(uses, schema);
    entry->name_at = put(uses, name);
}

bool uses_is_with(const struct uses *uses, uint32_t index)
{
    return uses->names[index].kind == USES_RELATION && uses->names[index].schema_size == 0 &&
           has(uses, USES_WITH, SV(""), uses_name(uses, index));
}

const char *uses_kind_name(enum uses_kind kind)
{
    static const char *const names[USES_KINDS] = {
        [USES_FUNCTION] = "function", [USES_RELATION] = "relation", [USES_OPERATOR] = "operator",
        [USES_TYPE] = "type",         [USES_WITH] = "WITH query",
    };
    return names[kind];
}
