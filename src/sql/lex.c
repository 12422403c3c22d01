#include "sql/lex.h"

#include <stdint.h>
#include <string.h>

/* What a byte can be part of, by scan.l of PostgreSQL. A byte with the high bit is a letter there:
 * the server does not look into characters of several bytes either. */
enum {
    C_BLANK = 1,
    C_START = 2, /* begins a name */
    C_DIGIT = 4,
    C_HEX = 8, /* also of digits */
    C_OPERATOR = 16,
    C_DOLLAR = 32, /* goes on in a name */
};
#define C_NAME (C_START | C_DIGIT | C_DOLLAR)

#define FOUR(x) x, x, x, x
#define HIGH(x) FOUR(FOUR(FOUR(x))), FOUR(FOUR(FOUR(x))) /* 128 bytes */

static const uint8_t classes[256] = {
    ['\t'] = C_BLANK,        ['\n'] = C_BLANK,        ['\v'] = C_BLANK,
    ['\f'] = C_BLANK,        ['\r'] = C_BLANK,        [' '] = C_BLANK,
    ['!'] = C_OPERATOR,      ['#'] = C_OPERATOR,      ['%'] = C_OPERATOR,
    ['&'] = C_OPERATOR,      ['*'] = C_OPERATOR,      ['+'] = C_OPERATOR,
    ['-'] = C_OPERATOR,      ['/'] = C_OPERATOR,      ['<'] = C_OPERATOR,
    ['='] = C_OPERATOR,      ['>'] = C_OPERATOR,      ['?'] = C_OPERATOR,
    ['@'] = C_OPERATOR,      ['^'] = C_OPERATOR,      ['`'] = C_OPERATOR,
    ['|'] = C_OPERATOR,      ['~'] = C_OPERATOR,      ['0'] = C_DIGIT | C_HEX,
    ['1'] = C_DIGIT | C_HEX, ['2'] = C_DIGIT | C_HEX, ['3'] = C_DIGIT | C_HEX,
    ['4'] = C_DIGIT | C_HEX, ['5'] = C_DIGIT | C_HEX, ['6'] = C_DIGIT | C_HEX,
    ['7'] = C_DIGIT | C_HEX, ['8'] = C_DIGIT | C_HEX, ['9'] = C_DIGIT | C_HEX,
    ['A'] = C_START | C_HEX, ['B'] = C_START | C_HEX, ['C'] = C_START | C_HEX,
    ['D'] = C_START | C_HEX, ['E'] = C_START | C_HEX, ['F'] = C_START | C_HEX,
    ['G'] = C_START,         ['H'] = C_START,         ['I'] = C_START,
    ['J'] = C_START,         ['K'] = C_START,         ['L'] = C_START,
    ['M'] = C_START,         ['N'] = C_START,         ['O'] = C_START,
    ['P'] = C_START,         ['Q'] = C_START,         ['R'] = C_START,
    ['S'] = C_START,         ['T'] = C_START,         ['U'] = C_START,
    ['V'] = C_START,         ['W'] = C_START,         ['X'] = C_START,
    ['Y'] = C_START,         ['Z'] = C_START,         ['_'] = C_START,
    ['a'] = C_START | C_HEX, ['b'] = C_START | C_HEX, ['c'] = C_START | C_HEX,
    ['d'] = C_START | C_HEX, ['e'] = C_START | C_HEX, ['f'] = C_START | C_HEX,
    ['g'] = C_START,         ['h'] = C_START,         ['i'] = C_START,
    ['j'] = C_START,         ['k'] = C_START,         ['l'] = C_START,
    ['m'] = C_START,         ['n'] = C_START,         ['o'] = C_START,
    ['p'] = C_START,         ['q'] = C_START,         ['r'] = C_START,
    ['s'] = C_START,         ['t'] = C_START,         ['u'] = C_START,
    ['v'] = C_START,         ['w'] = C_START,         ['x'] = C_START,
    ['y'] = C_START,         ['z'] = C_START,         ['$'] = C_DOLLAR,
    [128] = HIGH(C_START),
};

static bool is(char c, unsigned of)
{
    return (classes[(uint8_t)c] & of) != 0;
}

/* The byte `ahead` of `at`, or 0 behind the end. A zero byte in the text belongs to nothing but
 * strings, names in quotes and comments, whose searches go by size. */
static char peek(const struct lex *lex, size_t at, size_t ahead)
{
    return lex->size - at > ahead ? lex->data[at + ahead] : '\0';
}

static size_t skip_all(const struct lex *lex, size_t at, unsigned of)
{
    while (at < lex->size && is(lex->data[at], of))
        at++;
    return at;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool lex_encoding_is_safe(struct sv name)
{
    static const char *const safe[] = {
        "UTF8",    "SQL_ASCII",  "LATIN1",     "LATIN2",  "LATIN3",       "LATIN4",
        "LATIN5",  "LATIN6",     "LATIN7",     "LATIN8",  "LATIN9",       "LATIN10",
        "WIN1250", "WIN1251",    "WIN1252",    "WIN1253", "WIN1254",      "WIN1255",
        "WIN1256", "WIN1257",    "WIN1258",    "WIN866",  "WIN874",       "KOI8R",
        "KOI8U",   "ISO_8859_5", "ISO_8859_6", "EUC_JP",  "ISO_8859_7",   "ISO_8859_8",
        "EUC_CN",  "EUC_KR",     "EUC_TW",     "UNICODE", "EUC_JIS_2004", "MULE_INTERNAL",
    };
    for (size_t i = 0; i < sizeof safe / sizeof safe[0]; i++) {
        if (sv_eq_nocase(name, sv_from_cstr(safe[i])))
            return true;
    }
    return false;
}

struct lex_rules lex_rules_of(struct sv encoding, struct sv standard_strings)
{
    return (struct lex_rules){.backslash_escapes = sv_eq(standard_strings, SV("off")),
                              .is_unreadable = !lex_encoding_is_safe(encoding)};
}

void lex_init(struct lex *lex, struct sv text, const struct lex_rules *rules)
{
    *lex = (struct lex){.data = text.data, .size = text.size, .rules = *rules};
}

/* Behind the line that `at` is in; its end mark is not taken. */
static size_t end_of_line(const struct lex *lex, size_t at)
{
    while (at < lex->size && lex->data[at] != '\n' && lex->data[at] != '\r')
        at++;
    return at;
}

/* `at` is behind the opening mark; comments nest. False if it has no end. */
static bool end_of_comment(const struct lex *lex, size_t at, size_t *end)
{
    for (size_t depth = 1; at + 1 < lex->size;) {
        if (lex->data[at] == '*' && lex->data[at + 1] == '/') {
            at += 2;
            if (--depth == 0) {
                *end = at;
                return true;
            }
        } else if (lex->data[at] == '/' && lex->data[at + 1] == '*') {
            depth++;
            at += 2;
        } else {
            at++;
        }
    }
    return false;
}

/* To what is neither blank nor comment. False, and *at before the comment, if one has no end. */
static bool skip_blanks(const struct lex *lex, size_t *at)
{
    for (;;) {
        *at = skip_all(lex, *at, C_BLANK);
        const char first = peek(lex, *at, 0), second = peek(lex, *at, 1);
        if (first == '-' && second == '-')
            *at = end_of_line(lex, *at);
        else if (first != '/' || second != '*')
            return true;
        else if (!end_of_comment(lex, *at + 2, at))
            return false;
    }
}

/*
 * Whether a string goes on: blanks with a line end among them, and another quote. A comment may
 * stand there too if it begins with two dashes; what stands before the line end counts as well.
 * *at moves behind the quote that opens the next part.
 */
static bool string_goes_on(const struct lex *lex, size_t *at)
{
    bool has_line_end = false;
    size_t to = *at;
    for (; to < lex->size; to++) {
        const char c = lex->data[to];
        if (c == '-' && peek(lex, to, 1) == '-') {
            to = end_of_line(lex, to);
            if (to == lex->size)
                return false;
        } else if (!is(c, C_BLANK)) {
            break;
        }
        has_line_end = has_line_end || lex->data[to] == '\n' || lex->data[to] == '\r';
    }
    if (!has_line_end || peek(lex, to, 0) != '\'')
        return false;
    *at = to + 1;
    return true;
}

/* The parts of a string, from behind its first quote. */
struct string_rules {
    bool backslash; /* escapes the byte behind it */
    bool doubling;  /* two quotes are one, and no end */
};

/* False if it has no end. */
static bool end_of_string(const struct lex *lex, size_t at, struct string_rules rules, size_t *end)
{
    while (at < lex->size) {
        const char c = lex->data[at];
        if (c == '\\' && rules.backslash) {
            at += 2;
        } else if (c != '\'') {
            at++;
        } else if (rules.doubling && peek(lex, at, 1) == '\'') {
            at += 2;
        } else {
            at++;
            if (!string_goes_on(lex, &at)) {
                *end = at;
                return true;
            }
        }
    }
    return false;
}

static bool end_of_quoted_name(const struct lex *lex, size_t at, size_t *end)
{
    for (; at < lex->size; at++) {
        if (lex->data[at] != '"')
            continue;
        if (peek(lex, at, 1) != '"') {
            *end = at + 1;
            return true;
        }
        at++;
    }
    return false;
}

/* Ends the token at `end`, or if there is none with the text. */
static enum lex_kind closed(struct lex *lex, struct lex_token *token, enum lex_kind kind,
                            bool has_end, size_t end)
{
    token->kind = has_end ? kind : LEX_OPEN_ENDED;
    token->end = has_end ? end : lex->size;
    lex->at = token->end;
    return token->kind;
}

static enum lex_kind string_token(struct lex *lex, struct lex_token *token, enum lex_kind kind,
                                  size_t at, struct string_rules rules)
{
    size_t end = 0;
    const bool has_end = end_of_string(lex, at, rules, &end);
    return closed(lex, token, kind, has_end, end);
}

static enum lex_kind plain_string(struct lex *lex, struct lex_token *token, enum lex_kind kind,
                                  size_t at)
{
    return string_token(lex, token, kind, at,
                        (struct string_rules){lex->rules.backslash_escapes, true});
}

/* A word, or a string or quoted name that begins with letters. */
static enum lex_kind word_token(struct lex *lex, struct lex_token *token)
{
    const size_t at = token->begin;
    const char second = peek(lex, at, 1);
    size_t end = 0;
    if (second == '\'') {
        switch (lower(lex->data[at])) {
        case 'b':
            return string_token(lex, token, LEX_BITS, at + 2, (struct string_rules){0});
        case 'x':
            return string_token(lex, token, LEX_HEX_BITS, at + 2, (struct string_rules){0});
        case 'e':
            return string_token(lex, token, LEX_STRING, at + 2, (struct string_rules){true, true});
        case 'n':
            return plain_string(lex, token, LEX_NATIONAL, at + 2);
        default:
            break;
        }
    } else if (second == '&' && lower(lex->data[at]) == 'u') {
        if (peek(lex, at, 2) == '\'')
            return string_token(lex, token, LEX_STRING_ESC, at + 3,
                                (struct string_rules){false, true});
        if (peek(lex, at, 2) == '"') {
            const bool has_end = end_of_quoted_name(lex, at + 3, &end);
            return closed(lex, token, LEX_QUOTED_ESC, has_end, end);
        }
    }
    return closed(lex, token, LEX_WORD, true, skip_all(lex, at + 1, C_NAME));
}

/* Digits that single underscores may stand between. */
static size_t skip_digits(const struct lex *lex, size_t at, unsigned of)
{
    for (;;) {
        at = skip_all(lex, at, of);
        if (peek(lex, at, 0) != '_' || !is(peek(lex, at, 1), of))
            return at;
        at++;
    }
}

/* 0x1f, 0o17, 0b1: behind their digits, or 0 if it is none of them. */
static size_t end_of_based(const struct lex *lex, size_t at)
{
    if (lex->data[at] != '0')
        return 0;
    const char base = lower(peek(lex, at, 1));
    if (base != 'x' && base != 'o' && base != 'b')
        return 0;
    const unsigned of = base == 'x' ? C_HEX : C_DIGIT;
    const size_t digits = peek(lex, at, 2) == '_' ? at + 3 : at + 2;
    const size_t end = skip_digits(lex, digits, of);
    return end > digits ? end : 0;
}

/* `at` is at a digit, or at a dot with a digit behind. "1..2" is 1, two dots, 2. */
static enum lex_kind number_token(struct lex *lex, struct lex_token *token)
{
    enum lex_kind kind = LEX_INTEGER;
    size_t end = end_of_based(lex, token->begin);
    if (end != 0)
        return closed(lex, token, kind, true, end);
    end = lex->data[token->begin] == '.' ? token->begin : skip_digits(lex, token->begin, C_DIGIT);
    if (peek(lex, end, 0) == '.' && peek(lex, end, 1) != '.') {
        kind = LEX_NUMBER;
        end++;
        if (is(peek(lex, end, 0), C_DIGIT))
            end = skip_digits(lex, end, C_DIGIT);
    }
    if (lower(peek(lex, end, 0)) == 'e') {
        const char sign = peek(lex, end, 1);
        const size_t digits = end + (sign == '+' || sign == '-' ? 2 : 1);
        if (digits < lex->size && is(lex->data[digits], C_DIGIT)) {
            kind = LEX_NUMBER;
            end = skip_digits(lex, digits, C_DIGIT);
        }
    }
    return closed(lex, token, kind, true, end);
}

/* $1, or a string between $tag$ and $tag$, or a dollar that begins nothing. */
static enum lex_kind dollar_token(struct lex *lex, struct lex_token *token)
{
    size_t at = token->begin + 1;
    if (is(peek(lex, at, 0), C_DIGIT))
        return closed(lex, token, LEX_PARAM, true, skip_all(lex, at, C_DIGIT));
    if (at < lex->size && is(lex->data[at], C_START))
        at = skip_all(lex, at, C_START | C_DIGIT);
    if (peek(lex, at, 0) != '$')
        return closed(lex, token, LEX_OTHER, true, token->begin + 1);
    at++;
    const size_t mark_size = at - token->begin;
    const char *mark = lex->data + token->begin;
    while (lex->size - at >= mark_size) {
        const char *found = memchr(lex->data + at, '$', lex->size - at - mark_size + 1);
        if (found == NULL)
            break;
        at = (size_t)(found - lex->data);
        if (memcmp(found, mark, mark_size) == 0)
            return closed(lex, token, LEX_STRING, true, at + mark_size);
        at++;
    }
    return closed(lex, token, LEX_OPEN_ENDED, true, lex->size);
}

/*
 * Operators end where a comment begins. One of several characters may end in + or - only if a
 * character is in it that no operator of standard SQL has: so "=-1" is "=" and "-", and "@-" is
 * one.
 */
static enum lex_kind operator_token(struct lex *lex, struct lex_token *token)
{
    const char *data = lex->data + token->begin;
    size_t size = skip_all(lex, token->begin, C_OPERATOR) - token->begin;
    bool is_special = false;
    for (size_t i = 0; i < size; i++) {
        if (i + 1 < size &&
            ((data[i] == '/' && data[i + 1] == '*') || (data[i] == '-' && data[i + 1] == '-')))
            size = i;
        else if (strchr("~!@#^&|`?%", data[i]) != NULL)
            is_special = true;
    }
    while (size > 1 && !is_special && (data[size - 1] == '+' || data[size - 1] == '-'))
        size--;
    return closed(lex, token, LEX_OPERATOR, true, token->begin + size);
}

static enum lex_kind mark_token(struct lex *lex, struct lex_token *token)
{
    const char first = lex->data[token->begin], second = peek(lex, token->begin, 1);
    enum lex_kind kind = LEX_OTHER;
    size_t size = 1;
    switch (first) {
    case '(':
    case '[':
        kind = LEX_OPEN;
        break;
    case ')':
    case ']':
        kind = LEX_CLOSE;
        break;
    case ',':
        kind = LEX_COMMA;
        break;
    case ';':
        kind = LEX_SEMICOLON;
        break;
    case '.':
        kind = second == '.' ? LEX_DOTS : LEX_DOT;
        size = second == '.' ? 2 : 1;
        break;
    case ':':
        kind = second == ':' ? LEX_CAST : LEX_COLON;
        size = second == ':' || second == '=' ? 2 : 1;
        break;
    default:
        break;
    }
    return closed(lex, token, kind, true, token->begin + size);
}

enum lex_kind lex_next(struct lex *lex, struct lex_token *token)
{
    const bool is_commented = !skip_blanks(lex, &lex->at);
    const size_t at = lex->at;
    *token = (struct lex_token){.kind = LEX_END, .begin = at, .end = at};
    if (at >= lex->size)
        return LEX_END;
    if (is_commented)
        return closed(lex, token, LEX_OPEN_ENDED, true, lex->size);
    const char c = lex->data[at];
    size_t end = 0;
    if (is(c, C_START))
        return word_token(lex, token);
    if (is(c, C_DIGIT) || (c == '.' && is(peek(lex, at, 1), C_DIGIT)))
        return number_token(lex, token);
    if (is(c, C_OPERATOR))
        return operator_token(lex, token);
    if (c == '\'')
        return plain_string(lex, token, LEX_STRING, at + 1);
    if (c == '$')
        return dollar_token(lex, token);
    if (c == '"') {
        const bool has_end = end_of_quoted_name(lex, at + 1, &end);
        return closed(lex, token, LEX_QUOTED, has_end, end);
    }
    return mark_token(lex, token);
}

struct sv lex_first_comment(struct sv text)
{
    const struct lex lex = {.data = text.data, .size = text.size};
    const size_t at = skip_all(&lex, 0, C_BLANK);
    size_t end = 0;
    if (peek(&lex, at, 0) != '/' || peek(&lex, at, 1) != '*' || !end_of_comment(&lex, at + 2, &end))
        return sv_from("", 0);
    return sv_from(text.data + at + 2, end - at - 4);
}
