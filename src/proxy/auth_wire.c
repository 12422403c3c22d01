/* What is said over a connection that asks auth_query: the login, questions, answers. */
#include <errno.h>
#include <string.h>

#include "proxy/auth_ask.h"
#include "proxy/auth_ask_int.h"
#include "proxy/proxy.h"
#include "proxy/secure.h"
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
    asker_failed(asker, (struct outcome){.code = OUTCOME_PROTOCOL}, &err);
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

static void receive(struct auth_asker *asker)
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

/* ---- logging in ---- */

static void secure(struct auth_asker *asker)
{
    if (!secure_server(asker->worker, &asker->stream, &asker->host,
                       (enum proxy_sslmode)asker->config.sslmode, &asker->login.err))
        asker_failed(asker, (struct outcome){.code = OUTCOME_TLS_FAILED}, &asker->login.err);
}

/* Another connection to the same server, with TLS instead of without or the other way round. */
static bool try_again(struct auth_asker *asker)
{
    const enum login_again again = login_again(&asker->login);
    if (again == LOGIN_AGAIN_NO || asker->is_second)
        return false;
    asker->config.sslmode = again == LOGIN_AGAIN_PLAIN ? LOGIN_SSL_DISABLE : LOGIN_SSL_REQUIRE;
    asker->is_second = true;
    asker->is_between = true;
    stream_close(asker->worker->loop, &asker->stream, false);
    return true;
}

static void login_failed(struct auth_asker *asker, const struct login_event *event)
{
    struct hf_err err = asker->login.err;
    struct outcome outcome = {.code = OUTCOME_PROTOCOL};
    if (try_again(asker))
        return;
    if (event->message.size > 0)
        outcome =
            (struct outcome){.code = OUTCOME_SQLSTATE, .sqlstate = sqlstate_pack(err.sqlstate)};
    asker_failed(asker, outcome, &err);
}

/* What an event leads to. True: feed on. */
static bool step(struct auth_asker *asker, const struct login_event *event)
{
    if (event->kind == LOGIN_FAILED) {
        login_failed(asker, event);
        return false;
    }
    stream_consume(asker->worker->loop, &asker->stream, event->consumed);
    switch (event->kind) {
    case LOGIN_START_TLS:
        secure(asker);
        return false;
    case LOGIN_WORK:
        asker->is_working = true;
        worker_timer(asker->worker, &asker->timer, worker_now(asker->worker));
        return false;
    case LOGIN_READY:
        asker_ready(asker);
        return false;
    case LOGIN_MORE:
        return false;
    case LOGIN_NO_TLS:
    case LOGIN_NEGOTIATED:
    case LOGIN_NOTICE:
    case LOGIN_PARAMETER:
    case LOGIN_KEY:
    case LOGIN_FAILED:
    default:
        return true;
    }
}

static void feed(struct auth_asker *asker)
{
    struct login_event event;
    struct buffer *out;
    if (asker->is_working)
        return;
    do {
        out = out_of(asker, STARTUP_SIZE_MAX);
        if (out == NULL)
            return;
        login_feed(&asker->login, stream_view(&asker->stream), out, &event);
    } while (step(asker, &event));
}

void asker_work(struct auth_asker *asker)
{
    struct login_event event;
    struct buffer *out = out_of(asker, 1024);
    if (out == NULL) {
        worker_timer(asker->worker, &asker->timer, worker_now(asker->worker) + HF_MS(1));
        return;
    }
    asker->is_working = false;
    worker_timer(asker->worker, &asker->timer, asker->due_ns);
    login_work(&asker->login, out, &event);
    event.consumed = 0;
    if (step(asker, &event) || asker->state == ASKER_LOGIN)
        feed(asker); /* what it has said meanwhile */
}

static void begin_login(struct auth_asker *asker)
{
    struct buffer *out = out_of(asker, STARTUP_SIZE_MAX);
    asker->state = ASKER_LOGIN;
    if (out == NULL || login_begin(&asker->login, &asker->config, out) != HF_OK) {
        if (out == NULL)
            err_set(&asker->login.err, HF_RC_LIMIT, "53200", "out of buffers");
        asker_failed(asker, (struct outcome){.code = OUTCOME_PROTOCOL}, &asker->login.err);
    }
}

static void encrypted(struct auth_asker *asker)
{
    struct scram_binding binding = {0};
    struct buffer *out = out_of(asker, STARTUP_SIZE_MAX);
    secure_binding(&asker->stream, &binding);
    if (out == NULL || login_encrypted(&asker->login, &binding, out) != HF_OK)
        asker_failed(asker, (struct outcome){.code = OUTCOME_TLS_FAILED}, &asker->login.err);
}

/* ---- events ---- */

static void ended(struct auth_asker *asker, const struct loop_event *event)
{
    struct hf_err err;
    struct outcome outcome = {.code = OUTCOME_CONN_LOST};
    const char *why = stream_error(&asker->stream);
    if (asker->state == ASKER_LOGIN && try_again(asker))
        return;
    if (asker->state == ASKER_READY && list_is_empty(&asker->sent)) {
        asker_close(asker); /* nobody misses it */
        return;
    }
    if (asker->state == ASKER_CONNECTING)
        outcome.code = event->error == ECONNREFUSED ? OUTCOME_CONNECT_REFUSED : OUTCOME_UNREACHABLE;
    err_set(&err, HF_RC_AGAIN, "08001", "could not ask server \"%s\" port %u: %s", asker->host.name,
            (unsigned)asker->host.port, why[0] != '\0' ? why : "the server closed the connection");
    asker_failed(asker, outcome, &err);
}

static void heard(struct auth_asker *asker)
{
    if (asker->state == ASKER_LOGIN)
        feed(asker);
    else if (asker->state == ASKER_READY)
        receive(asker);
}

void auth_ask_event(struct stream *stream, const struct loop_event *event)
{
    struct auth_asker *asker = container_of(stream, struct auth_asker, stream);
    if (event->kind == LOOP_GONE) {
        asker_gone(asker);
        return;
    }
    if (asker->is_between || asker->state == ASKER_CLOSING)
        return;
    switch (event->kind) {
    case LOOP_CONNECTED:
        begin_login(asker);
        return;
    case LOOP_SECURED:
        encrypted(asker);
        return;
    case LOOP_RECEIVED:
    case LOOP_DRAINED:
        heard(asker);
        return;
    case LOOP_ENDED:
        heard(asker);
        if (asker->state != ASKER_CLOSING && asker->state != ASKER_RESTING && !asker->is_between)
            ended(asker, event);
        return;
    case LOOP_ACCEPTED:
    case LOOP_LEFT:
    case LOOP_GONE:
    case LOOP_POSTED:
    default:
        return;
    }
}
