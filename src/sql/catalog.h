/*
 * The catalogue: what a server knows of functions, operators, relations and types, as far as it
 * says whether using them can write.
 *
 * Pure: a driver asks the server the queries of catalog_query() and feeds the rows; what comes out
 * is sealed and then only read, by any number of threads. A newer one is made beside it and put in
 * its place; verdicts carry the generation they were made with, and verdicts.h forgets older ones.
 *
 *     catalog_init(catalog, memory, size, generation)
 *     for each query of catalog_query(): for each row: catalog_feed(catalog, &row, err)
 *     catalog_seal(catalog)
 *     catalog_judge(catalog, uses, verdict)
 *
 * How names are judged. Which function "f" means depends on search_path, on the arguments' types
 * and on what was created a moment ago. So a name without a schema stands for all functions of that
 * name in all schemas, and the most volatile of them decides; with a schema, for all of that
 * schema. VOLATILE makes the statement a write; STABLE and IMMUTABLE functions do not write (the
 * server refuses it to them, but for what they call). A function that is not in the catalogue makes
 * it a write too, marked VERDICT_IS_UNSEEN: something new, and a reason to load the catalogue
 * again.
 *
 * What is loaded. Of functions all names, with aggregates as volatile as the functions they are
 * made of, and functions whose body is parsed SQL as what that calls. Of relations, operators and
 * types only those whose use can run something volatile, so that the catalogue of a database of a
 * hundred thousand tables is small: views, and tables with row security, whose rewrite rules or
 * policies call a volatile function, through views over views (the rules name functions by OID, so
 * there search_path is no question); operators by their functions; domains with checks, types and
 * casts by theirs. A bare server has about 3,000 names in 80 KB.
 *
 * What nobody sees: a function called as if it were a column (row.f), a volatile function behind an
 * implicit cast, what a function that was declared STABLE calls in a body that is a text. A write
 * among them ends on a replica with 25006, and is learned (verdicts.h).
 *
 * Without a catalogue (NULL) the names of PostgreSQL 15's own functions and operators are known
 * (catalog_builtin.h), everything else is unknown, and relations are taken for tables: good enough
 * to explain a statement without a server. Routing by it sends more to the primary than it must,
 * and a view that writes is found by the server's 25006.
 *
 * Lists. "allow" says that a function is harmless whatever the catalogue says; "deny" that it
 * writes. An entry is "name" or "schema.name"; deny wins. Functions of PostgreSQL that are volatile
 * only because their result changes (random(), clock_timestamp(), gen_random_uuid(), pg_sleep()
 * ...) are allowed from the start; catalog_harmless() is the list of them.
 */
#ifndef HF_SQL_CATALOG_H
#define HF_SQL_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/sv.h"
#include "sql/uses.h"
#include "sql/verdict.h"

/* Most volatile last. */
enum catalog_volatility {
    CATALOG_IMMUTABLE,
    CATALOG_STABLE,
    CATALOG_HARMLESS, /* volatile, and allowed by name */
    CATALOG_VOLATILE,
    CATALOG_UNKNOWN, /* the name is not there */
    CATALOG_DENIED,  /* by name */
};

/* One query for each kind of name that is loaded: functions, relations, operators, types. Its rows
 * are (schema, name, volatility 'i' | 's' | 'v', note), all text and never NULL; `note` is for a
 * person: the function because of which a view is volatile. The session that asks must have nothing
 * but pg_catalog in its search_path: else its operators are whoever's. NULL for other kinds. */
const char *catalog_query(enum uses_kind kind);

/* One row of one text column, which differs if what the queries above give may differ: cheap enough
 * to ask every few seconds. */
const char *catalog_fingerprint_query(void);

struct catalog_entry {
    uint32_t schema_at; /* into the texts; NUL-terminated */
    uint32_t name_at;
    uint32_t note_at;
    uint8_t kind;       /* enum uses_kind */
    uint8_t volatility; /* enum catalog_volatility */
};

struct catalog {
    uint32_t generation;
    bool is_sealed;
    uint32_t count;
    uint32_t capacity;
    struct hash_key key;
    struct catalog_entry *entries;
    char *texts;
    uint32_t texts_size;
    uint32_t texts_used;
    struct map map; /* from the hash of kind and name, without the schema */
};

/* Bytes for `names` names whose texts are `text_size` together. */
size_t catalog_size(uint32_t names, uint32_t text_size);

/* An empty one in `memory` of catalog_size(names, text_size) bytes. `generation` is not 0. */
void catalog_init(struct catalog *catalog, void *memory, uint32_t names, uint32_t text_size,
                  uint32_t generation, struct hash_key key);

/* A row of catalog_query(). */
struct catalog_row {
    enum uses_kind kind;
    struct sv schema;
    struct sv name;
    struct sv volatility; /* "i", "s" or "v" */
    struct sv note;
};

/* Copies a row. HF_RC_LIMIT if there is no room: the catalogue is then not to be used, since what
 * is missing in it would be missing from the candidates too. HF_RC_INVALID for what is no
 * volatility.
 */
enum hf_rc HF_MUST_USE catalog_feed(struct catalog *catalog, const struct catalog_row *row,
                                    struct hf_err *err);

/* No more rows: it can be read now. */
void catalog_seal(struct catalog *catalog);

/* Lists of names, "name" or "schema.name", borrowed. */
struct catalog_lists {
    const char *const *allow; /* ends with NULL; NULL: none */
    const char *const *deny;
};

/* The volatility of one name by catalogue (may be NULL) and lists (may be NULL); `*note` (may be
 * NULL) becomes the row's note or the empty text. */
enum catalog_volatility catalog_find(const struct catalog *catalog,
                                     const struct catalog_lists *lists, enum uses_kind kind,
                                     struct sv schema, struct sv name, const char **note);

/* Sharpens a verdict of classify_tree() by what its statement uses. */
void catalog_judge(const struct catalog *catalog, const struct catalog_lists *lists,
                   const struct uses *uses, struct verdict *verdict);

const char *catalog_volatility_name(enum catalog_volatility volatility);

/* The functions that are allowed from the start; ends with NULL. */
const char *const *catalog_harmless(void);

#endif
