#include "proxy/admin_say.h"

#include <string.h>

#include "base/buffer.h"
#include "proxy/admin_show.h"
#include "proxy/client.h"
#include "proxy/worker.h"
#include "wire/build.h"
#include "wire/bytes.h"

#define MESSAGE_SIZE 4096 /* of anything but rows */

static bool out_of_memory(struct client *client)
{
    client_close(client, "out of memory for the console");
    return false;
}

/* False: no memory, the client is gone. */
static bool say_bytes(struct client *client, const void *data, size_t size)
{
    struct mem *mem = client->worker->proxy->mem;
    struct admin_session *session = client->console;
    struct sv bytes = sv_from(data, size);
    if (session == NULL) /* an error has closed it */
        return false;
    if (session->output == NULL)
        bytes = sv_drop(bytes, stream_send(client->worker->loop, &client->stream, bytes));
    if (bytes.size == 0)
        return true;
    size_t kept = session->output_size - session->output_sent;
    char *larger = mem_alloc(mem, kept + bytes.size);
    if (larger == NULL)
        return out_of_memory(client);
    if (session->output != NULL)
        memcpy(larger, session->output + session->output_sent, kept);
    memcpy(larger + kept, bytes.data, bytes.size);
    mem_free(mem, session->output);
    session->output = larger;
    session->output_size = kept + bytes.size;
    session->output_sent = 0;
    return true;
}

bool say_flush(struct client *client)
{
    struct admin_session *session = client->console;
    if (session->output == NULL)
        return true;
    struct sv rest = sv_from(session->output + session->output_sent,
                             session->output_size - session->output_sent);
    session->output_sent += stream_send(client->worker->loop, &client->stream, rest);
    if (session->output_sent < session->output_size)
        return false;
    mem_free(client->worker->proxy->mem, session->output);
    session->output = NULL;
    session->output_size = session->output_sent = 0;
    return true;
}

static void say_message(struct client *client, enum hf_rc rc, const struct buffer *out)
{
    if (rc == HF_OK)
        say_bytes(client, buffer_view(out).data, buffer_held(out));
    else
        client_close(client, "a message of the console is too long");
}

static char status_of(const struct admin_session *session)
{
    return session->is_in_block ? 'T' : 'I';
}

/* ---- rows ---- */

static uint16_t width_of(enum admin_type type)
{
    return type == ADMIN_INT4 ? 4 : type == ADMIN_INT8 ? 8 : UINT16_MAX;
}

void say_columns(struct client *client, const struct admin_column *columns)
{
    char bytes[MESSAGE_SIZE];
    struct buffer out;
    uint16_t count = 0;
    if (client->console == NULL)
        return;
    while (columns[count].name != NULL)
        count++;
    buffer_init(&out, bytes, sizeof bytes);
    struct build row = build_begin(&out, 'T');
    build_u16(&row, count);
    for (uint16_t i = 0; i < count; i++) {
        build_cstr(&row, sv_from_cstr(columns[i].name));
        build_u32(&row, 0);
        build_u16(&row, 0);
        build_u32(&row, (uint32_t)columns[i].type);
        build_u16(&row, width_of(columns[i].type));
        build_u32(&row, UINT32_MAX);
        build_u16(&row, client->console->is_binary);
    }
    say_message(client, build_end(&row), &out);
}

/* A whole number as PostgreSQL sends a numeric: digits of base 10000, the first one's weight. */
static void build_numeric(struct build *row, int64_t value)
{
    uint16_t digits[5];
    size_t count = 0;
    uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
    for (; rest > 0; rest /= 10000)
        digits[count++] = (uint16_t)(rest % 10000);
    build_u32(row, (uint32_t)(8 + 2 * count));
    build_u16(row, (uint16_t)count);
    build_u16(row, (uint16_t)(count > 0 ? count - 1 : 0));
    build_u16(row, value < 0 ? 0x4000 : 0);
    build_u16(row, 0);
    while (count > 0)
        build_u16(row, digits[--count]);
}

static void build_cell(struct build *row, enum admin_type type, struct sv text)
{
    int64_t value = 0;
    bool is_number = type == ADMIN_INT4 || type == ADMIN_INT8 || type == ADMIN_NUMERIC;
    if (!is_number || sv_to_int(text, INT64_MIN, INT64_MAX, &value) != SV_NUMBER_OK) {
        build_u32(row, (uint32_t)text.size);
        build_bytes(row, text);
    } else if (type == ADMIN_NUMERIC) {
        build_numeric(row, value);
    } else {
        build_u32(row, type == ADMIN_INT4 ? 4 : 8);
        if (type == ADMIN_INT8)
            build_u32(row, (uint32_t)((uint64_t)value >> 32));
        build_u32(row, (uint32_t)value);
    }
}

/* The row that begins with `bytes`, in binary form; returns what is behind it. */
static struct sv say_binary_row(struct client *client, struct sv bytes)
{
    char block[MESSAGE_SIZE * 16];
    struct buffer out;
    const struct admin_column *columns = client->console->columns;
    uint32_t length = bytes_u32(bytes.data + 1);
    uint16_t count = bytes_u16(bytes.data + 5);
    struct sv cells = sv_drop(bytes, 7);
    buffer_init(&out, block, sizeof block);
    struct build row = build_begin(&out, 'D');
    build_u16(&row, count);
    for (uint16_t i = 0; i < count; i++) {
        uint32_t size = bytes_u32(cells.data);
        cells = sv_drop(cells, 4);
        if (size == UINT32_MAX) {
            build_u32(&row, UINT32_MAX);
            continue;
        }
        build_cell(&row, columns[i].type, sv_take(cells, size));
        cells = sv_drop(cells, size);
    }
    say_message(client, build_end(&row), &out);
    return sv_drop(bytes, 1 + (size_t)length);
}

void say_rows(struct client *client, struct gather *gather)
{
    if (client->console == NULL || gather->text.block == NULL)
        return;
    struct sv bytes = buffer_view(&gather->text);
    if (!client->console->is_binary)
        say_bytes(client, bytes.data, bytes.size);
    while (client->console != NULL && client->console->is_binary && bytes.size > 0)
        bytes = say_binary_row(client, bytes);
    buffer_clear(&gather->text);
}

/* ---- ends ---- */

void say_end(struct client *client, const char *tag)
{
    char bytes[MESSAGE_SIZE];
    struct buffer out;
    struct admin_session *session = client->console;
    if (session == NULL)
        return;
    buffer_init(&out, bytes, sizeof bytes);
    struct build end = build_begin(&out, tag[0] != '\0' ? 'C' : 'I');
    if (tag[0] != '\0')
        build_cstr(&end, sv_from_cstr(tag));
    enum hf_rc rc = build_end(&end);
    if (rc == HF_OK && !session->is_extended)
        rc = build_ready(&out, status_of(session));
    session->is_asking = false;
    session->wait = ADMIN_WAIT_NONE;
    say_message(client, rc, &out);
}

void say_error(struct client *client, const struct hf_err *err)
{
    char bytes[MESSAGE_SIZE];
    struct buffer out;
    struct admin_session *session = client->console;
    if (session == NULL)
        return;
    buffer_init(&out, bytes, sizeof bytes);
    enum hf_rc rc = build_error(&out, BUILD_ERROR, err);
    if (rc == HF_OK && !session->is_extended)
        rc = build_ready(&out, status_of(session));
    session->is_asking = false;
    session->wait = ADMIN_WAIT_NONE;
    session->skips = session->is_extended;
    say_message(client, rc, &out);
}

void say_notice(struct client *client, const char *text)
{
    char bytes[MESSAGE_SIZE];
    struct buffer out;
    struct hf_err err;
    err_set(&err, HF_RC_INVALID, "00000", "%s", text);
    buffer_init(&out, bytes, sizeof bytes);
    say_message(client, build_error(&out, BUILD_NOTICE, &err), &out);
}

void say_empty(struct client *client, char type)
{
    char bytes[16];
    struct buffer out;
    if (client->console == NULL)
        return;
    buffer_init(&out, bytes, sizeof bytes);
    enum hf_rc rc =
        type == 'Z' ? build_ready(&out, status_of(client->console)) : build_empty(&out, type);
    say_message(client, rc, &out);
}

void say_no_parameters(struct client *client)
{
    char bytes[16];
    struct buffer out;
    buffer_init(&out, bytes, sizeof bytes);
    struct build types = build_begin(&out, 't');
    build_u16(&types, 0);
    say_message(client, build_end(&types), &out);
}
