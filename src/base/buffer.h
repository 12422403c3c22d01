/*
 * Byte buffer over one block of the caller's memory: bytes are appended at one end and consumed at
 * the other.
 *
 *     block  [ consumed |  held, buffer_view()  |      free      ]
 *                       ^start                  ^end             ^size
 *
 * It holds at most as much as the block, and refuses what does not fit: it neither allocates nor
 * overwrites. What was consumed becomes free again, at the latest when buffer_reserve() needs the
 * room: then what is held moves to the front. So views into the buffer, and pointers from
 * buffer_reserve(), are valid until the next reserve or append.
 *
 * Invariant: start <= end <= size; an empty buffer has start = end = 0, so that a reader who keeps
 * up never causes a move. The block is borrowed and must outlive the buffer. One owner, no locking.
 */
#ifndef HF_BASE_BUFFER_H
#define HF_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/sv.h"

struct buffer {
    char *block;
    size_t size;
    size_t start;
    size_t end;
};

void buffer_init(struct buffer *buffer, void *block, size_t size);

/* What is held, from the oldest byte on. */
static inline struct sv buffer_view(const struct buffer *buffer)
{
    return sv_from(buffer->block + buffer->start, buffer->end - buffer->start);
}

static inline size_t buffer_held(const struct buffer *buffer)
{
    return buffer->end - buffer->start;
}

/* How much more fits. */
static inline size_t buffer_free(const struct buffer *buffer)
{
    return buffer->size - buffer_held(buffer);
}

/* Room for `count` more bytes in a row, to be filled by the caller and then made part of the buffer
 * by buffer_commit(); NULL if they do not fit. */
char *buffer_reserve(struct buffer *buffer, size_t count);

/* The first `count` bytes of what was reserved last have been filled. */
void buffer_commit(struct buffer *buffer, size_t count);

/* Appends all of it, or nothing and returns false. */
bool buffer_append(struct buffer *buffer, struct sv bytes);

/* Forgets the oldest `count` bytes, which must be there. */
void buffer_consume(struct buffer *buffer, size_t count);

/* Forgets everything. */
void buffer_clear(struct buffer *buffer);

#endif
