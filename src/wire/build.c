#include "wire/build.h"

#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "wire/bytes.h"
#include "wire/startup.h"

/* Most messages fit behind what the buffer holds, so it is not compacted before it must be. */
static struct build begin(struct buffer *buffer, size_t length_at)
{
    struct build build = {
        .buffer = buffer, .room = buffer->size - buffer->end, .length_at = length_at};
    build.start = buffer_reserve(buffer, build.room);
    return build;
}

struct build build_begin(struct buffer *buffer, char type)
{
    struct build build = begin(buffer, 1);
    build_u8(&build, (uint8_t)type);
    build_u32(&build, 0);
    return build;
}

struct build build_begin_startup(struct buffer *buffer)
{
    struct build build = begin(buffer, 0);
    build_u32(&build, 0);
    return build;
}

/* Makes all free room of the buffer ours. What it holds moves to the front, and cannot run over the
 * begun message behind it, which then follows. */
static void compact(struct build *build)
{
    char *begun = build->start;
    build->room = buffer_free(build->buffer);
    build->start = buffer_reserve(build->buffer, build->room);
    if (build->size > 0)
        memmove(build->start, begun, build->size);
}

static void fail(struct build *build, enum hf_rc why)
{
    if (build->failure == HF_OK)
        build->failure = why;
}

void build_bytes(struct build *build, struct sv bytes)
{
    if (bytes.size > build->room - build->size)
        compact(build);
    if (bytes.size > build->room - build->size)
        fail(build, HF_RC_LIMIT);
    if (build->failure != HF_OK || bytes.size == 0)
        return;
    memcpy(build->start + build->size, bytes.data, bytes.size);
    build->size += bytes.size;
}

void build_u8(struct build *build, uint8_t value)
{
    char byte = (char)value;
    build_bytes(build, sv_from(&byte, 1));
}

void build_u16(struct build *build, uint16_t value)
{
    char bytes[2];
    bytes_put_u16(bytes, value);
    build_bytes(build, sv_from(bytes, sizeof bytes));
}

void build_u32(struct build *build, uint32_t value)
{
    char bytes[4];
    bytes_put_u32(bytes, value);
    build_bytes(build, sv_from(bytes, sizeof bytes));
}

void build_cstr(struct build *build, struct sv text)
{
    if (sv_find(text, '\0') < text.size)
        fail(build, HF_RC_INVALID);
    build_bytes(build, text);
    build_u8(build, 0);
}

enum hf_rc build_end(struct build *build)
{
    if (build->failure != HF_OK)
        return build->failure;
    /* No buffer of ours comes near the 2 GB that a length word can say. */
    hf_assert(build->size <= INT32_MAX);
    bytes_put_u32(build->start + build->length_at, (uint32_t)(build->size - build->length_at));
    buffer_commit(build->buffer, build->size);
    return HF_OK;
}

enum hf_rc build_empty(struct buffer *buffer, char type)
{
    struct build build = build_begin(buffer, type);
    return build_end(&build);
}

enum hf_rc build_auth(struct buffer *buffer, enum build_auth kind, struct sv data)
{
    struct build build = build_begin(buffer, 'R');
    build_u32(&build, (uint32_t)kind);
    build_bytes(&build, data);
    return build_end(&build);
}

enum hf_rc build_auth_sasl(struct buffer *buffer, bool with_plus)
{
    struct build build = build_begin(buffer, 'R');
    build_u32(&build, BUILD_AUTH_SASL);
    if (with_plus)
        build_cstr(&build, SV("SCRAM-SHA-256-PLUS"));
    build_cstr(&build, SV("SCRAM-SHA-256"));
    build_cstr(&build, SV(""));
    return build_end(&build);
}

enum hf_rc build_negotiate(struct buffer *buffer, uint32_t version, struct sv parameters)
{
    struct startup_parameter parameter;
    uint32_t count = 0;
    for (struct sv rest = parameters; startup_parameter_next(&rest, &parameter);)
        count += parameter.kind == STARTUP_PROTOCOL;
    struct build build = build_begin(buffer, 'v');
    build_u32(&build, version);
    build_u32(&build, count);
    for (struct sv rest = parameters; startup_parameter_next(&rest, &parameter);)
        if (parameter.kind == STARTUP_PROTOCOL)
            build_cstr(&build, parameter.name);
    return build_end(&build);
}

enum hf_rc build_parameter_status(struct buffer *buffer, struct sv name, struct sv value)
{
    struct build build = build_begin(buffer, 'S');
    build_cstr(&build, name);
    build_cstr(&build, value);
    return build_end(&build);
}

enum hf_rc build_backend_key(struct buffer *buffer, uint32_t pid, struct sv key)
{
    struct build build = build_begin(buffer, 'K');
    build_u32(&build, pid);
    build_bytes(&build, key);
    return build_end(&build);
}

enum hf_rc build_ready(struct buffer *buffer, char status)
{
    struct build build = build_begin(buffer, 'Z');
    build_u8(&build, (uint8_t)status);
    return build_end(&build);
}

/* How many bytes the UTF-8 character at the front of `text` has; 0 if there is none. Overlong
 * forms, surrogates and what lies beyond U+10FFFF are none (RFC 3629, section 4). */
static size_t utf8_size(struct sv text)
{
    const unsigned char *b = (const unsigned char *)text.data;
    if (b[0] < 0x80)
        return 1;
    if (b[0] < 0xc2 || b[0] > 0xf4)
        return 0;
    size_t size = b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : 4;
    if (text.size < size)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((b[i] & 0xc0) != 0x80)
            return 0;
    bool is_outside = (b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xed && b[1] > 0x9f) ||
                      (b[0] == 0xf0 && b[1] < 0x90) || (b[0] == 0xf4 && b[1] > 0x8f);
    return is_outside ? 0 : size;
}

/* One field of an ErrorResponse; an empty text is left out. */
static void put_field(struct build *build, char field, const char *text)
{
    struct sv rest = sv_from_cstr(text);
    if (rest.size == 0)
        return;
    build_u8(build, (uint8_t)field);
    while (rest.size > 0) {
        size_t size = utf8_size(rest);
        build_bytes(build, size > 0 ? sv_take(rest, size) : SV("?"));
        rest = sv_drop(rest, size > 0 ? size : 1);
    }
    build_u8(build, 0);
}

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

enum hf_rc build_error(struct buffer *buffer, const char *severity, const struct hf_err *err)
{
    bool is_error = strcmp(severity, BUILD_ERROR) == 0 || strcmp(severity, BUILD_FATAL) == 0;
    struct build build = build_begin(buffer, is_error ? 'E' : 'N');
    put_field(&build, 'S', severity);
    put_field(&build, 'V', severity);
    put_field(&build, 'C', err->sqlstate);
    put_field(&build, 'M', err->message);
    put_field(&build, 'D', err->detail);
    put_field(&build, 'H', err->hint);
    if (err->file != NULL) {
        char line[16];
        snprintf(line, sizeof line, "%d", err->line);
        put_field(&build, 'F', file_name(err->file));
        put_field(&build, 'L', line);
    }
    build_u8(&build, 0);
    return build_end(&build);
}

enum hf_rc build_startup(struct buffer *buffer, uint32_t version,
                         const struct build_parameter *parameters, size_t count)
{
    struct build build = build_begin_startup(buffer);
    build_u32(&build, version);
    for (size_t i = 0; i < count; i++) {
        /* An empty name would be the end of the list. */
        if (parameters[i].name.size == 0)
            fail(&build, HF_RC_INVALID);
        build_cstr(&build, parameters[i].name);
        build_cstr(&build, parameters[i].value);
    }
    build_u8(&build, 0);
    return build_end(&build);
}

enum hf_rc build_request(struct buffer *buffer, uint32_t code)
{
    struct build build = build_begin_startup(buffer);
    build_u32(&build, code);
    return build_end(&build);
}

enum hf_rc build_cancel(struct buffer *buffer, uint32_t pid, struct sv key)
{
    struct build build = build_begin_startup(buffer);
    build_u32(&build, STARTUP_CODE_CANCEL);
    build_u32(&build, pid);
    build_bytes(&build, key);
    return build_end(&build);
}

enum hf_rc build_password(struct buffer *buffer, struct sv text)
{
    struct build build = build_begin(buffer, 'p');
    build_cstr(&build, text);
    return build_end(&build);
}

enum hf_rc build_sasl_initial(struct buffer *buffer, struct sv mechanism, struct sv data)
{
    struct build build = build_begin(buffer, 'p');
    build_cstr(&build, mechanism);
    build_u32(&build, (uint32_t)data.size);
    build_bytes(&build, data);
    return build_end(&build);
}

enum hf_rc build_sasl_response(struct buffer *buffer, struct sv data)
{
    struct build build = build_begin(buffer, 'p');
    build_bytes(&build, data);
    return build_end(&build);
}

enum hf_rc build_query(struct buffer *buffer, struct sv text)
{
    struct build build = build_begin(buffer, 'Q');
    build_cstr(&build, text);
    return build_end(&build);
}

enum hf_rc build_parse(struct buffer *buffer, struct sv name, struct sv text)
{
    struct build build = build_begin(buffer, 'P');
    build_cstr(&build, name);
    build_cstr(&build, text);
    build_u16(&build, 0);
    return build_end(&build);
}

enum hf_rc build_copy_fail(struct buffer *buffer, struct sv reason)
{
    struct build b = build_begin(buffer, 'f');
    build_cstr(&b, reason);
    return build_end(&b);
}

enum hf_rc build_close_statement(struct buffer *buffer, struct sv name)
{
    struct build build = build_begin(buffer, 'C');
    build_u8(&build, 'S');
    build_cstr(&build, name);
    return build_end(&build);
}
