#include "proxy/relay.h"

#include <string.h>

#include "proxy/client.h"
#include "proxy/cure.h"
#include "proxy/listen.h"
#include "proxy/pool.h"
#include "proxy/prepare.h"
#include "proxy/query_log.h"
#include "proxy/relay_int.h"
#include "proxy/server.h"
#include "proxy/session_state.h"
#include "proxy/sql_prepared.h"
#include "proxy/worker.h"
#include "wire/build.h"
#include "wire/message.h"
#include "wire/prepared.h"

/* Not to be made a part of its caller, the path of a query, which would carry an error's kilobyte
 * of stack from then on. */
#define RARE __attribute__((noinline))

/* ---- from the client ---- */

/* The server's messages can no longer be told apart, as after a COPY that failed among pipelined
 * requests. In session mode they need not be: the connection is this client's, whatever comes, and
 * nobody's after it. */
static bool go_blind(struct server *server)
{
    if (server->client == NULL || server->part->pool->mode != PROXY_POOL_SESSION)
        return false;
    server->is_blind = true;
    server->is_tainted = true;
    server->was_told = true; /* its last words will have passed like all others */
    return true;
}

/* The same in a pool: nothing of what is still to come could be shown to anybody. */
static void lose_track(struct server *server)
{
    struct hf_err err;
    replies_error(&server->replies, &err);
    server_close(server, &err);
}

enum relay_step relay_send_flush(struct server *server, struct relay_run *run)
{
    relay_run_put(run); /* what has gathered stands before it, and may end a message */
    struct buffer *out = stream_out(run->loop, &server->stream, 8);
    if (out != NULL && build_empty(out, 'H') != HF_OK)
        return RELAY_STOP;
    return RELAY_STOP;
}

enum relay_step relay_send_plain(struct client *client, struct relay_run *run,
                                 const struct frame_part *part, char target, uint32_t tag)
{
    struct server *server = client->server;
    struct replies_request request = {.type = part->type, .target = target, .tag = tag};
    switch (replies_send(&server->replies, request)) {
    case REPLIES_OWED:
        if (part->type == 'S' || part->type == 'Q' || part->type == 'F')
            prepare_synced(server);
        server->unnamed_owed += tag == PREPARED_TAG_UNNAMED;
        pool_count_asked(client->part, part->type);
        client->part->stats.server_parses += part->type == 'P';
        if (client->sql != NULL)
            sql_prepared_sent(client, part->type);
        if (client->request_ns == 0)
            client_begin_request(client);
        return RELAY_PASS;
    case REPLIES_FREE:
    case REPLIES_SKIPPED:
        return RELAY_PASS;
    case REPLIES_FULL: /* a server may sit on replies until it is asked for them */
        return relay_send_flush(server, run);
    case REPLIES_REFUSED:
    default:
        if (go_blind(server))
            return RELAY_PASS;
        if (!replies_is_ambiguous(&server->replies))
            return RELAY_STOP; /* the server has ended the connection, and is about to go */
        relay_run_put(run);
        lose_track(server);
        return RELAY_OVER;
    }
}

/* Statement mode: a request waits until the one before it is answered, which may show that it has
 * begun a transaction block. So what follows in a pipeline, a COMMIT say, is not run after all. The
 * end of a copy, and the Sync without which a server does not tell of that end, are no requests.
 * In any mode what follows a RESET or DISCARD waits, as the settings must be brought back first. */
static bool waits_in_turn(const struct client *client, char type)
{
    bool is_usual = (client->server->unusual | client->server->acts) == 0;
    if (is_usual && client->part->pool->mode != PROXY_POOL_STATEMENT)
        return false;
    bool goes_back = (client->server->acts & (ACTS_RESET | ACTS_DISCARD)) != 0;
    bool one_by_one = client->part->pool->mode == PROXY_POOL_STATEMENT ||
                      client->server->is_discarding || (goes_back && client->startup != 0);
    if (client->server->expects != SERVER_EXPECTS_NOT && listen_waits(client->server, type))
        return true;
    return one_by_one && strchr("PBEDCQF", type) != NULL &&
           replies_rest(&client->server->replies) == REPLIES_BUSY;
}

/* DISCARD ALL and RESET ALL go back to the values that a session began with. The connection began
 * with others than its client did, so what the server reports then is not for the client, whose own
 * values are brought there with its next request. */
static bool goes_back_to_startup(const struct client *client, struct sv text)
{
    if (client->startup == 0 && client->settings == 0)
        return false;
    text = sv_trim(text);
    if (sv_ends_with(text, SV(";")))
        text = sv_trim(sv_take(text, text.size - 1));
    return sv_eq_nocase(text, SV("DISCARD ALL")) || sv_eq_nocase(text, SV("RESET ALL"));
}

/* What the text of a Query does to the session is seen to before it goes. */
static enum relay_step see_to_acts(struct client *client, struct relay_run *run,
                                   const struct frame_part *part, struct sv text, uint32_t acts)
{
    enum relay_step step = session_from_client(client, run, part, text, acts);
    if (step != RELAY_PASS || (acts & ACTS_PREPARED) == 0)
        return step;
    return sql_prepared_from_client(client, run, part);
}

/* What goes back to startup waits until nothing else is owed, so that it is known which reports are
 * its own. In a transaction block the server refuses it. Almost no text has acts. */
static enum relay_step send_query(struct client *client, struct relay_run *run,
                                  const struct frame_part *part)
{
    struct server *server = client->server;
    struct sv text;
    enum message_rc rc = message_query(message_of(part), &text);
    if (rc == MESSAGE_MORE && part->bytes.size < LOOP_BLOCK_SIZE / 2 &&
        client->part->pool->mode != PROXY_POOL_SESSION)
        return RELAY_STOP; /* how a text is cut on its way must not matter */
    uint32_t acts = session_acts(client, text, rc != MESSAGE_MORE);
    bool goes_back = false;
    if (acts != 0) {
        goes_back =
            rc == MESSAGE_OK && !server->replies.is_skipping && goes_back_to_startup(client, text);
        enum replies_rest rest = replies_rest(&server->replies);
        if (goes_back && rest == REPLIES_OPEN)
            return relay_send_flush(server, run);
        if (goes_back && rest == REPLIES_BUSY)
            return RELAY_STOP;
        enum relay_step step = see_to_acts(client, run, part, text, acts);
        if (step != RELAY_PASS)
            return step;
    }
    server->is_discarding = goes_back && replies_is_clean(&server->replies);
    prepare_note_unnamed(client); /* which it ends */
    return relay_send_plain(client, run, part, 0, PREPARED_TAG_UNNAMED);
}

/* The first part of a message of a client that has a server connection. */
static enum relay_step from_client(struct client *client, struct relay_run *run,
                                   const struct frame_part *part)
{
    struct message_target target;
    if (client->server->is_blind)
        return RELAY_PASS; /* a Terminate too: the end of the server is the end of the session */
    if (waits_in_turn(client, part->type))
        return RELAY_STOP;
    if (client->listening != NULL) {
        enum relay_step step = listen_prime(client, run, part);
        if (step != RELAY_PASS)
            return step;
    }
    if (client->sql != NULL) {
        enum relay_step step = sql_prepared_before(client, run, part);
        if (step != RELAY_PASS)
            return step;
    }
    switch (part->type) {
    case 'X':
        relay_run_put(run);
        client->is_leaving = 1;
        if (replies_rest(&client->server->replies) == REPLIES_BUSY)
            return RELAY_STOP; /* what it asked before is answered, as PostgreSQL does */
        if (client->server->replies.doubt > 0 && go_blind(client->server))
            return RELAY_PASS; /* whether it is answered is not known: the server's end tells */
        client_close(client, "client said goodbye");
        return RELAY_OVER;
    case 'Q':
        return send_query(client, run, part);
    case 'P':
    case 'B':
    case 'C':
    case 'D':
        if (client->part->pool->mode != PROXY_POOL_SESSION &&
            !replies_is_breaking(&client->server->replies))
            return prepare_from_client(client, run, part);
        if (part->type != 'D')
            return relay_send_plain(client, run, part, 0, 0);
        switch (message_target(message_of(part), &target)) {
        case MESSAGE_OK:
            return relay_send_plain(client, run, part, target.kind, 0);
        case MESSAGE_MORE:
            return RELAY_STOP;
        case MESSAGE_LONG:
        case MESSAGE_BAD:
        default:
            return relay_send_plain(client, run, part, 'S', 0); /* the server says what is wrong */
        }
    default:
        return relay_send_plain(client, run, part, 0, 0);
    }
}

static enum relay_step from_client_noted(struct client *client, struct relay_run *run,
                                         const struct frame_part *part)
{
    struct server *server = client->server;
    if (part->type == 'X' || server->prepared == NULL)
        return from_client(client, run, part);
    cure_note(client, part);
    enum relay_step step = from_client(client, run, part);
    if (step == RELAY_STOP)
        cure_unnote(server);
    return step;
}

/* The same, with what is remembered of statements while they run, and logged. */
static enum relay_step from_client_seen(struct client *client, struct relay_run *run,
                                        const struct frame_part *part)
{
    char type = part->type; /* the part may be gone afterwards */
    uint32_t size = part->size;
    if (client->worker->config->proxy.track_statements)
        statement_note_take(&client->server->note, client->server->note_bytes,
                            sizeof client->server->note_bytes, part);
    if (client->watch == NULL)
        return from_client_noted(client, run, part);
    query_log_look(client, part);
    enum relay_step step = from_client_noted(client, run, part);
    if (step == RELAY_PASS || step == RELAY_DONE)
        query_log_asked(client, type, size);
    return step;
}

/* What a peer says is no protocol. */
static RARE enum relay_step fail_client_frame(struct client *client)
{
    struct hf_err err;
    frame_error(&client->frame, &err);
    client_fail(client, &err);
    return RELAY_OVER;
}

static RARE enum relay_step fail_server_frame(struct server *server)
{
    struct hf_err err;
    frame_error(&server->frame, &err);
    server_close(server, &err);
    return RELAY_OVER;
}

static RARE enum relay_step fail_violation(struct server *server)
{
    struct hf_err err;
    replies_error(&server->replies, &err);
    server_close(server, &err);
    return RELAY_OVER;
}

/* As much as can go to the server connection that the client has. */
static enum relay_step pass_from_client(struct client *client)
{
    struct server *server = client->server;
    struct relay_run run;
    if (server->is_syncing || server->is_asking || server->listen != SERVER_LISTEN_REST)
        return RELAY_STOP;
    if (!prepare_flush(server))
        return RELAY_STOP; /* LOOP_DRAINED follows */
    bool is_empty = !relay_run_begin(&run, client->worker->loop, &client->stream, &server->stream);
    client->part->stats.received += run.view.size;
    if (is_empty && client->assembly == NULL)
        return relay_run_end(&run) ? RELAY_DONE : RELAY_STOP;
    if (client->assembly != NULL) {
        enum relay_step step = prepare_assemble(client, &run);
        if (step != RELAY_DONE || server->pending != NULL)
            return step;
    }
    for (;;) {
        struct frame_part part;
        enum frame_status status = frame_look(&client->frame, sv_drop(run.view, run.size), &part);
        if (status == FRAME_BAD) {
            relay_run_put(&run);
            return fail_client_frame(client);
        }
        enum relay_step step = RELAY_PASS;
        if (status == FRAME_MORE)
            step = RELAY_STOP;
        else if (part.is_first)
            step = from_client_seen(client, &run, &part);
        if (step == RELAY_OVER)
            return RELAY_OVER;
        if (step == RELAY_PASS) {
            frame_take(&client->frame, part.bytes.size);
            run.size += part.bytes.size;
        } else if (step == RELAY_STOP) {
            return relay_run_end(&run) ? RELAY_DONE : RELAY_STOP;
        }
    }
}

/* What an idle client may say without a server connection: the rest of a copy that ended in an
 * error, which PostgreSQL ignores too; a Flush, when nothing is owed; a Sync. */
static enum relay_step answer_alone(struct client *client, const struct frame_part *part)
{
    struct loop *loop = client->part->worker->loop;
    if (part->is_first && part->type == 'S') {
        struct buffer *out = stream_out(loop, &client->stream, RELAY_RESERVE);
        if (out == NULL || build_ready(out, 'I') != HF_OK)
            return RELAY_STOP;
    }
    frame_take(&client->frame, part->bytes.size);
    stream_consume(loop, &client->stream, part->bytes.size);
    return RELAY_DONE;
}

/* A client without a server connection says something. */
static enum relay_step begin_request(struct client *client)
{
    struct frame_part part;
    enum frame_status status = frame_look(&client->frame, stream_view(&client->stream), &part);
    if (status != FRAME_PART)
        return status == FRAME_MORE ? RELAY_STOP : fail_client_frame(client);
    /* Who sends a message in small pieces shall not hold a connection meanwhile. */
    if (!part.is_last && part.bytes.size < LOOP_BLOCK_SIZE / 2)
        return RELAY_STOP;
    switch (part.type) {
    case 'X':
        client_close(client, "client said goodbye");
        return RELAY_OVER;
    case 'c':
    case 'd':
    case 'f':
    case 'H':
    case 'S':
        return answer_alone(client, &part);
    case 'Q':
        if (client->prepared != NULL && client->watch == NULL && sql_prepared_alone(client, &part))
            return RELAY_DONE;
        return client_ask(client) ? RELAY_DONE : RELAY_STOP;
    default:
        return client_ask(client) ? RELAY_DONE : RELAY_STOP;
    }
}

void relay_from_client(struct client *client)
{
    enum relay_step step;
    do {
        if (client->server != NULL)
            step = pass_from_client(client);
        else if (client->state == CLIENT_IDLE)
            step = begin_request(client);
        else if (client->state == CLIENT_REFUSED)
            step = client_skip(client) ? RELAY_DONE : RELAY_STOP;
        else
            step = RELAY_STOP;
    } while (step == RELAY_DONE);
}

/* ---- from the server ---- */

/* Messages that are looked into, and wait in the view until they are whole: all short, but an error
 * may be longer than a view, and then what is in view must do. */
static bool needs_more(const struct server *server, const struct frame_part *part)
{
    char type = part->type;
    bool is_looked_into = type == 'E' || type == 'S' || type == 'Z' || type == 'C' || type == 'N' ||
                          type == 't' || (type == 'D' && server->listen == SERVER_LISTEN_ASKED);
    return is_looked_into && !part->is_last && part->bytes.size < LOOP_BLOCK_SIZE / 2;
}

/* A parameter has changed. The client is told by the message itself if it caused the change. */
static void report(struct server *server, const struct frame_part *part, bool passes)
{
    struct message_parameter parameter;
    if (message_parameter(message_of(part), &parameter) != MESSAGE_OK)
        return;
    server_report(server, parameter.name, parameter.value);
    /* It was promoted, so it may not be what was asked for any more. */
    if (sv_eq(parameter.name, SV("in_hot_standby")) && server->part->database != NULL &&
        server->part->database->target_session_attrs != PROXY_TARGET_ANY)
        server->is_tainted = true;
    if (passes && server->client != NULL)
        client_told(server->client, parameter.name, parameter.value);
}

/* What the accounting must know of a message beside its type. */
static char detail_of(struct server *server, const struct frame_part *part)
{
    char status = 'I';
    struct message_error error;
    if (part->type == 'Z' && message_ready(message_of(part), &status) == MESSAGE_OK)
        return status;
    if (part->type != 'E')
        return 0;
    enum message_rc rc = message_error_fields(message_of(part), &error);
    if (rc != MESSAGE_OK && rc != MESSAGE_MORE)
        return 0;
    server_note_error(server, &error);
    return message_error_is_fatal(&error) ? REPLIES_FATAL : 0;
}

/* Requests that the server will not answer, and replies that we owe the client ourselves. */
static enum relay_step after_reply(struct server *server, struct relay_run *run)
{
    struct replies_dropped dropped;
    while (replies_next_dropped(&server->replies, &dropped))
        prepare_dropped(server, &dropped);
    if (server->client != NULL && server->client->sql != NULL && !sql_prepared_after(server))
        return RELAY_OVER;
    if (!replies_has_local(&server->replies))
        return RELAY_PASS;
    relay_run_put(run);
    bool is_answered = prepare_answer(server);
    relay_run_fit(run);
    return is_answered ? RELAY_PASS : RELAY_STOP;
}

/* Without its nanoseconds, which nobody wants to read. */
static int64_t in_us(int64_t duration_ns)
{
    return duration_ns - duration_ns % HF_US(1);
}

/* What a slow query has waited for. Its text is not logged: there may be secrets in it. */
static RARE void log_slow(const struct server *server, const struct client *client, int64_t from_ns,
                          int64_t now_ns)
{
    const struct worker *worker = client->worker;
    int64_t queue_ns = server->wanted_ns != 0 ? server->since_ns - server->wanted_ns : 0;
    log_emit(worker->proxy->log, LOG_AT_INFO, "slow query",
             log_text("database", client->part->pool->name),
             log_text("role", client->part->pool->role), log_int("pid", client->pid),
             log_int("server_pid", server->pid), log_duration("took", in_us(now_ns - from_ns)),
             log_duration("queue", in_us(queue_ns)),
             log_duration("server", in_us(now_ns - from_ns - queue_ns)));
}

/* The end of a request of the client. What it has pipelined behind begins. */
static void count_ready(struct server *server, struct client *client)
{
    struct pool_stats *stats = &client->part->stats;
    int64_t now_ns = worker_now(client->part->worker);
    int64_t from_ns = server->wanted_ns != 0 ? server->wanted_ns : client->request_ns;
    if (now_ns - from_ns >= client->worker->config->proxy.log_slow_ns)
        log_slow(server, client, from_ns, now_ns);
    if (client->watch != NULL)
        query_log_ready(client, server, now_ns);
    server->wanted_ns = 0;
    stats->queries++;
    stats->query_ns += now_ns - client->request_ns;
    if (server->replies.status == 'I') {
        stats->transactions++;
        stats->transaction_ns += now_ns - client->transaction_ns;
    }
    client_end_request(client, server->replies.status == 'I');
    enum replies_rest rest = replies_rest(&server->replies);
    if (rest == REPLIES_BUSY || rest == REPLIES_OPEN)
        client_begin_request(client);
}

/* Statement mode: what was asked has left a transaction block open. */
static bool is_spanning(const struct server *server)
{
    return server->part->pool->mode == PROXY_POOL_STATEMENT && server->replies.status != 'I';
}

/* So its client has to go: the next statement could be another connection's. */
static void refuse_span(struct client *client)
{
    struct hf_err err;
    err_set(&err, HF_RC_INVALID, "0A000",
            "transaction blocks not allowed in statement pooling mode");
    err_detail(&err, "Each statement may run on another server connection; what this one has begun "
                     "is rolled back.");
    err_hint(&err, "Use pool_mode = transaction, or send all of it as one string of statements.");
    client_fail(client, &err);
}

/* A ReadyForQuery for the client. */
static void end_request(struct server *server, struct relay_run *run)
{
    if (server->is_discarding && server->replies.status == 'I') {
        client_discarded(server->client);
        relay_run_put(run); /* RELAY_RESERVE is for what is told here */
        client_tell(server->client, server->client->greeted);
    }
    server->is_discarding = false;
    server->is_spanning = is_spanning(server);
    if (server->is_curing || server->is_spanning || listen_holds(server)) {
        server->passes = false;
        return;
    }
    if (server->client->listening != NULL && server->replies.status == 'I') {
        relay_run_put(run);
        listen_tell_before(server->client, run);
    }
    count_ready(server, server->client);
}

/* What tells of channels: see listen.h. A connection that is notified and should not be listens by
 * what a function did, which no tag tells. */
static void look_for_channels(struct server *server, const struct frame_part *part,
                              const struct replies_verdict *verdict)
{
    if (server->part->pool->mode == PROXY_POOL_SESSION || server->client == NULL)
        return;
    if (part->type == 'C' && verdict->whose == REPLIES_CLIENT && listen_is_tag(part->bytes))
        listen_completed(server, part);
    else if (part->type == 'D' && server->listen == SERVER_LISTEN_ASKED)
        listen_row(server, part);
    else if (part->type == 'A')
        server->is_listening = true;
}

/* Whether the message is for somebody here, or something else was put in its place. */
static bool is_taken(struct server *server, struct relay_run *run, const struct frame_part *part,
                     const struct replies_verdict *verdict)
{
    bool is_taken = prepare_from_server(server, run, part, verdict);
    if (!is_taken && server->client != NULL && server->client->sql != NULL)
        is_taken = sql_prepared_from_server(server, run, part, verdict);
    if (verdict->whose == REPLIES_OURS && part->type == 'E' &&
        verdict->kind != REPLIES_DESCRIBE_STATEMENT) /* that is a question, and this its answer */
        server->is_failed = true;
    if ((server->acts | server->refused) != 0 && session_from_server(server, run, part, verdict))
        is_taken = true;
    return is_taken;
}

/* The first part of a message of the server. */
static enum relay_step from_server(struct server *server, struct relay_run *run,
                                   const struct frame_part *part)
{
    if (needs_more(server, part) || session_needs_more(server, part))
        return RELAY_STOP;
    if (server->is_blind) {
        server->passes = server->client != NULL;
        return server->passes ? RELAY_PASS : RELAY_DROP;
    }
    char detail = detail_of(server, part);
    struct replies_verdict verdict = replies_receive(&server->replies, part->type, detail);
    if (verdict.action == REPLIES_VIOLATION && go_blind(server)) {
        server->passes = true;
        return RELAY_PASS;
    }
    if (verdict.action == REPLIES_VIOLATION) {
        relay_run_put(run);
        return fail_violation(server);
    }
    /* What comes by itself while the connection is made ready for its client is not the client's;
     * notifications are of whoever listened, which only in session mode is the one that is here. */
    server->passes = verdict.action == REPLIES_FORWARD && server->client != NULL &&
                     !(verdict.kind == REPLIES_NONE && server->is_syncing) &&
                     !(part->type == 'S' && server->is_discarding) &&
                     !(part->type == 'A' && server->part->pool->mode != PROXY_POOL_SESSION);
    if (part->type == 'S')
        report(server, part, server->passes);
    if (detail == REPLIES_FATAL)
        server->was_told = server->passes;
    look_for_channels(server, part, &verdict);
    if (is_taken(server, run, part, &verdict))
        server->passes = false;
    if (server->passes && server->client != NULL && server->client->watch != NULL)
        query_log_answered(server->client, part);
    if (part->type == 'Z' && server->client != NULL && verdict.whose == REPLIES_CLIENT)
        end_request(server, run);
    if (server->passes && verdict.kind != REPLIES_NONE)
        cure_shown(server);
    if (part->type == 'Z' && verdict.whose == REPLIES_OURS)
        server->is_answered = true;
    return server->passes ? RELAY_PASS : RELAY_DROP;
}

/* Most messages of a server are parts of an answer that its client waits for, and nobody wants to
 * know more of them: those at the front of the view pass without from_server(). A tag that may tell
 * of LISTEN or DISCARD is looked at. */
static enum relay_step pass_plain(struct server *server, struct relay_run *run)
{
    const struct client *client = server->client;
    uint32_t tag;
    if (client == NULL || (server->unusual | server->acts | server->refused) != 0 ||
        client->sql != NULL || client->watch != NULL)
        return RELAY_PASS;
    for (;;) {
        struct sv rest = sv_drop(run->view, run->size);
        size_t size = frame_whole(&server->frame, rest);
        if (size == 0 || (rest.data[0] == 'C' && listen_is_tag(rest)) ||
            !replies_pass(&server->replies, rest.data[0], &tag))
            return RELAY_PASS;
        server->passes = true;
        run->size += size;
        cure_shown(server);
        if (tag != 0)
            prepare_ended(server, tag);
        if (replies_has_local(&server->replies))
            return after_reply(server, run);
    }
}

/* One part: accounted for, and put into the run or taken out of the view. */
static enum relay_step take_part(struct server *server, struct relay_run *run,
                                 const struct frame_part *part)
{
    enum relay_step step = server->passes ? RELAY_PASS : RELAY_DROP;
    if (part->is_first)
        step = from_server(server, run, part);
    if (step == RELAY_OVER || step == RELAY_STOP)
        return step;
    frame_take(&server->frame, part->bytes.size);
    if (step == RELAY_PASS) {
        run->size += part->bytes.size;
    } else {
        size_t size = part->bytes.size; /* the part is in the view that is about to change */
        relay_run_put(run);
        relay_run_drop(run, size);
    }
    return server->is_spanning ? RELAY_STOP : after_reply(server, run);
}

/* The connection owes its client nothing: it may serve another one. */
static bool is_done(const struct server *server)
{
    const struct client *client = server->client;
    return client != NULL && client->part->pool->mode != PROXY_POOL_SESSION &&
           server->listen == SERVER_LISTEN_REST && !server->is_syncing && !server->is_asking &&
           !server->is_curing && replies_is_clean(&server->replies) &&
           frame_is_between(&client->frame) && frame_is_between(&server->frame);
}

/* Whether one more ReadyForQuery will come or not is found out as soon as nothing else is owed: a
 * client that has nothing more to say would keep the connection, and one that says DISCARD ALL must
 * know which reports are of that. By a Close of what is never there, as a Query would end the
 * unnamed statement. */
static void settle_doubt(struct server *server)
{
    if (server->part->pool->mode != PROXY_POOL_SESSION && server->replies.status == 'I' &&
        replies_rest(&server->replies) == REPLIES_DOUBTFUL &&
        frame_is_between(&server->client->frame) && server->pending == NULL)
        server_settle(server);
}

/* What has gathered is put; what follows from what the server said is done. */
static void settle(struct server *server, struct client *client)
{
    if (client == NULL) {
        server_clean(server);
        return;
    }
    if (server->is_spanning) {
        server->is_spanning = false;
        refuse_span(client);
        if (server->state == SERVER_CLEANING) /* what is in view already is drained */
            relay_from_server(server);
        return;
    }
    if (replies_is_ambiguous(&server->replies) && !server->is_blind && !go_blind(server)) {
        lose_track(server);
        return;
    }
    if (server->is_syncing && server->is_answered) {
        if (!server_synced(server))
            return;
        relay_from_client(client); /* what it was made ready for, before it is found to be done */
    }
    if (server->is_asking && server->is_answered && !session_answered(server))
        return;
    if (server->is_curing && replies_is_clean(&server->replies) && !cure_replay(server))
        return;
    if (!listen_settle(server))
        return;
    if (server->client == client && is_done(server) && session_lets_go(server))
        server_detach(server);
    else if (server->client == client && server->replies.doubt > 0)
        settle_doubt(server);
    relay_from_client(client);
    if (client->listening != NULL)
        listen_flush(client); /* also one that keeps its connection */
}

void relay_release(struct server *server)
{
    struct client *client = server->client;
    struct buffer *out = stream_out(client->worker->loop, &client->stream, 8);
    if (server->is_held && (out == NULL || build_ready(out, 'I') != HF_OK)) {
        struct hf_err err;
        err_set(&err, HF_RC_LIMIT, "53200", "out of buffers");
        client_fail(client, &err);
        return;
    }
    if (server->is_held)
        count_ready(server, client);
    server->is_held = false;
    if (is_done(server) && session_lets_go(server))
        server_detach(server);
    relay_from_client(client);
    listen_flush(client);
}

/* As much as there is room for. RELAY_DONE: there is more to be done at once. */
static enum relay_step pass_from_server(struct server *server)
{
    struct client *client = server->client;
    struct relay_run run;
    struct stream *to = client != NULL ? &client->stream : NULL;
    bool was_due = replies_has_local(&server->replies);
    if (was_due && !prepare_answer(server))
        return RELAY_DROP;
    bool has_any = relay_run_begin(&run, server->part->worker->loop, &server->stream, to);
    if (client != NULL && client->watch != NULL)
        query_log_room(client, has_any || !run.is_cut);
    if (!has_any) {
        if (relay_run_end(&run))
            return RELAY_DONE;
        return was_due ? RELAY_STOP : RELAY_DROP;
    }
    if (client != NULL)
        client->part->stats.sent += run.view.size;
    enum relay_step step = pass_plain(server, &run);
    while (step == RELAY_PASS) {
        struct frame_part part;
        enum frame_status status = frame_look(&server->frame, sv_drop(run.view, run.size), &part);
        if (status == FRAME_PART) {
            step = take_part(server, &run, &part);
            if (step == RELAY_PASS && run.size < run.view.size)
                step = pass_plain(server, &run);
        } else if (status == FRAME_BAD) {
            relay_run_put(&run);
            return fail_server_frame(server);
        } else {
            step = RELAY_STOP;
        }
    }
    if (step == RELAY_OVER)
        return RELAY_OVER;
    return relay_run_end(&run) ? RELAY_DONE : RELAY_STOP;
}

void relay_from_server(struct server *server)
{
    struct client *client = server->client;
    enum relay_step step;
    do
        step = pass_from_server(server);
    while (step == RELAY_DONE);
    if (step == RELAY_STOP)
        settle(server, client);
}
