/*
 * A client's text in which some words are replaced by ours, and what the server says about the new
 * text, put back into terms of the old one: the names that it speaks of, and the places.
 *
 *     retext_init(&retext);
 *     retext_add(&retext, at, size, put, name)         each word, from left to right
 *     retext_write(&retext, text, out)                 the new text, of retext_size() bytes
 *     retext_error(&retext, body, &buffer)             an ErrorResponse about it, as the client's
 *
 * `name` is what the word means (without quotes, in small letters), as a server would call it in a
 * message; `put` is what stands in its place, which is no part of any other name.
 *
 * Places. PostgreSQL counts characters from 1. Here those of UTF-8 are counted; in another encoding
 * a place behind a word may be off if characters that are not ASCII stand before that word.
 *
 * One owner, no allocation; plain data.
 */
#ifndef HF_WIRE_RETEXT_H
#define HF_WIRE_RETEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/sv.h"

#define RETEXT_WORDS_MAX 8
#define RETEXT_NAME_MAX  63
#define RETEXT_PUT_MAX   12

/* Private. */
struct retext_word {
    size_t at; /* in the old text */
    size_t size;
    size_t from; /* in the new text, in characters; and how many there and in the old one */
    uint8_t put_size;
    uint8_t name_size;
    char put[RETEXT_PUT_MAX];
    char name[RETEXT_NAME_MAX];
    size_t characters;
};

struct retext {
    uint32_t count;
    struct retext_word words[RETEXT_WORDS_MAX];
};

void retext_init(struct retext *retext);

/* The word of `size` bytes at `at`, behind those that were added before. False, and nothing
 * changed: there are RETEXT_WORDS_MAX already. `put` and `name` fit and are not empty. */
bool retext_add(struct retext *retext, size_t at, size_t size, struct sv put, struct sv name);

static inline struct sv retext_put(const struct retext *retext, uint32_t index)
{
    return sv_from(retext->words[index].put, retext->words[index].put_size);
}

static inline struct sv retext_name(const struct retext *retext, uint32_t index)
{
    return sv_from(retext->words[index].name, retext->words[index].name_size);
}

/* Of the new text. */
size_t retext_size(const struct retext *retext, struct sv text);

/* Writes it, so many bytes, and notes where the words stand in it. `text` is the one that the words
 * are of. */
void retext_write(struct retext *retext, struct sv text, char *out);

/* The place in the old text, for one in the new text that was written last. Inside of a word that
 * was replaced: its beginning. */
size_t retext_position(const struct retext *retext, size_t position);

/* Appends an ErrorResponse or NoticeResponse (`type`) whose body is this one, with names and
 * position put back. HF_RC_LIMIT: no room; HF_RC_INVALID: it is not the body of one. */
enum hf_rc retext_error(const struct retext *retext, char type, struct sv body,
                        struct buffer *out) HF_MUST_USE;

#endif
