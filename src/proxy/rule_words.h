/*
 * The words of pg_hba.conf and pg_ident.conf: fields between blanks, lists between commas, "quoted"
 * names, # comments, and a backslash at the end of a line that continues it.
 *
 *     struct rule_reader reader = {.rest = text, .line = 1, .pool = pool, .err = err};
 *     do {
 *         rule_line(&reader, &words, fields, &count)      count 0: nothing but a comment
 *     } while (rule_next_line(&reader));
 *
 * The pool must have room for as many bytes as the text; words are views into it.
 */
#ifndef HF_PROXY_RULE_WORDS_H
#define HF_PROXY_RULE_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sv.h"

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

struct rule_reader {
    struct sv rest;
    uint32_t line;
    char *pool;
    size_t used;
    struct hf_err *err;
};

/* How many words the text has, of a reader that stands at its front; `*line` is where it got to. */
enum hf_rc rule_count(struct rule_reader reader, size_t *count, uint32_t *line) HF_MUST_USE;

/* The fields of one line, at most RULE_FIELDS_MAX; the words go to `*words`, which moves on. */
enum hf_rc rule_line(struct rule_reader *reader, struct rule_word **words,
                     struct rule_field *fields, uint32_t *count) HF_MUST_USE;

/* Begins the next line; false at the end of the text. */
bool rule_next_line(struct rule_reader *reader);

/* An unquoted word that is the keyword. */
bool rule_is_keyword(const struct rule_word *word, struct sv keyword);

/* The only word of a field; NULL, with `err` about `what`, if there is a list or no such field. */
const struct rule_word *rule_single(const struct rule_field *fields, uint32_t count, uint32_t at,
                                    const char *what, struct hf_err *err);

/* "WHAT" REASON, and what to do: HF_RC_INVALID. */
enum hf_rc rule_refuse(struct hf_err *err, struct sv what, const char *reason, const char *hint);

#endif
