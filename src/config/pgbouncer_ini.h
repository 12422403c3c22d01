/*
 * Reads PgBouncer's configuration file as PgBouncer does, for `holdfast import`.
 *
 *     ; a comment, as is a line that begins with #
 *     %include other.ini
 *     [databases]
 *     shop = host=db1 port=5432 user='o''brien'
 *     "my shop" = host=db1
 *     [pgbouncer]
 *     pool_mode = transaction
 *
 * What comes out is a list of entries in the order of the files: section, key, value, and where
 * it stands. What a key means is the affair of pgbouncer_rows and pgbouncer_import. A value goes to
 * the end of its line, without blanks at its ends; `;` and `#` inside of it are part of it. A key
 * may be quoted as SQL's names are, with "" for a quote. In the sections databases, users and peers
 * a value is itself a list of pairs, to be taken apart by ini_pair_next().
 *
 * Stricter than PgBouncer in one thing: a byte that is neither printable nor a tab, and text that
 * is not UTF-8, are faults, because YAML cannot hold them.
 *
 * Life:   pgbouncer_ini_init -> pgbouncer_ini_read -> look at entries -> pgbouncer_ini_free
 *
 * Entries and what is in them are views into the texts that the struct keeps, and live as long as
 * it does. The texts hold passwords: they are wiped when they are given back. One thread.
 */
#ifndef HF_CONFIG_PGBOUNCER_INI_H
#define HF_CONFIG_PGBOUNCER_INI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sv.h"
#include "os/mem.h"

#define INI_FILES_MAX   32                /* with those that are included */
#define INI_DEPTH_MAX   8                 /* of files that include each other */
#define INI_FILE_SIZE   ((size_t)4 << 20) /* of one file */
#define INI_ENTRIES_MAX ((size_t)1 << 13) /* of all files: more than the proxy takes */
#define INI_PATH_SIZE   1024
#define INI_VALUE_SIZE  4096 /* of a value inside a list of pairs, with its NUL */

enum ini_section {
    INI_PGBOUNCER,
    INI_DATABASES,
    INI_USERS,
    INI_PEERS,
    INI_SECTION_COUNT,
};

struct ini_entry {
    enum ini_section section;
    uint32_t file; /* index into files */
    uint32_t line; /* from 1 */
    struct sv key;
    struct sv value;
};

struct ini_file {
    char path[INI_PATH_SIZE];
    char *text; /* changed in place where a key was quoted */
    size_t size;
};

struct pgbouncer_ini {
    struct mem *mem;
    struct ini_file files[INI_FILES_MAX];
    uint32_t file_count;
    struct ini_entry *entries;
    size_t count;
    size_t room;
};

void pgbouncer_ini_init(struct pgbouncer_ini *ini, struct mem *mem);

/* Reads a file and all that it includes: relative names from the current folder, as PgBouncer does,
 * and where there is no such file, from the folder of the one that includes it. A failure's message
 * begins with FILE:LINE and never quotes a value. */
enum hf_rc pgbouncer_ini_read(struct pgbouncer_ini *ini, const char *path,
                              struct hf_err *err) HF_MUST_USE;

/* The same for a text, which is copied; `name` is what messages call it. */
enum hf_rc pgbouncer_ini_read_text(struct pgbouncer_ini *ini, struct sv text, const char *name,
                                   struct hf_err *err) HF_MUST_USE;

/* The last entry of that key counts, as it does for PgBouncer; NULL: there is none. */
const struct ini_entry *pgbouncer_ini_find(const struct pgbouncer_ini *ini,
                                           enum ini_section section, struct sv key);

/* Fills err about an entry, with FILE:LINE in front; returns its code. */
#define ini_blame(ini, entry, err)                                                                 \
    err_while(err, "%s:%u", (ini)->files[(entry)->file].path, (unsigned)(entry)->line)

void pgbouncer_ini_free(struct pgbouncer_ini *ini);

/* ---- values that are lists of pairs ---- */

struct ini_pair {
    struct sv key;              /* a view into the list */
    char value[INI_VALUE_SIZE]; /* without its quotes; may be a password: the caller wipes it */
};

/* Takes the next pair off a list; false: there is none, or, with err->rc set, the list is broken.
 *
 *     struct sv rest = entry->value;
 *     while (ini_pair_next(&rest, &pair, &err)) ...
 *     if (err.rc != HF_OK) ...
 */
bool ini_pair_next(struct sv *rest, struct ini_pair *pair, struct hf_err *err);

#endif
