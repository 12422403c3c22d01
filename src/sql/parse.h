/*
 * PostgreSQL's own parser, behind one call. parse.c is the one file of the tree that touches
 * libpg_query (15-4.0.0: the grammar of PostgreSQL 15), and the one file of a pure folder that may:
 * src/LAYERS says which symbols. It is a library of its own (hf_sql_parse), so that only what needs
 * it links it.
 *
 * The tree is JSON as libpg_query prints it; json.h reads it, classify.h knows it.
 *
 * Bounds. The caller passes a shape that is SHAPE_OK: at most SHAPE_SIZE_MAX bytes, a tree of at
 * most about SHAPE_DEPTH_MAX levels. Below these the parser takes less than 100 KB of stack (86
 * were seen), and memory of some 300 bytes for each byte of text (10 MB), all of it freed by
 * parse_free(). It allocates, and so belongs on the path of a statement that was never seen before,
 * not of one that is in the cache.
 *
 * Thread-safe: libpg_query keeps its state in each thread, and frees it when the thread ends.
 */
#ifndef HF_SQL_PARSE_H
#define HF_SQL_PARSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/sv.h"

#define PARSE_ERROR_SIZE 128

struct parse {
    bool is_ok;
    struct sv tree;               /* JSON, valid until parse_free() */
    char error[PARSE_ERROR_SIZE]; /* the parser's words; "" if is_ok */
    void *result[4];              /* private: what parse_free() gives back */
};

/* `text` ends in a NUL that does not count, and has no other. */
void parse_run(struct parse *parse, struct sv text);
void parse_free(struct parse *parse);

/* libpg_query's name for the structure of a statement, for tests that compare shapes with it: two
 * texts of one fingerprint differ in literals, and a little more, only. 0 if it cannot be parsed.
 */
uint64_t parse_fingerprint(const char *text);

#endif
