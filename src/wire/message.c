#include "wire/message.h"

#include <string.h>

#include "base/bug.h"
#include "wire/bytes.h"
#include "wire/startup.h"

enum hf_rc message_explain(enum message_rc rc, enum frame_side side, char type, struct hf_err *err)
{
    const struct frame_type *row = frame_type_find(side, type);
    const char *name = row != NULL ? row->name : "unknown";
    const char *who = side == FRAME_FRONTEND ? "client" : "server";
    switch (rc) {
    case MESSAGE_OK:
    case MESSAGE_MORE:
        return HF_OK;
    case MESSAGE_LONG:
        err_set(err, HF_RC_PEER, "54000", "name too long in %s message %s", who, name);
        err_detail(err, "Names of statements and portals may have %d bytes.", MESSAGE_NAME_MAX);
        return HF_RC_PEER;
    case MESSAGE_BAD:
        break;
    }
    return err_set(err, HF_RC_PEER, "08P01", "invalid format of %s message %s", who, name);
}

/* What was read says of the message, if that must end where the reader stands. */
static enum message_rc judge(struct message message, const struct reader *reader)
{
    if (!message.is_whole)
        return MESSAGE_MORE;
    return reader->is_short || reader->left > 0 ? MESSAGE_BAD : MESSAGE_OK;
}

/* A name, and whether it is good so far: one that does not end in view may still be too long. */
static enum message_rc read_name(struct message message, struct reader *reader, struct sv *name)
{
    size_t left = reader->left;
    *name = reader_cstr(reader);
    if (name->size > MESSAGE_NAME_MAX || (reader->is_short && left > MESSAGE_NAME_MAX))
        return MESSAGE_LONG;
    if (reader->is_short)
        return message.is_whole ? MESSAGE_BAD : MESSAGE_MORE;
    return MESSAGE_OK;
}

enum message_rc message_text(struct message message, struct sv *text)
{
    struct reader reader = reader_of(message.body);
    *text = reader_cstr(&reader);
    return judge(message, &reader);
}

enum message_rc message_query(struct message message, struct sv *text)
{
    if (message.is_whole)
        return message_text(message, text);
    *text = sv_take(message.body, sv_find(message.body, '\0'));
    return MESSAGE_MORE;
}

enum message_rc message_parse(struct message message, struct message_parse *parse)
{
    struct reader reader = reader_of(message.body);
    *parse = (struct message_parse){0};
    enum message_rc rc = read_name(message, &reader, &parse->name);
    if (rc != MESSAGE_OK)
        return rc;
    parse->text = reader_cstr(&reader);
    size_t count = reader_u16(&reader);
    parse->types = reader_bytes(&reader, 4 * count);
    return judge(message, &reader);
}

enum message_rc message_bind(struct message message, struct message_bind *bind)
{
    struct reader reader = reader_of(message.body);
    *bind = (struct message_bind){0};
    enum message_rc rc = read_name(message, &reader, &bind->portal);
    return rc == MESSAGE_OK ? read_name(message, &reader, &bind->statement) : rc;
}

enum message_rc message_target(struct message message, struct message_target *target)
{
    struct reader reader = reader_of(message.body);
    *target = (struct message_target){.kind = (char)reader_u8(&reader)};
    if (!reader.is_short && target->kind != 'S' && target->kind != 'P')
        return MESSAGE_BAD;
    enum message_rc rc = read_name(message, &reader, &target->name);
    return rc == MESSAGE_OK ? judge(message, &reader) : rc;
}

enum message_rc message_execute(struct message message, struct message_execute *execute)
{
    struct reader reader = reader_of(message.body);
    *execute = (struct message_execute){0};
    enum message_rc rc = read_name(message, &reader, &execute->portal);
    if (rc != MESSAGE_OK)
        return rc;
    execute->rows_max = reader_u32(&reader);
    return judge(message, &reader);
}

enum message_rc message_sasl(struct message message, struct message_sasl *sasl)
{
    struct reader reader = reader_of(message.body);
    sasl->mechanism = reader_cstr(&reader);
    uint32_t size = reader_u32(&reader);
    /* -1 stands for no data, which is not the same as empty data. */
    sasl->data = size == UINT32_MAX ? sv_from(NULL, 0) : reader_bytes(&reader, size);
    return judge(message, &reader);
}

size_t message_rename(struct sv bytes, struct sv name, struct sv to, char *out, size_t room)
{
    hf_assert(name.size <= MESSAGE_NAME_MAX && to.size <= MESSAGE_NAME_MAX);
    size_t before = (size_t)(name.data - bytes.data);
    size_t size = before + to.size + 1;
    /* No overflow: frame.h gives no message that comes near the end of the range. */
    uint32_t length = bytes_u32(bytes.data + 1) - (uint32_t)name.size + (uint32_t)to.size;
    if (size > room)
        return 0;
    memmove(out, bytes.data, before);
    bytes_put_u32(out + 1, length);
    if (to.size > 0)
        memcpy(out + before, to.data, to.size);
    out[size - 1] = '\0';
    return size;
}

enum message_rc message_auth(struct message message, struct message_auth *auth)
{
    struct reader reader = reader_of(message.body);
    auth->kind = reader_u32(&reader);
    auth->data = reader_bytes(&reader, reader.left);
    return judge(message, &reader);
}

bool message_list_next(struct sv *rest, struct sv *text)
{
    struct reader reader = reader_of(*rest);
    *text = reader_cstr(&reader);
    *rest = sv_from(reader.at, reader.left);
    return !reader.is_short && text->size > 0;
}

enum message_rc message_negotiate(struct message message, struct message_negotiate *negotiate)
{
    struct reader reader = reader_of(message.body);
    negotiate->version = reader_u32(&reader);
    uint32_t count = reader_u32(&reader);
    negotiate->options = sv_from(reader.at, reader.left);
    /* However large the claim: each turn takes a byte at least, or is the last. */
    for (uint32_t i = 0; i < count && !reader.is_short; i++)
        reader_cstr(&reader);
    enum message_rc rc = judge(message, &reader);
    if (rc != MESSAGE_OK)
        *negotiate = (struct message_negotiate){0};
    return rc;
}

enum message_rc message_parameter(struct message message, struct message_parameter *parameter)
{
    struct reader reader = reader_of(message.body);
    parameter->name = reader_cstr(&reader);
    parameter->value = reader_cstr(&reader);
    return judge(message, &reader);
}

enum message_rc message_key(struct message message, struct message_key *key)
{
    struct reader reader = reader_of(message.body);
    key->pid = reader_u32(&reader);
    key->key = reader_bytes(&reader, reader.left);
    enum message_rc rc = judge(message, &reader);
    bool is_odd = key->key.size < STARTUP_CANCEL_KEY_MIN || key->key.size > STARTUP_CANCEL_KEY_MAX;
    return rc == MESSAGE_OK && is_odd ? MESSAGE_BAD : rc;
}

enum message_rc message_ready(struct message message, char *status)
{
    struct reader reader = reader_of(message.body);
    *status = (char)reader_u8(&reader);
    enum message_rc rc = judge(message, &reader);
    bool is_odd = *status != 'I' && *status != 'T' && *status != 'E';
    return rc == MESSAGE_OK && is_odd ? MESSAGE_BAD : rc;
}

bool message_tag_rows(struct sv tag, uint64_t *rows)
{
    size_t start = tag.size;
    while (start > 0 && tag.data[start - 1] != ' ')
        start--;
    int64_t count = 0;
    if (start == 0 || sv_to_int(sv_drop(tag, start), 0, INT64_MAX, &count) != SV_NUMBER_OK)
        return false;
    *rows = (uint64_t)count;
    return true;
}

/* Where a field of this kind belongs; NULL if nobody asks for it. */
static struct sv *field_of(struct message_error *error, uint8_t kind)
{
    switch (kind) {
    case 'C':
        return &error->sqlstate;
    case 'M':
        return &error->message;
    case 'D':
        return &error->detail;
    case 'H':
        return &error->hint;
    case 'R':
        return &error->routine;
    default:
        return NULL;
    }
}

enum message_rc message_error_fields(struct message message, struct message_error *error)
{
    struct reader reader = reader_of(message.body);
    struct sv localised = {0};
    *error = (struct message_error){0};
    for (;;) {
        uint8_t kind = reader_u8(&reader);
        if (kind == 0)
            break;
        struct sv text = reader_cstr(&reader);
        struct sv *field = kind == 'V'   ? &error->severity
                           : kind == 'S' ? &localised
                                         : field_of(error, kind);
        if (field != NULL && field->data == NULL)
            *field = text;
    }
    if (error->severity.data == NULL)
        error->severity = localised;
    return judge(message, &reader);
}

enum message_rc message_notification(struct message message,
                                     struct message_notification *notification)
{
    struct reader reader = reader_of(message.body);
    notification->pid = reader_u32(&reader);
    notification->channel = reader_cstr(&reader);
    notification->payload = reader_cstr(&reader);
    return judge(message, &reader);
}

enum message_rc message_copy(struct message message, struct message_copy *copy)
{
    struct reader reader = reader_of(message.body);
    copy->is_binary = reader_u8(&reader) != 0;
    size_t count = reader_u16(&reader);
    copy->formats = reader_bytes(&reader, 2 * count);
    return judge(message, &reader);
}

enum message_rc message_row(struct message message, struct sv *columns, size_t count)
{
    struct reader reader = reader_of(message.body);
    bool is_odd = reader_u16(&reader) != count;
    for (size_t i = 0; i < count; i++) {
        uint32_t size = reader_u32(&reader);
        columns[i] = size == UINT32_MAX ? sv_from(NULL, 0) : reader_bytes(&reader, size);
    }
    enum message_rc rc = judge(message, &reader);
    return rc == MESSAGE_OK && is_odd ? MESSAGE_BAD : rc;
}
