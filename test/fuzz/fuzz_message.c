/*
 * Any bytes as the body of a message. The first byte chooses the parser, the second says whether
 * the body is whole and how long a new name is.
 *
 * Checked beside the absence of crashes: views lie within the body; a whole body is never waited
 * for; what is good when whole is not bad when cut; a renamed message has the new name, and nothing
 * else has changed.
 */
#include <string.h>

#include "fuzz.h"
#include "wire/bytes.h"
#include "wire/message.h"

/* All fields of all messages, whatever the parser. */
struct fields {
    struct sv texts[6];
    size_t count;
};

static void keep(struct fields *fields, struct sv text)
{
    fields->texts[fields->count++] = text;
}

static enum message_rc parse_client(unsigned which, struct message message, struct fields *fields)
{
    struct message_parse parse = {0};
    struct message_bind bind = {0};
    struct message_target target = {0};
    struct message_execute execute = {0};
    struct message_sasl sasl = {0};
    struct sv text = {0};
    enum message_rc rc;
    switch (which) {
    case 0:
        rc = message_query(message, &text);
        break;
    case 1:
        rc = message_parse(message, &parse);
        break;
    case 2:
        rc = message_bind(message, &bind);
        break;
    case 3:
        rc = message_target(message, &target);
        break;
    case 4:
        rc = message_execute(message, &execute);
        break;
    case 5:
        rc = message_text(message, &text);
        break;
    default:
        rc = message_sasl(message, &sasl);
        break;
    }
    /* Names first: those are what may be replaced. */
    keep(fields, which == 1   ? parse.name
                 : which == 2 ? bind.statement
                 : which == 3 ? target.name
                              : execute.portal);
    keep(fields, parse.text);
    keep(fields, parse.types);
    keep(fields, bind.portal);
    keep(fields, which == 6 ? sasl.mechanism : text);
    keep(fields, sasl.data);
    return rc;
}

static enum message_rc parse_error(struct message message, struct fields *fields)
{
    struct message_error error;
    enum message_rc rc = message_error_fields(message, &error);
    keep(fields, error.severity);
    keep(fields, error.sqlstate);
    keep(fields, error.message);
    keep(fields, error.detail);
    keep(fields, error.hint);
    keep(fields, error.routine);
    return rc;
}

static enum message_rc parse_lists(unsigned which, struct message message, struct fields *fields)
{
    struct message_auth auth = {0};
    struct message_negotiate negotiate = {0};
    enum message_rc rc =
        which == 7 ? message_auth(message, &auth) : message_negotiate(message, &negotiate);
    struct sv rest = which == 7 ? auth.data : negotiate.options, text;
    keep(fields, rest);
    while (message_list_next(&rest, &text))
        FUZZ_CHECK(text.size > 0);
    return rc;
}

static enum message_rc parse_server(unsigned which, struct message message, struct fields *fields)
{
    struct message_parameter parameter = {0};
    struct message_key key = {0};
    struct message_notification notification = {0};
    struct message_copy copy = {0};
    enum message_rc rc;
    char status;
    switch (which) {
    case 9:
        rc = message_parameter(message, &parameter);
        break;
    case 10:
        rc = message_key(message, &key);
        FUZZ_CHECK(rc != MESSAGE_OK || (key.key.size >= 4 && key.key.size <= 256));
        break;
    case 11:
        rc = message_ready(message, &status);
        FUZZ_CHECK(rc != MESSAGE_OK || strchr("ITE", status) != NULL);
        break;
    case 12:
        rc = message_notification(message, &notification);
        break;
    case 13:
        rc = message_copy(message, &copy);
        break;
    default:
        rc = message_row(message, fields->texts, 6);
        fields->count = 6;
        return rc;
    }
    keep(fields, parameter.name);
    keep(fields, parameter.value);
    keep(fields, key.key);
    keep(fields, notification.channel);
    keep(fields, notification.payload);
    keep(fields, copy.formats);
    return rc;
}

static enum message_rc parse(unsigned which, struct message message, struct fields *fields)
{
    *fields = (struct fields){0};
    enum message_rc rc;
    if (which <= 6)
        rc = parse_client(which, message, fields);
    else if (which <= 8)
        rc = parse_lists(which, message, fields);
    else
        rc = which == 15 ? parse_error(message, fields) : parse_server(which, message, fields);
    for (size_t i = 0; i < fields->count; i++) {
        struct sv text = fields->texts[i];
        FUZZ_CHECK(text.size == 0 ||
                   (text.data >= message.body.data &&
                    text.data + text.size <= message.body.data + message.body.size));
    }
    return rc;
}

/* The message renamed, and what its parser then says. */
static void check_rename(unsigned which, struct sv body, const struct fields *fields, size_t size)
{
    static char bytes[1 << 16], out[(1 << 16) + MESSAGE_NAME_MAX];
    char name[MESSAGE_NAME_MAX];
    struct fields renamed;
    struct sv to = sv_from(name, size);
    memset(name, 'x', sizeof name);
    bytes[0] = 'P';
    bytes_put_u32(bytes + 1, (uint32_t)body.size + 4);
    memcpy(bytes + FRAME_HEADER_SIZE, body.data, body.size);
    struct sv old = fields->texts[0];
    old.data = bytes + FRAME_HEADER_SIZE + (old.data - body.data);
    struct sv whole = sv_from(bytes, body.size + FRAME_HEADER_SIZE);
    size_t before = message_head_size(whole, old);
    size_t head = message_rename(whole, old, to, out, sizeof out);
    FUZZ_CHECK(head == before - old.size + to.size);
    FUZZ_CHECK(message_rename(whole, old, to, out, head - 1) == 0);
    memcpy(out + head, bytes + before, whole.size - before);
    size_t all = head + whole.size - before;
    FUZZ_CHECK(bytes_u32(out + 1) == all - 1);
    struct message message = {sv_from(out + FRAME_HEADER_SIZE, all - FRAME_HEADER_SIZE), true};
    FUZZ_CHECK(parse(which, message, &renamed) == MESSAGE_OK);
    FUZZ_CHECK(sv_eq(renamed.texts[0], to));
    for (size_t i = 1; i < fields->count; i++)
        FUZZ_CHECK(sv_eq(renamed.texts[i], fields->texts[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 60000)
        return 0;
    unsigned which = data[0] % 16;
    bool is_whole = (data[1] & 1) != 0;
    /* Of exactly its size, so that a byte too far is seen. */
    char *exact = malloc(size - 1);
    struct fields fields, cut;
    uint64_t rows;
    FUZZ_CHECK(exact != NULL);
    memcpy(exact, data + 2, size - 2);
    struct sv body = sv_from(exact, size - 2);
    enum message_rc rc = parse(which, (struct message){body, is_whole}, &fields);
    FUZZ_CHECK(!is_whole || rc != MESSAGE_MORE);
    for (size_t end = 0; end < body.size && rc == MESSAGE_OK && end < 512; end++) {
        enum message_rc early = parse(which, (struct message){sv_take(body, end), false}, &cut);
        FUZZ_CHECK(early == MESSAGE_MORE || early == MESSAGE_OK);
    }
    if (rc == MESSAGE_OK && is_whole && which >= 1 && which <= 4)
        check_rename(which, body, &fields, data[1] >> 1);
    message_tag_rows(body, &rows);
    free(exact);
    return 0;
}
