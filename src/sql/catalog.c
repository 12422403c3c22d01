#include "sql/catalog.h"

#include <string.h>

#include "base/bug.h"
#include "sql/catalog_builtin.h"

static uint64_t hash_of(const struct catalog *catalog, enum uses_kind kind, struct sv name)
{
    return hash_bytes(&catalog->key, name) + (uint64_t)kind;
}

static size_t aligned(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

size_t catalog_size(uint32_t names, uint32_t text_size)
{
    return aligned(names * sizeof(struct catalog_entry)) + map_size(names) + text_size;
}

void catalog_init(struct catalog *catalog, void *memory, uint32_t names, uint32_t text_size,
                  uint32_t generation, struct hash_key key)
{
    char *at = memory;
    hf_assert(generation != 0 && names > 0 && text_size > 0);
    *catalog = (struct catalog){.generation = generation,
                                .capacity = names,
                                .key = key,
                                .entries = memory,
                                .texts_size = text_size};
    at += aligned(names * sizeof(struct catalog_entry));
    map_init(&catalog->map, at, names);
    at += map_size(names);
    catalog->texts = at;
    catalog->texts[0] = '\0'; /* offset 0 is the empty text */
    catalog->texts_used = 1;
}

static const char *text_at(const struct catalog *catalog, uint32_t at)
{
    return catalog->texts + at;
}

/* Rows come ordered by schema, and notes are mostly empty, so what is the same as in the row before
 * is not stored again. The room was looked for. */
static uint32_t put_text(struct catalog *catalog, struct sv text, uint32_t before)
{
    if (text.size == 0)
        return 0;
    if (sv_eq(text, sv_from_cstr(text_at(catalog, before))))
        return before;
    const uint32_t at = catalog->texts_used;
    memcpy(catalog->texts + at, text.data, text.size);
    catalog->texts[at + text.size] = '\0';
    catalog->texts_used += (uint32_t)text.size + 1;
    return at;
}

static bool volatility_of(struct sv letter, enum catalog_volatility *volatility)
{
    if (sv_eq(letter, SV("i")))
        *volatility = CATALOG_IMMUTABLE;
    else if (sv_eq(letter, SV("s")))
        *volatility = CATALOG_STABLE;
    else if (sv_eq(letter, SV("v")))
        *volatility = CATALOG_VOLATILE;
    else
        return false;
    return true;
}

static enum hf_rc refuse_full(const struct catalog *catalog, struct hf_err *err)
{
    err_set(err, HF_RC_LIMIT, "54000", "the catalogue has more names than there is room for");
    return err_detail(err, "Room for %u names and %u bytes; taken are %u and %u.",
                      (unsigned)catalog->capacity, (unsigned)catalog->texts_size,
                      (unsigned)catalog->count, (unsigned)catalog->texts_used);
}

enum hf_rc catalog_feed(struct catalog *catalog, const struct catalog_row *row, struct hf_err *err)
{
    enum catalog_volatility is;
    hf_assert(!catalog->is_sealed);
    if (!volatility_of(row->volatility, &is))
        return err_set(err, HF_RC_INVALID, "22023",
                       "\"" SV_FMT "\" of %s \"" SV_FMT "\" is no volatility",
                       SV_ARG(row->volatility), uses_kind_name(row->kind), SV_ARG(row->name));
    const size_t size = row->schema.size + row->name.size + row->note.size + 3;
    if (catalog->count == catalog->capacity || size > catalog->texts_size - catalog->texts_used)
        return refuse_full(catalog, err);
    struct catalog_entry before = {0};
    if (catalog->count > 0)
        before = catalog->entries[catalog->count - 1];
    catalog->entries[catalog->count] =
        (struct catalog_entry){.schema_at = put_text(catalog, row->schema, before.schema_at),
                               .name_at = put_text(catalog, row->name, before.name_at),
                               .note_at = put_text(catalog, row->note, before.note_at),
                               .kind = (uint8_t)row->kind,
                               .volatility = (uint8_t)is};
    const uint64_t hash = hash_of(catalog, row->kind, row->name);
    const bool is_in = map_insert(&catalog->map, hash, catalog->count);
    hf_assert(is_in);
    catalog->count++;
    return HF_OK;
}

void catalog_seal(struct catalog *catalog)
{
    catalog->is_sealed = true;
}

/* "name" stands for that name in every schema. A call without a schema may mean any "schema.name".
 */
static bool is_listed(const char *const *list, struct sv schema, struct sv name)
{
    for (; list != NULL && *list != NULL; list++) {
        struct sv rest = sv_from_cstr(*list), first;
        sv_split(&rest, '.', &first);
        if (rest.data == NULL ? sv_eq(first, name)
                              : sv_eq(rest, name) && (schema.size == 0 || sv_eq(first, schema)))
            return true;
    }
    return false;
}

/* The same where the schema is known: "schema.name" is then that one only. */
static bool is_allowed(const struct catalog_lists *lists, struct sv schema, struct sv name)
{
    if (sv_eq(schema, SV("pg_catalog")) && is_listed(catalog_harmless(), schema, name))
        return true;
    return lists != NULL && schema.size > 0 && is_listed(lists->allow, schema, name);
}

static enum catalog_volatility stronger(enum catalog_volatility a, enum catalog_volatility b)
{
    return a > b ? a : b;
}

static enum catalog_volatility find_loaded(const struct catalog *catalog,
                                           const struct catalog_lists *lists, enum uses_kind kind,
                                           struct sv schema, struct sv name, const char **note)
{
    enum catalog_volatility found = CATALOG_IMMUTABLE;
    bool is_there = false;
    for (struct map_find f = map_find(&catalog->map, hash_of(catalog, kind, name));
         map_find_next(&catalog->map, &f);) {
        const struct catalog_entry *entry = &catalog->entries[f.index];
        const struct sv its = sv_from_cstr(text_at(catalog, entry->schema_at));
        if (entry->kind != (uint8_t)kind ||
            !sv_eq(name, sv_from_cstr(text_at(catalog, entry->name_at))) ||
            (schema.size > 0 && !sv_eq(schema, its)))
            continue;
        enum catalog_volatility volatility = entry->volatility;
        if (volatility == CATALOG_VOLATILE && is_allowed(lists, its, name))
            volatility = CATALOG_HARMLESS;
        if (!is_there || volatility > found)
            *note = text_at(catalog, entry->note_at);
        found = stronger(found, volatility);
        is_there = true;
    }
    return is_there || kind != USES_FUNCTION ? found : CATALOG_UNKNOWN;
}

static enum catalog_volatility find_builtin(const struct catalog_lists *lists, enum uses_kind kind,
                                            struct sv schema, struct sv name)
{
    enum catalog_volatility volatility;
    if (kind != USES_FUNCTION && kind != USES_OPERATOR)
        return CATALOG_IMMUTABLE;
    if (schema.size > 0 && !sv_eq(schema, SV("pg_catalog")))
        return CATALOG_UNKNOWN;
    const char letter =
        kind == USES_FUNCTION ? catalog_builtin_function(name) : catalog_builtin_operator(name);
    if (!volatility_of(sv_from(&letter, 1), &volatility))
        return CATALOG_UNKNOWN;
    if (volatility == CATALOG_VOLATILE && is_allowed(lists, SV("pg_catalog"), name))
        return CATALOG_HARMLESS;
    return volatility;
}

enum catalog_volatility catalog_find(const struct catalog *catalog,
                                     const struct catalog_lists *lists, enum uses_kind kind,
                                     struct sv schema, struct sv name, const char **note)
{
    const char *unread = "";
    if (note == NULL)
        note = &unread;
    *note = "";
    if (lists != NULL && kind == USES_FUNCTION && is_listed(lists->deny, schema, name))
        return CATALOG_DENIED;
    const enum catalog_volatility found =
        catalog != NULL ? find_loaded(catalog, lists, kind, schema, name, note)
                        : find_builtin(lists, kind, schema, name);
    /* A name that nobody knows can be allowed: as it was written. */
    if (found == CATALOG_UNKNOWN && lists != NULL && is_listed(lists->allow, schema, name))
        return CATALOG_HARMLESS;
    return found;
}

/* What a name of this kind makes of a verdict. */
static void judge_name(struct verdict *verdict, enum uses_kind kind,
                       enum catalog_volatility volatility, struct sv name)
{
    static const enum verdict_reason reasons[USES_KINDS] = {
        [USES_FUNCTION] = VERDICT_BY_VOLATILE,
        [USES_RELATION] = VERDICT_BY_VIEW,
        [USES_OPERATOR] = VERDICT_BY_OPERATOR,
        [USES_TYPE] = VERDICT_BY_TYPE,
    };
    enum verdict_reason reason = reasons[kind];
    if (volatility < CATALOG_VOLATILE)
        return;
    if (volatility == CATALOG_DENIED)
        reason = VERDICT_BY_DENY;
    else if (volatility == CATALOG_UNKNOWN && kind == USES_FUNCTION)
        reason = VERDICT_BY_UNKNOWN;
    if (volatility == CATALOG_UNKNOWN)
        verdict->traits |= VERDICT_IS_UNSEEN;
    verdict_strengthen(verdict, VERDICT_WRITE, reason, name);
}

void catalog_judge(const struct catalog *catalog, const struct catalog_lists *lists,
                   const struct uses *uses, struct verdict *verdict)
{
    verdict->catalog = catalog != NULL ? catalog->generation : 0;
    for (uint32_t i = 0; i < uses->count; i++) {
        const enum uses_kind kind = uses->names[i].kind;
        if (kind == USES_WITH)
            continue;
        const struct sv name = uses_name(uses, i);
        judge_name(verdict, kind,
                   catalog_find(catalog, lists, kind, uses_schema(uses, i), name, NULL), name);
    }
    if (uses->left_out > 0)
        verdict_strengthen(verdict, VERDICT_WRITE, VERDICT_BY_NUMBER, SV("names"));
}

const char *catalog_volatility_name(enum catalog_volatility volatility)
{
    static const char *const names[] = {
        [CATALOG_IMMUTABLE] = "immutable",        [CATALOG_STABLE] = "stable",
        [CATALOG_HARMLESS] = "volatile, allowed", [CATALOG_VOLATILE] = "volatile",
        [CATALOG_UNKNOWN] = "not known",          [CATALOG_DENIED] = "denied",
    };
    return names[volatility];
}
