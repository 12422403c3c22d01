#include "base/buffer.h"

#include <string.h>

#include "base/bug.h"

void buffer_init(struct buffer *buffer, void *block, size_t size)
{
    *buffer = (struct buffer){.block = block, .size = size};
}

char *buffer_reserve(struct buffer *buffer, size_t count)
{
    if (count > buffer_free(buffer))
        return NULL;
    if (count > buffer->size - buffer->end) {
        size_t held = buffer_held(buffer);
        memmove(buffer->block, buffer->block + buffer->start, held);
        buffer->start = 0;
        buffer->end = held;
    }
    return buffer->block + buffer->end;
}

void buffer_commit(struct buffer *buffer, size_t count)
{
    hf_assert(count <= buffer->size - buffer->end);
    buffer->end += count;
}

bool buffer_append(struct buffer *buffer, struct sv bytes)
{
    char *room = buffer_reserve(buffer, bytes.size);
    if (room == NULL)
        return false;
    if (bytes.size > 0)
        memcpy(room, bytes.data, bytes.size);
    buffer->end += bytes.size;
    return true;
}

void buffer_consume(struct buffer *buffer, size_t count)
{
    hf_assert(count <= buffer_held(buffer));
    buffer->start += count;
    if (buffer->start == buffer->end)
        buffer_clear(buffer);
}

void buffer_clear(struct buffer *buffer)
{
    buffer->start = 0;
    buffer->end = 0;
}
