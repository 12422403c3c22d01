/*
 * What somebody has typed at the console, taken apart. Pure: text in, words out; what the words
 * mean is admin_command.h's affair.
 *
 *     SHOW POOLS;                       verb "SHOW", argument "POOLS"
 *     pause "my db"                     verb "pause", argument "my db"
 *     SET pool_size = 30                verb "SET", argument "pool_size", value "30"
 *     set application_name to 'x''y'    verb "set", argument "application_name", value "x'y"
 *
 * The grammar is PgBouncer's: one verb, at most one argument, a value behind = or TO for SET alone,
 * at most one semicolon. Words are compared by their readers, without case. Beyond PgBouncer's: SQL
 * comments are blanks, words may have dots and dashes (the keys of our settings have), and a SHOW
 * may have more than one word, which drivers ask (SHOW TRANSACTION ISOLATION LEVEL); they become
 * one, with single blanks.
 */
#ifndef HF_PROXY_ADMIN_WORDS_H
#define HF_PROXY_ADMIN_WORDS_H

#include <stdbool.h>

#include "base/sv.h"

#define ADMIN_VERB_SIZE     32
#define ADMIN_ARGUMENT_SIZE 128
#define ADMIN_VALUE_SIZE    1024

enum admin_words_rc {
    ADMIN_WORDS_OK,
    ADMIN_WORDS_NONE,   /* nothing but blanks and a semicolon */
    ADMIN_WORDS_BAD,    /* not of this grammar */
    ADMIN_WORDS_LENGTH, /* a word is longer than any that there is */
};

struct admin_words {
    char verb[ADMIN_VERB_SIZE];
    char argument[ADMIN_ARGUMENT_SIZE]; /* "": none */
    char value[ADMIN_VALUE_SIZE];       /* SET only */
    bool has_value;
};

enum admin_words_rc admin_words_parse(struct admin_words *words, struct sv text);

#endif
