/* What is said over a connection that asks auth_query: questions and answers. */
#include <string.h>

#include "proxy/auth_ask.h"
#include "proxy/auth_ask_int.h"
#include "proxy/proxy.h"
#include "proxy/worker.h"
#include "wire/build.h"
#include "wire/message.h"

#define COLUMNS_MAX   3
#define SECONDS_MAX   INT64_C(3000000000) /* a hundred years: what is longer is without end */
#define QUESTION_ROOM 2048                /* a query and a name, with what is around them */

static struct buffer *out_of(struct auth_asker *asker, size_t room)
{
    return stream_out(asker->worker->loop, &asker->stream, room);
}

/* ---- questions ---- */

/* The name is a parameter in text form, of the type that the server finds for it. */
static enum hf_rc build_bind(struct buffer *out, struct sv name)
{
    struct build build = build_begin(out, 'B');
    build_cstr(&build, SV("")); /* portal */
    build_cstr(&build, SV("")); /* statement */
    build_u16(&build, 0);       /* formats: text */
    build_u16(&build, 1);
    build_u32(&build, (uint32_t)name.size);
    build_bytes(&build, name);
    build_u16(&build, 0); /* formats of the result: text */
    return build_end(&build);
}

static enum hf_rc build_execute(struct buffer *out)
{
    struct build build = build_begin(out, 'E');
    build_cstr(&build, SV(""));
    build_u32(&build, 0); /* all rows */
    return build_end(&build);
}

static bool ask_one(struct auth_asker *asker, struct asked *asked)
{
    struct buffer *out = out_of(asker, QUESTION_ROOM);
    return out != NULL && build_parse(out, SV(""), sv_from_cstr(asker->place->query)) == HF_OK &&
           build_bind(out, sv_from_cstr(asked->question.user)) == HF_OK &&
           build_execute(out) == HF_OK && build_empty(out, 'S') == HF_OK;
}

void asker_send(struct auth_asker *asker)
{
    const bool was_idle = list_is_empty(&asker->sent);
    while (asker->sent_count < AUTH_PIPELINE) {
        struct list_node *node = list_first(&asker->queue);
        /* Without room for it, it goes when there is: LOOP_DRAINED. */
        if (node == NULL || !ask_one(asker, container_of(node, struct asked, link)))
            break;
        list_remove(node);
        list_push_back(&asker->sent, node);
        asker->sent_count++;
    }
    /* The limit is for the answer that is owed next, and what is asked behind it moves it not. */
    if (was_idle)
        asker_limit(asker);
}

/* ---- answers ---- */

/* Seconds from now as PostgreSQL writes a number, of which the fraction does not count. */
static bool read_seconds(struct sv text, int64_t *seconds)
{
    const struct sv whole = sv_take(text, sv_find(text, '.'));
    if (sv_eq(text, SV("Infinity")) || sv_eq(text, SV("infinity")))
        *seconds = SECONDS_MAX;
    else if (sv_starts_with(text, SV("-")))
        *seconds = 0;
    else if (sv_to_int(whole, 0, SECONDS_MAX, seconds) == SV_NUMBER_RANGE)
        *seconds = SECONDS_MAX;
    else if (sv_to_int(whole, 0, SECONDS_MAX, seconds) != SV_NUMBER_OK)
        return false;
    return true;
}

static enum hf_rc odd_answer(struct asked *asked, const char *what)
{
    asked->has_failed = true;
    return err_set(&asked->err, HF_RC_INVALID, "42P10", "%s", what);
}

/* Name and secret, and perhaps for how long. */
static enum hf_rc take_row(struct auth_asker *asker, struct asked *asked, struct message message)
{
    struct sv columns[COLUMNS_MAX] = {{0}};
    int64_t seconds = SECONDS_MAX;
    if (asked->has_row)
        return odd_answer(asked, "auth_query has given more than one row for a user");
    asked->has_row = true;
    if (message_row(message, columns, COLUMNS_MAX) != MESSAGE_OK &&
        message_row(message, columns, COLUMNS_MAX - 1) != MESSAGE_OK)
        return odd_answer(asked, "auth_query has to give two or three columns");
    if (columns[0].data == NULL || !sv_eq(columns[0], sv_from_cstr(asked->question.user)))
        return odd_answer(asked, "auth_query has answered with another user's name");
    if (columns[2].data != NULL && !read_seconds(columns[2], &seconds))
        return odd_answer(asked, "auth_query's third column is no number of seconds");
    asked->valid_ns =
        seconds == SECONDS_MAX ? HF_NEVER : ns_add(worker_now(asker->worker), HF_SEC(seconds));
    if (columns[1].data == NULL || columns[1].size == 0 || seconds == 0)
        return HF_OK;
    asked->has_secret = secret_set(&asked->secret, columns[1], &asked->err) == HF_OK;
    asked->has_failed = !asked->has_secret;
    return HF_OK;
}

static void take_error(struct asked *asked, struct message message)
{
    struct message_error error = {0};
    char sqlstate[6] = "XX000";
    (void)!message_error_fields(message, &error);
    sv_copy(error.sqlstate, sqlstate, sizeof sqlstate);
    asked->has_failed = true;
    err_set(&asked->err, HF_RC_PEER, sqlstate, SV_FMT, SV_ARG(error.message));
}

/* ReadyForQuery: its first question is answered. */
static void finish(struct auth_asker *asker, struct asked *asked)
{
    const struct sv none = {0};
    asker->sent_count--;
    if (asked->has_failed) {
        secret_wipe(&asked->secret);
        asker_question_failed(asker, asked, &asked->err);
        return;
    }
    asker_answered(asker, asked, asked->has_secret ? secret_reveal(&asked->secret) : none);
}

static void broken(struct auth_asker *asker, const char *why)
{
    struct hf_err err;
    err_set(&err, HF_RC_PEER, "08P01", "%s", why);
    asker_lost(asker, &err);
}

/* False: the connection is no more. */
static bool take_message(struct auth_asker *asker, const struct frame_part *part)
{
    struct list_node *node = list_first(&asker->sent);
    struct asked *asked = node != NULL ? container_of(node, struct asked, link) : NULL;
    if (part->type == 'N' || part->type == 'S' || part->type == 'A')
        return true;
    if (asked == NULL) {
        asker_close(asker); /* the last words of a server that goes, for nobody */
        return false;
    }
    switch (part->type) {
    case 'D':
        take_row(asker, asked, message_of(part));
        return true;
    case 'E':
        take_error(asked, message_of(part));
        return true;
    case 'Z':
        finish(asker, asked);
        return true;
    case '1':
    case '2':
    case 'C':
    case 'I': /* an empty query */
        return true;
    default:
        broken(asker,
               "the server has answered auth_query with a message that does not belong there");
        return false;
    }
}

void asker_heard(struct auth_asker *asker)
{
    struct frame_part part;
    const uint32_t owed = asker->sent_count;
    while (asker->state == ASKER_READY) {
        const enum frame_status status =
            frame_look(&asker->frame, stream_view(&asker->stream), &part);
        if (status == FRAME_BAD) {
            broken(asker, "the server's answer to auth_query makes no sense");
            return;
        }
        if (status == FRAME_MORE)
            break;
        if (!part.is_last) {
            if (part.size <= LOGIN_MESSAGE_MAX)
                break; /* more of it is to come */
            broken(asker, "the server's answer to auth_query is too long");
            return;
        }
        if (!take_message(asker, &part))
            return;
        frame_take(&asker->frame, part.bytes.size);
        stream_consume(asker->worker->loop, &asker->stream, part.bytes.size);
    }
    if (asker->state != ASKER_READY)
        return;
    if (asker->sent_count < owed)
        asker_limit(asker);
    asker_send(asker);
}

void asker_ended(struct auth_asker *asker)
{
    struct hf_err err;
    const char *why = stream_error(&asker->stream);
    asker_heard(asker); /* its last words */
    if (asker->state != ASKER_READY)
        return;
    if (list_is_empty(&asker->sent)) {
        asker_close(asker); /* nobody misses it */
        return;
    }
    err_set(&err, HF_RC_AGAIN, "08001", "could not ask server \"%s\" port %u: %s",
            asker->dial.host.name, (unsigned)asker->dial.host.port,
            why[0] != '\0' ? why : "the server closed the connection");
    asker_lost(asker, &err);
}
