#include "wire/channels.h"

#include <stddef.h>
#include <string.h>

/* UNLISTEN "", with every letter of the longest name doubled; and the end of the message. */
#define STATEMENT_MAX (12 + 2 * 63 + 2)

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool stands_at(struct sv text, size_t at, struct sv word)
{
    if (text.size - at < word.size)
        return false;
    for (size_t i = 0; i < word.size; i++)
        if (lower(text.data[at + i]) != word.data[i])
            return false;
    return true;
}

bool channels_may_matter(struct sv text)
{
    for (size_t i = 0; i < text.size; i++) {
        switch (lower(text.data[i])) {
        case 'l': /* also of UNLISTEN and pg_listening_channels() */
            if (stands_at(text, i, SV("listen")))
                return true;
            break;
        case 'b':
            if (stands_at(text, i, SV("begin")))
                return true;
            break;
        case 's':
            if (stands_at(text, i, SV("start")))
                return true;
            break;
        default:
            break;
        }
    }
    return false;
}

bool channels_fit(const struct build *query)
{
    return query->room - query->size >= STATEMENT_MAX;
}

void channels_ask(struct build *query, enum channels_verb verb, struct sv name)
{
    build_bytes(query, verb == CHANNELS_LISTEN ? SV("LISTEN \"") : SV("UNLISTEN \""));
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] == '"')
            build_u8(query, '"');
        build_u8(query, (uint8_t)name.data[i]);
    }
    build_bytes(query, SV("\";"));
}

enum hf_rc channels_end(struct build *query)
{
    build_u8(query, 0);
    return build_end(query);
}
