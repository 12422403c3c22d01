#include "sql/acts_plain.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WORD  sizeof(uint64_t)
#define CHUNK 32

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$' || (unsigned char)c >= 0x80;
}

/* Letters only: what else is there becomes something that is no letter either. */
static char small(char c)
{
    return (char)(c | 0x20);
}

static uint64_t eight(const char *data)
{
    uint64_t bytes;
    memcpy(&bytes, data, sizeof bytes);
    return bytes;
}

/* The size of the first word if it begins a statement that has no acts but those that stand inside;
 * else 0. The word and what it is compared with are both taken from memory as numbers, so that the
 * order of bytes in a number does not matter. */
static size_t plain_verb(struct sv text)
{
    static const char verbs[][WORD + 1] = {"select\0", "insert\0", "update\0", "delete\0",
                                           "values\0"};
    if (text.size <= WORD)
        return 0;
    uint64_t first = eight(text.data) | eight("        ");
    uint64_t six = first & eight("\xff\xff\xff\xff\xff\xff\0");
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (six == eight(verbs[i]))
            return is_name(text.data[6]) ? 0 : 6;
    bool is_with = (first & eight("\xff\xff\xff\xff\0\0\0")) == eight("with\0\0\0");
    return is_with && !is_name(text.data[4]) ? 4 : 0;
}

/* Without blanks and the one semicolon behind it. */
static struct sv without_end(struct sv text)
{
    while (text.size > 0 && is_blank(text.data[text.size - 1]))
        text.size--;
    if (text.size > 0 && text.data[text.size - 1] == ';')
        text.size--;
    return text;
}

/* Whether the byte is a part of anything suspicious. Three stand before it, and one behind. */
static bool is_suspicious(const char *at)
{
    char first = small(at[-2]), before = small(at[-1]), next = small(at[1]);
    switch (*at) {
    case ';':
        return true;
    case '_':
        return (first == 'p' && before == 'g' && (next == 'a' || next == 't')) ||
               (first == 'e' && before == 't' && next == 'c');
    case 'm':
    case 'M':
        return first == 't' && before == 'e' && next == 'p' && !is_name(at[-3]);
    case '&':
        return next == '"';
    default:
        return false;
    }
}

/* Says no whenever is_suspicious() says yes for one of these bytes. There is one before them and
 * one behind. Without branches, so that a compiler does it for sixteen at a time; the bit that
 * makes letters small lets '_' look like DEL, and does no harm to the others. */
static bool is_quiet(const char *data)
{
    const unsigned char *at = (const unsigned char *)data;
    unsigned char found = 0;
    for (ptrdiff_t i = 0; i < CHUNK; i++) {
        unsigned char c = at[i] | 0x20, before = at[i - 1] | 0x20, next = at[i + 1] | 0x20;
        found |= (c == ';') | (c == '&') | ((c == 0x7f) & ((before == 'g') | (before == 't'))) |
                 ((c == 'm') & (before == 'e') & (next == 'p'));
    }
    return found == 0;
}

/* The same of fewer bytes. There is one before them and one behind. */
static bool is_rest_quiet(const char *data, size_t size)
{
    char bytes[CHUNK + 2] = {0};
    memcpy(bytes, data - 1, size + 2);
    return is_quiet(bytes + 1);
}

bool acts_is_plain(struct sv text)
{
    size_t at = 0;
    while (at < text.size && is_blank(text.data[at]))
        at++;
    text = without_end(sv_drop(text, at));
    at = plain_verb(text);
    if (at == 0)
        return false;
    for (size_t last = text.size - 1, end; at < last; at = end) {
        end = last - at < CHUNK ? last : at + CHUNK;
        bool is_short = last <= CHUNK; /* else the last ones of all may overlap the ones before */
        if (is_short ? is_rest_quiet(text.data + at, end - at) : is_quiet(text.data + end - CHUNK))
            continue;
        for (; at < end; at++)
            if (is_suspicious(text.data + at))
                return false;
    }
    return true;
}
