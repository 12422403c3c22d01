#include "proxy/handover.h"

#include <string.h>

static const char magic[] = {'H', 'F', 'T', 'O'};

/* ---- reading ---- */

/* What is left of a packet. A read beyond the end gives zeros and is remembered. */
struct reader {
    struct sv rest;
    bool is_short;
};

static uint64_t take_number(struct reader *reader, size_t size)
{
    uint64_t value = 0;
    if (reader->rest.size < size) {
        reader->is_short = true;
        reader->rest = sv_from(NULL, 0);
        return 0;
    }
    for (size_t i = 0; i < size; i++)
        value = value << 8 | (unsigned char)reader->rest.data[i];
    reader->rest = sv_drop(reader->rest, size);
    return value;
}

/* A text with its size in front of it. */
static void take_text(struct reader *reader, size_t size_max, struct handover *out)
{
    size_t size = (size_t)take_number(reader, 2);
    if (size > size_max || size > reader->rest.size) {
        reader->is_short = true;
        return;
    }
    if (size == 0)
        return;
    memcpy(out->text, reader->rest.data, size);
    out->text_size = (uint16_t)size;
    reader->rest = sv_drop(reader->rest, size);
}

bool handover_read(struct sv packet, struct handover *out)
{
    struct reader reader = {.rest = packet};
    *out = (struct handover){0};
    if (packet.size < sizeof magic + 1 || memcmp(packet.data, magic, sizeof magic) != 0)
        return false;
    reader.rest = sv_drop(packet, sizeof magic);
    uint64_t kind = take_number(&reader, 1);
    if (kind < HANDOVER_HELLO || kind > HANDOVER_REFUSED)
        return false;
    out->kind = (enum handover_kind)kind;
    switch (out->kind) {
    case HANDOVER_HELLO:
        out->version_oldest = (uint16_t)take_number(&reader, 2);
        out->version = (uint16_t)take_number(&reader, 2);
        out->pid = (uint32_t)take_number(&reader, 4);
        break;
    case HANDOVER_SOCKETS:
        out->version = (uint16_t)take_number(&reader, 2);
        out->count = (uint16_t)take_number(&reader, 2);
        out->activated = take_number(&reader, 8);
        out->is_last = take_number(&reader, 1) != 0;
        break;
    case HANDOVER_CANCEL:
        out->pid = (uint32_t)take_number(&reader, 4);
        take_text(&reader, STARTUP_CANCEL_KEY_MAX, out);
        reader.is_short |= out->text_size < STARTUP_CANCEL_KEY_MIN;
        break;
    case HANDOVER_REFUSED:
        take_text(&reader, HANDOVER_REASON_MAX, out);
        break;
    case HANDOVER_YIELDED:
        out->count = (uint16_t)take_number(&reader, 2);
        break;
    case HANDOVER_READY:
    default:
        break;
    }
    reader.is_short |= out->count > HANDOVER_SOCKETS_MAX;
    return !reader.is_short && reader.rest.size == 0;
}

/* ---- writing ---- */

static bool put_number(struct buffer *out, uint64_t value, size_t size)
{
    char bytes[8];
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(value >> 8 * (size - 1 - i));
    return buffer_append(out, sv_from(bytes, size));
}

static bool put_text(struct buffer *out, struct sv text)
{
    return put_number(out, text.size, 2) && buffer_append(out, text);
}

bool handover_write(const struct handover *message, struct buffer *out)
{
    struct sv text = sv_from(message->text, message->text_size);
    if (!buffer_append(out, sv_from(magic, sizeof magic)) || !put_number(out, message->kind, 1))
        return false;
    switch (message->kind) {
    case HANDOVER_HELLO:
        return put_number(out, message->version_oldest, 2) &&
               put_number(out, message->version, 2) && put_number(out, message->pid, 4);
    case HANDOVER_SOCKETS:
        return put_number(out, message->version, 2) && put_number(out, message->count, 2) &&
               put_number(out, message->activated, 8) && put_number(out, message->is_last, 1);
    case HANDOVER_CANCEL:
        return put_number(out, message->pid, 4) && put_text(out, text);
    case HANDOVER_REFUSED:
        return put_text(out, sv_take(text, HANDOVER_REASON_MAX));
    case HANDOVER_YIELDED:
        return put_number(out, message->count, 2);
    case HANDOVER_READY:
    default:
        return true;
    }
}
