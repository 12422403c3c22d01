#include "proxy/admin_words.h"

#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-' || (unsigned char)c >= 0x80;
}

/* Blanks and comments: a comment of slashes and stars that does not end goes to the end. */
static struct sv skip_blanks(struct sv text)
{
    while (text.size > 0) {
        if (is_blank(text.data[0])) {
            text = sv_drop(text, 1);
        } else if (sv_starts_with(text, SV("--"))) {
            text = sv_drop(text, sv_find(text, '\n'));
        } else if (sv_starts_with(text, SV("/*"))) {
            text = sv_drop(text, 2);
            while (text.size > 0 && !sv_starts_with(text, SV("*/")))
                text = sv_drop(text, 1);
            text = sv_drop(text, 2);
        } else {
            break;
        }
    }
    return text;
}

/* A quoted text, in which the quote itself stands twice. */
static enum admin_words_rc take_quoted(struct sv *text, char *out, size_t size)
{
    char quote = text->data[0];
    size_t at = 1, count = 0;
    for (;; at++) {
        if (at >= text->size || text->data[at] == '\0')
            return ADMIN_WORDS_BAD;
        if (text->data[at] == quote) {
            at++;
            if (at >= text->size || text->data[at] != quote)
                break;
        }
        if (count + 1 >= size)
            return ADMIN_WORDS_LENGTH;
        out[count++] = text->data[at];
    }
    out[count] = '\0';
    *text = sv_drop(*text, at);
    return ADMIN_WORDS_OK;
}

/* A word as it stands, or within quotes. */
static enum admin_words_rc take_word(struct sv *text, bool is_value, char *out, size_t size)
{
    size_t count = 0;
    if (text->size > 0 && (text->data[0] == '"' || (is_value && text->data[0] == '\'')))
        return take_quoted(text, out, size);
    while (count < text->size && is_word(text->data[count])) {
        /* "--" begins a comment even behind a word. */
        if (sv_starts_with(sv_drop(*text, count), SV("--")))
            break;
        count++;
    }
    /* A value may also be what units look like: 10%, 5min, /a/path, a,list. */
    while (is_value && count < text->size && !is_blank(text->data[count]) &&
           text->data[count] != ';' && text->data[count] != '\'' && text->data[count] != '"' &&
           text->data[count] != '\0')
        count++;
    if (count == 0)
        return ADMIN_WORDS_BAD;
    if (!sv_copy(sv_take(*text, count), out, size))
        return ADMIN_WORDS_LENGTH;
    *text = sv_drop(*text, count);
    return ADMIN_WORDS_OK;
}

/* "= value" or "TO value". */
static enum admin_words_rc take_value(struct admin_words *words, struct sv *text)
{
    if (sv_starts_with(*text, SV("="))) {
        *text = sv_drop(*text, 1);
    } else if (sv_eq_nocase(sv_take(*text, 2), SV("to")) && text->size > 2 &&
               (is_blank(text->data[2]) || text->data[2] == '\'' || text->data[2] == '"')) {
        *text = sv_drop(*text, 2);
    } else {
        return ADMIN_WORDS_BAD;
    }
    *text = skip_blanks(*text);
    words->has_value = true;
    return take_word(text, true, words->value, sizeof words->value);
}

/* The second and every other word of a SHOW, put behind the first one. */
static enum admin_words_rc take_more(struct admin_words *words, struct sv *text)
{
    while (text->size > 0 && text->data[0] != ';') {
        size_t held = strlen(words->argument);
        if (held + 2 >= sizeof words->argument)
            return ADMIN_WORDS_LENGTH;
        words->argument[held] = ' ';
        enum admin_words_rc rc =
            take_word(text, false, words->argument + held + 1, sizeof words->argument - held - 1);
        if (rc != ADMIN_WORDS_OK)
            return rc;
        *text = skip_blanks(*text);
    }
    return ADMIN_WORDS_OK;
}

enum admin_words_rc admin_words_parse(struct admin_words *words, struct sv text)
{
    memset(words, 0, sizeof *words);
    text = skip_blanks(text);
    enum admin_words_rc rc = ADMIN_WORDS_OK;
    if (text.size > 0 && text.data[0] != ';') {
        rc = take_word(&text, false, words->verb, sizeof words->verb);
        text = skip_blanks(text);
    }
    if (rc == ADMIN_WORDS_OK && words->verb[0] != '\0' && text.size > 0 && text.data[0] != ';') {
        rc = take_word(&text, false, words->argument, sizeof words->argument);
        text = skip_blanks(text);
    }
    struct sv verb = sv_from_cstr(words->verb);
    if (rc == ADMIN_WORDS_OK && sv_eq_nocase(verb, SV("set"))) {
        rc = take_value(words, &text);
        text = skip_blanks(text);
    } else if (rc == ADMIN_WORDS_OK && sv_eq_nocase(verb, SV("show"))) {
        rc = take_more(words, &text);
    }
    if (rc != ADMIN_WORDS_OK)
        return rc;
    if (text.size > 0 && text.data[0] == ';')
        text = skip_blanks(sv_drop(text, 1));
    if (text.size > 0)
        return ADMIN_WORDS_BAD;
    return words->verb[0] != '\0' ? ADMIN_WORDS_OK : ADMIN_WORDS_NONE;
}
