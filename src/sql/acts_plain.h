/*
 * Texts that have no acts (acts.h) for certain, told without lexing.
 *
 * Most texts are a SELECT, INSERT, UPDATE, DELETE, VALUES or WITH of their own in which no word
 * stands that could be an act, in whatever quotes. These are told by their first word, and by one
 * pass in which 32 bytes are looked at together: nothing in such a statement is an act unless one
 * of these stands in it
 *
 *     ;             that does not end the text: another statement
 *     et_c          as in set_config
 *     pg_a, pg_t    pg_advisory_lock, pg_try_advisory_lock, pg_temp
 *     temp          at the beginning of a word
 *     &"            U&"...", which may be any name
 *
 * It errs on the safe side: true is certain, false only says that the text has to be read.
 */
#ifndef HF_SQL_ACTS_PLAIN_H
#define HF_SQL_ACTS_PLAIN_H

#include <stdbool.h>

#include "base/sv.h"

/* `text` is in an encoding that can be read (lex.h). */
bool acts_is_plain(struct sv text);

#endif
