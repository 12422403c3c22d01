/*
 * The words of pg_hba.conf and pg_ident.conf: fields between blanks, lists between commas, "quoted"
 * names, # comments, and a backslash at the end of a line that continues it.
 *
 *     rule_read() --> make_room(), once it is known how much there can be
 *                 --> take(), for each line that has words
 *
 * Words are views into the book, which lives as long as what was made of it.
 */
#ifndef HF_PROXY_RULE_WORDS_H
#define HF_PROXY_RULE_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sv.h"
#include "os/mem.h"

#define RULE_SQLSTATE   "F0000" /* config_file_error */
#define RULE_FIELDS_MAX 16      /* of a line; what is beyond is refused */

/* A name or keyword; in quotes it is always a name. */
struct rule_word {
    struct sv text; /* in the pool */
    bool is_quoted; /* from its first letter on */
};

/* Words between commas. */
struct rule_field {
    const struct rule_word *words;
    uint32_t count;
};

/* What keeps the words of a text. All zero: nothing, as after rule_book_free(). */
struct rule_book {
    struct mem *mem;
    char *letters;           /* owned */
    struct rule_word *words; /* owned */
};

/* What a text is to be, and who makes something of its lines. */
struct rule_kind {
    const char *lines;    /* what its lines are called: "rules" */
    size_t lines_max;     /* what is beyond is refused */
    size_t words_min;     /* take() refuses a line that has fewer */
    size_t text_size_max; /* in bytes */
    enum hf_rc (*make_room)(void *owner, size_t lines, struct hf_err *err);
    enum hf_rc (*take)(void *owner, const struct rule_field *fields, uint32_t count, uint32_t line,
                       struct hf_err *err);
};

/* Reads all of a text; an error names the line. What the book has got is for rule_book_free() then
 * too. */
enum hf_rc rule_read(struct rule_book *book, const struct rule_kind *kind, void *owner,
                     struct sv text, struct mem *mem, struct hf_err *err) HF_MUST_USE;

void rule_book_free(struct rule_book *book);

/* An unquoted word that is the keyword. */
bool rule_is_keyword(const struct rule_word *word, struct sv keyword);

/* The only word of a field; NULL, with `err` about `what`, if there is a list or no such field. */
const struct rule_word *rule_single(const struct rule_field *fields, uint32_t count, uint32_t at,
                                    const char *what, struct hf_err *err);

/* "WHAT" REASON, and what to do: HF_RC_INVALID. */
enum hf_rc rule_refuse(struct hf_err *err, struct sv what, const char *reason, const char *hint);

#endif
