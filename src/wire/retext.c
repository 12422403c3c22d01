#include "wire/retext.h"

#include <string.h>

#include "base/bug.h"
#include "wire/build.h"
#include "wire/bytes.h"

void retext_init(struct retext *retext)
{
    retext->count = 0;
}

bool retext_add(struct retext *retext, size_t at, size_t size, struct sv put, struct sv name)
{
    hf_assert(put.size > 0 && put.size <= RETEXT_PUT_MAX);
    hf_assert(name.size > 0 && name.size <= RETEXT_NAME_MAX);
    if (retext->count == RETEXT_WORDS_MAX)
        return false;
    struct retext_word *word = &retext->words[retext->count++];
    *word = (struct retext_word){
        .at = at, .size = size, .put_size = (uint8_t)put.size, .name_size = (uint8_t)name.size};
    memcpy(word->put, put.data, put.size);
    memcpy(word->name, name.data, name.size);
    return true;
}

/* ---- The text ---- */

size_t retext_size(const struct retext *retext, struct sv text)
{
    size_t size = text.size;
    for (uint32_t i = 0; i < retext->count; i++)
        size += retext->words[i].put_size - retext->words[i].size;
    return size;
}

/* Of UTF-8: bytes that do not continue a character. */
static size_t count_characters(struct sv text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.size; i++)
        count += ((unsigned char)text.data[i] & 0xc0) != 0x80;
    return count;
}

void retext_write(struct retext *retext, struct sv text, char *out)
{
    size_t at = 0, characters = 0;
    for (uint32_t i = 0; i < retext->count; i++) {
        struct retext_word *word = &retext->words[i];
        hf_assert(word->at >= at && word->size <= text.size - word->at);
        struct sv between = sv_from(text.data + at, word->at - at);
        memcpy(out, between.data, between.size);
        memcpy(out + between.size, word->put, word->put_size);
        out += between.size + word->put_size;
        word->from = characters + count_characters(between);
        word->characters = count_characters(sv_from(text.data + word->at, word->size));
        characters = word->from + word->put_size;
        at = word->at + word->size;
    }
    if (at < text.size)
        memcpy(out, text.data + at, text.size - at);
}

size_t retext_position(const struct retext *retext, size_t position)
{
    size_t place = position;
    for (uint32_t i = 0; i < retext->count; i++) {
        const struct retext_word *word = &retext->words[i];
        if (position <= word->from) /* counted from 1: before the word */
            break;
        if (position <= word->from + word->put_size)
            return place - (position - word->from - 1);
        place = place - word->put_size + word->characters;
    }
    return place;
}

/* ---- What the server says of it ---- */

static bool is_of_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/* The word that stands at the beginning of what is left of a message, and is all of a name; or one
 * more than there are. */
static uint32_t find_put(const struct retext *retext, struct sv rest)
{
    uint32_t i = 0;
    for (; i < retext->count; i++) {
        struct sv put = retext_put(retext, i);
        if (sv_starts_with(rest, put) &&
            (rest.size == put.size || !is_of_name(rest.data[put.size])))
            break;
    }
    return i;
}

static void put_message(const struct retext *retext, struct build *build, struct sv text)
{
    size_t from = 0, at = 0;
    bool is_inside = false;
    while (at < text.size) {
        uint32_t found = is_inside ? retext->count : find_put(retext, sv_drop(text, at));
        is_inside = is_of_name(text.data[at]);
        if (found == retext->count) {
            at++;
            continue;
        }
        build_bytes(build, sv_from(text.data + from, at - from));
        build_bytes(build, retext_name(retext, found));
        at += retext_put(retext, found).size;
        from = at;
    }
    build_cstr(build, sv_drop(text, from));
}

static void put_position(const struct retext *retext, struct build *build, struct sv text)
{
    int64_t position;
    char digits[20];
    size_t count = sizeof digits;
    if (sv_to_int(text, 1, INT32_MAX, &position) != SV_NUMBER_OK) {
        build_cstr(build, text);
        return;
    }
    size_t place = retext_position(retext, (size_t)position);
    do {
        digits[--count] = (char)('0' + place % 10);
        place /= 10;
    } while (place > 0);
    build_cstr(build, sv_from(digits + count, sizeof digits - count));
}

enum hf_rc retext_error(const struct retext *retext, char type, struct sv body, struct buffer *out)
{
    struct reader reader = reader_of(body);
    struct build build = build_begin(out, type);
    for (;;) {
        uint8_t kind = reader_u8(&reader);
        if (kind == 0)
            break;
        struct sv text = reader_cstr(&reader);
        build_u8(&build, kind);
        if (kind == 'M')
            put_message(retext, &build, text);
        else if (kind == 'P')
            put_position(retext, &build, text);
        else
            build_cstr(&build, text);
    }
    if (reader.is_short || reader.left > 0)
        return HF_RC_INVALID;
    build_u8(&build, 0);
    return build_end(&build);
}
