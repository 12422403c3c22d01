#include "client/client_statements.h"

#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "base/hash.h"

struct statement {
    struct statement_key key;
    uint64_t used; /* the table's count of uses when it was used last; 0: free */
    bool is_prepared;
    bool was_seen; /* before this use */
    char name[STATEMENTS_NAME_BYTES];
};

struct statements {
    uint64_t uses;
    uint32_t numbers; /* names given out: a name is never used twice on a connection */
    struct statement list[STATEMENTS_MAX];
};

struct statements *statements_new(struct mem *mem)
{
    return mem_alloc(mem, sizeof(struct statements));
}

void statements_free(struct statements *statements, struct mem *mem)
{
    mem_free(mem, statements);
}

static struct statement_key key_of_text(uint64_t seed, struct sv text)
{
    struct hash_key first = hash_key_from_seed(seed);
    struct hash_key second = {first.k1, ~first.k0};
    return (struct statement_key){hash_bytes(&first, text), hash_bytes(&second, text)};
}

/* The same text with other types is another statement. Each step is a bijection of what was there,
 * keyed like the text. */
static struct statement_key with_type(struct statement_key key, uint64_t seed, uint64_t place)
{
    struct hash_key first = hash_key_from_seed(seed);
    struct hash_key second = {first.k1, ~first.k0};
    return (struct statement_key){hash_u64(&first, key.a ^ place),
                                  hash_u64(&second, key.b + place)};
}

static struct statement_key with_types(struct statement_key key, uint64_t seed,
                                       const struct hf_params *params)
{
    size_t count = params != NULL ? params->count : 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t type = params->list[i].type;
        if (type != 0) /* else the server finds it out */
            key = with_type(key, seed, (uint64_t)(i + 1) << 32 | type);
    }
    return key;
}

struct statement_key statement_key_of(uint64_t seed, const char *sql,
                                      const struct hf_params *params)
{
    return with_types(key_of_text(seed, sv_from(sql, strlen(sql))), seed, params);
}

struct statement_key statement_key_again(struct statement_memo *memo, uint64_t seed,
                                         const char *sql, const struct hf_params *params)
{
    size_t size = strlen(sql);
    if (size == 0 || size != memo->size || memcmp(sql, memo->text, size) != 0) {
        struct statement_key key = key_of_text(seed, sv_from(sql, size));
        if (size > sizeof memo->text)
            return with_types(key, seed, params);
        memo->key = key;
        memo->size = size;
        memcpy(memo->text, sql, size);
    }
    return with_types(memo->key, seed, params);
}

static uint32_t oldest(const struct statements *statements)
{
    uint32_t found = 0;
    for (uint32_t i = 1; i < STATEMENTS_MAX; i++) {
        if (statements->list[i].used < statements->list[found].used)
            found = i;
    }
    return found;
}

static uint32_t find(const struct statements *statements, struct statement_key key)
{
    for (uint32_t i = 0; i < STATEMENTS_MAX; i++) {
        const struct statement *s = &statements->list[i];
        if (s->key.a == key.a && s->key.b == key.b && s->used != 0)
            return i;
    }
    return STATEMENTS_NONE;
}

static uint32_t insert(struct statements *statements, struct statement_key key)
{
    uint32_t slot = oldest(statements);
    struct statement *s = &statements->list[slot];
    /* The name of one that was prepared stays in its place, to be deallocated by the next one that
     * is prepared there. */
    s->key = key;
    s->was_seen = false;
    return slot;
}

uint32_t statements_use(struct statements *statements, struct statement_key key,
                        enum statements_verdict *verdict, char evicted[STATEMENTS_NAME_BYTES])
{
    evicted[0] = '\0';
    uint32_t slot = find(statements, key);
    if (slot == STATEMENTS_NONE)
        slot = insert(statements, key);
    struct statement *s = &statements->list[slot];
    s->used = ++statements->uses;
    if (!s->was_seen) {
        s->was_seen = true;
        *verdict = STATEMENTS_PLAIN;
        if (s->is_prepared)
            s->is_prepared = false; /* another's: s->name is still to be deallocated */
        return slot;
    }
    if (s->is_prepared) {
        *verdict = STATEMENTS_READY;
        return slot;
    }
    memcpy(evicted, s->name, sizeof s->name);
    snprintf(s->name, sizeof s->name, "hf_%u", ++statements->numbers);
    *verdict = STATEMENTS_PREPARE;
    return slot;
}

void statements_prepared(struct statements *statements, uint32_t slot)
{
    hf_assert(slot < STATEMENTS_MAX);
    statements->list[slot].is_prepared = true;
}

void statements_forget(struct statements *statements, uint32_t slot, bool is_gone)
{
    hf_assert(slot < STATEMENTS_MAX);
    struct statement *s = &statements->list[slot];
    if (is_gone || !s->is_prepared)
        s->name[0] = '\0';
    s->is_prepared = false;
}

void statements_clear(struct statements *statements)
{
    uint32_t numbers = statements->numbers;
    *statements = (struct statements){.numbers = numbers};
}

const char *statements_name(const struct statements *statements, uint32_t slot)
{
    hf_assert(slot < STATEMENTS_MAX);
    return statements->list[slot].name;
}
