/*
 * PostgreSQL's lexical rules: a statement's text as tokens.
 *
 * These are the rules of scan.l, whichever of the supported servers (12 to 18) will read the text:
 * nested comments, dollar quotes, strings that go on after a line end, operators that end where a
 * comment begins, keywords as words. Nothing here knows grammar; a keyword and a name are both a
 * LEX_WORD.
 *
 *     lex_init(&lex, text, &rules);
 *     while (lex_next(&lex, &token) != LEX_END) ...
 *
 * Where versions differ. Since 15 a number may not be followed by a letter, before that "1a" was
 * two tokens: it is two here, and a newer server refuses the text anyway. Since 16 there are 0x1f,
 * 0o17, 0b1 and 1_000: one number here; an older server took what follows the first digits for a
 * name, which can be no keyword, so no statement means something else by it. A vertical tab is a
 * blank since 16; earlier servers refuse it.
 *
 * What the server is told by settings, and the text alone does not say, are the rules. Both can be
 * known without asking: standard_conforming_strings is reported, client_encoding too. In an
 * encoding in which a byte below 0x80 can be a part of a longer character (lex_encoding_is_safe()
 * says no: SJIS, BIG5, GBK, UHC, GB18030, JOHAB, SHIFT_JIS_2004), text must be converted before it
 * can be read, as the server does; such text is nothing for this lexer.
 *
 * Invariants
 *  1. Tokens do not overlap, come in order, and are never empty. What lies between them is blanks
 *     and comments.
 *  2. Total: any bytes give tokens. What the server's lexer would refuse is LEX_OTHER (a byte that
 *     begins nothing) or LEX_OPEN_ENDED (reaches to the end of the text without its closing mark).
 *  3. Linear in the size of the text, in constant memory.
 *
 * The text is borrowed. One owner, no state beyond the struct.
 */
#ifndef HF_SQL_LEX_H
#define HF_SQL_LEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/sv.h"

enum lex_kind {
    LEX_END,

    LEX_WORD,       /* a keyword or a name without quotes */
    LEX_QUOTED,     /* "name" */
    LEX_QUOTED_ESC, /* U&"name"; UESCAPE 'c' may follow as tokens of its own */
    LEX_INTEGER,    /* 12  0x1f  1_000 */
    LEX_NUMBER,     /* 1.5  .5  1e10 */
    LEX_STRING,     /* 'text'  E'text'  $tag$text$tag$; with all parts that continue it */
    LEX_STRING_ESC, /* U&'text'; UESCAPE 'c' may follow as tokens of its own */
    LEX_NATIONAL,   /* N'text' */
    LEX_BITS,       /* B'0101' */
    LEX_HEX_BITS,   /* X'1f' */
    LEX_PARAM,      /* $1 */
    LEX_OPERATOR,   /* + <= @> => ... also those of one character */
    LEX_OPEN,       /* ( or [ */
    LEX_CLOSE,      /* ) or ] */
    LEX_COMMA,
    LEX_SEMICOLON,
    LEX_DOT,
    LEX_DOTS,  /* .. */
    LEX_COLON, /* : or := */
    LEX_CAST,  /* :: */

    LEX_OTHER,      /* one byte that begins nothing: { ` \ control characters ... */
    LEX_OPEN_ENDED, /* a string, quoted name or comment without its end */
};

struct lex_rules {
    /* standard_conforming_strings is off: backslashes escape in 'text' too. */
    bool backslash_escapes;
    /* The text is in an encoding that cannot be read byte by byte. The lexer itself does not look
     * at this; judge.h does, before it asks anybody to read. */
    bool is_unreadable;
};

/* Whether a text in this client_encoding can be read byte by byte. The name as the server reports
 * it; unknown ones are not safe. */
bool lex_encoding_is_safe(struct sv name);

/* From what the server reports (ParameterStatus) of client_encoding and of
 * standard_conforming_strings: "on" or "off". */
struct lex_rules lex_rules_of(struct sv encoding, struct sv standard_strings);

struct lex_token {
    enum lex_kind kind;
    size_t begin;
    size_t end; /* the first byte behind it */
};

struct lex {
    const char *data;
    size_t size;
    size_t at;
    struct lex_rules rules;
};

void lex_init(struct lex *lex, struct sv text, const struct lex_rules *rules);

/* The next token and its kind; LEX_END again and again at the end. */
enum lex_kind lex_next(struct lex *lex, struct lex_token *token);

static inline struct sv lex_text(const struct lex *lex, const struct lex_token *token)
{
    return sv_from(lex->data + token->begin, token->end - token->begin);
}

/* The inside of the comment with which the text begins, blanks before it apart: what stands between
 * its marks. Empty if the text begins with something else, or the comment has no end. */
struct sv lex_first_comment(struct sv text);

#endif
