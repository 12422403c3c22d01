#include "proxy/prepare.h"

#include <string.h>

#include "base/bug.h"
#include "proxy/client.h"
#include "proxy/cure.h"
#include "proxy/pool.h"
#include "proxy/prepare_int.h"
#include "proxy/server.h"
#include "proxy/session_state.h"
#include "proxy/sql_prepared.h"
#include "proxy/worker.h"
#include "wire/build.h"
#include "wire/message.h"
#include "wire/prepared.h"

#define NAMES_MAX    10000 /* of one client */
#define REQUESTS_MAX 4     /* that one message may become */

#define ANSWER_SIZE 8 /* room for a ParseComplete or a CloseComplete */

/* What is on its way to the server ahead of everything else, as there was no room for all of it. */
struct pending {
    size_t size;
    size_t sent;
    char bytes[];
};

static struct proxy *proxy_of(const struct server *server)
{
    return server->part->worker->proxy;
}

struct prepared prepare_meet(struct server *server, struct client *client)
{
    struct proxy *proxy = proxy_of(server);
    return (struct prepared){
        .client = client != NULL ? client->prepared : NULL,
        .server = server->prepared,
        .store = &proxy->statements,
        .replies = &server->replies,
        .key = &proxy->hash_key,
        .names_max = NAMES_MAX,
    };
}

/* ---- sending more than there is room for ---- */

bool prepare_flush(struct server *server)
{
    struct pending *pending = server->pending;
    struct worker *worker = server->part->worker;
    if (pending == NULL)
        return true;
    struct sv rest = sv_from(pending->bytes + pending->sent, pending->size - pending->sent);
    pending->sent += stream_send(worker->loop, &server->stream, rest);
    if (pending->sent < pending->size)
        return false;
    mem_free(worker->proxy->mem, pending);
    server->pending = NULL;
    return true;
}

bool prepare_emit(struct server *server, struct sv bytes)
{
    struct worker *worker = server->part->worker;
    struct pending *before = server->pending;
    if (before == NULL)
        bytes = sv_drop(bytes, stream_send(worker->loop, &server->stream, bytes));
    if (bytes.size == 0)
        return true;
    size_t kept = before != NULL ? before->size - before->sent : 0;
    struct pending *pending = mem_alloc(worker->proxy->mem, sizeof *pending + kept + bytes.size);
    if (pending == NULL)
        return false;
    if (before != NULL)
        memcpy(pending->bytes, before->bytes + before->sent, kept);
    memcpy(pending->bytes + kept, bytes.data, bytes.size);
    pending->size = kept + bytes.size;
    mem_free(worker->proxy->mem, before);
    server->pending = pending;
    return true;
}

/* ---- memory ---- */

static bool grow_store(struct proxy *proxy)
{
    struct statements_want want = statements_want(&proxy->statements);
    void *memory = mem_alloc(proxy->mem, want.size);
    if (memory == NULL)
        return false;
    mem_free(proxy->mem, statements_give(&proxy->statements, memory, want));
    return true;
}

static bool grow_names(struct client *client, const struct prepared_plan *plan)
{
    struct proxy *proxy = client->worker->proxy;
    struct prepared_client *larger = mem_alloc(proxy->mem, plan->size);
    if (larger == NULL)
        return false;
    prepared_client_init(larger, plan->names, &proxy->hash_key, client->prepared);
    mem_free(proxy->mem, client->prepared);
    client->prepared = larger;
    return true;
}

static bool grow_ahead(struct worker *worker, size_t size)
{
    void *memory = mem_alloc(worker->proxy->mem, size);
    if (memory == NULL)
        return false;
    mem_free(worker->proxy->mem, worker->ahead.block);
    buffer_init(&worker->ahead, memory, size);
    return true;
}

/* ---- deciding ---- */

/* A message, as far as it has to be known. */
struct asked {
    char type;
    uint32_t acts;   /* of a Parse's text (sql/acts.h) */
    struct sv bytes; /* from its header on */
    struct sv name;  /* that may have to be replaced: a view into them */
    struct message_parse parse;
    struct message_bind bind;
    struct message_target target;
};

static enum prepared_do decide_once(const struct asked *asked, struct prepared *prepared,
                                    struct prepared_plan *plan)
{
    switch (asked->type) {
    case 'P':
        return prepared_parse(prepared, &asked->parse, plan);
    case 'B':
        return prepared_bind(prepared, &asked->bind, plan);
    case 'D':
        return prepared_describe(prepared, &asked->target, plan);
    case 'C':
    default:
        return prepared_close(prepared, &asked->target, plan);
    }
}

/* Gives what is asked for until there is a decision. PREPARED_GROW_NAMES: there is no memory. */
static enum prepared_do decide(struct client *client, const struct asked *asked,
                               struct prepared_plan *plan)
{
    struct worker *worker = client->worker;
    struct proxy *proxy = worker->proxy;
    bool is_locked = asked->type == 'P', is_good = true;
    for (;;) {
        struct prepared prepared = prepare_meet(client->server, client);
        buffer_clear(&worker->ahead);
        prepared.ahead = &worker->ahead;
        prepared.is_noted = (asked->acts & (ACTS_CHANGE | ACTS_LISTEN)) != 0;
        prepared.store = is_locked ? &proxy->statements : NULL;
        if (is_locked)
            pthread_mutex_lock(&proxy->lock);
        enum prepared_do answer = decide_once(asked, &prepared, plan);
        if (answer == PREPARED_GROW_STORE)
            is_good = grow_store(proxy);
        if (is_locked)
            pthread_mutex_unlock(&proxy->lock);
        if (answer == PREPARED_STORE)
            is_locked = true;
        else if (answer == PREPARED_GROW_NAMES)
            is_good = grow_names(client, plan);
        else if (answer == PREPARED_ROOM)
            is_good = grow_ahead(worker, plan->size);
        else if (answer != PREPARED_GROW_STORE)
            return answer;
        if (!is_good)
            return PREPARED_GROW_NAMES;
    }
}

/* ---- for SQL ---- */

struct buffer *prepare_scratch(struct worker *worker, size_t size)
{
    buffer_clear(&worker->ahead);
    if (buffer_free(&worker->ahead) < size && !grow_ahead(worker, size))
        return NULL;
    return &worker->ahead;
}

uint32_t prepare_text(struct client *client, struct sv text, struct sv types)
{
    struct proxy *proxy = client->worker->proxy;
    enum statements_rc rc;
    uint32_t id = STATEMENTS_NONE;
    pthread_mutex_lock(&proxy->lock);
    do
        rc = statements_add(&proxy->statements, text, types, &id);
    while (rc == STATEMENTS_WANT && grow_store(proxy));
    if (rc == STATEMENTS_OK && (session_acts(client, text, true) & ACTS_CHANGE) != 0)
        statements_note(&proxy->statements, id);
    pthread_mutex_unlock(&proxy->lock);
    return rc == STATEMENTS_OK ? id : STATEMENTS_NONE;
}

enum prepare_room prepare_name(struct client *client, struct sv name)
{
    struct prepared_plan plan;
    if (client->prepared != NULL && client->prepared->count >= NAMES_MAX)
        return PREPARE_TOO_MANY;
    if (prepared_client_fits(client->prepared, name))
        return PREPARE_HAS_ROOM;
    plan.names = prepared_client_want(client->prepared, name);
    plan.size = prepared_client_size(plan.names);
    return grow_names(client, &plan) ? PREPARE_HAS_ROOM : PREPARE_NO_MEMORY;
}

/* Accounts for what the plan says, and sends what goes ahead. False: the connection is over. */
static bool carry_out(struct server *server, const struct prepared_plan *plan)
{
    struct worker *worker = server->part->worker;
    for (uint8_t i = 0; i < plan->count; i++) {
        enum replies_sent sent = replies_send(&server->replies, plan->requests[i]);
        if (sent == REPLIES_REFUSED || sent == REPLIES_FULL)
            return false;
        server->unnamed_owed += plan->requests[i].tag == PREPARED_TAG_UNNAMED;
        server->part->stats.server_parses +=
            plan->requests[i].type == 'P' && plan->requests[i].whose != REPLIES_LOCAL;
    }
    return prepare_emit(server, buffer_view(&worker->ahead));
}

enum relay_step prepare_out_of_memory(struct client *client)
{
    struct hf_err err;
    err_set(&err, HF_RC_LIMIT, "53200", "out of memory for prepared statements");
    client_fail(client, &err);
    return RELAY_OVER;
}

/* A statement whose text may change the session is used; values in `body` may be names. */
static void note_use(struct client *client, uint32_t tag, struct sv body)
{
    struct proxy *proxy = client->worker->proxy;
    pthread_mutex_lock(&proxy->lock);
    struct sv text = statements_get(&proxy->statements, tag & ~PREPARED_TAG_USE).text;
    session_note(client, text, session_acts(client, text, true), body);
    pthread_mutex_unlock(&proxy->lock);
}

enum prepare_found prepare_provide(struct client *client, struct sv name, enum replies_whose whose,
                                   struct prepared_plan *plan)
{
    struct asked asked = {.type = 'D', .target = {.kind = 'S', .name = name}};
    struct prepared prepared = prepare_meet(client->server, client);
    if (!prepared_is_defined(&prepared, name))
        return PREPARE_UNKNOWN;
    enum prepared_do todo = decide(client, &asked, plan);
    if (todo != PREPARED_RENAME)
        return todo == PREPARED_GROW_NAMES ? PREPARE_FAILED : PREPARE_NO_ROOM;
    plan->count--; /* the Describe, which is not sent: the statement is all that is wanted */
    for (uint8_t i = 0; i < plan->count; i++)
        plan->requests[i].whose = whose;
    if (plan->is_noted)
        note_use(client, plan->requests[plan->count].tag, SV(""));
    return carry_out(client->server, plan) ? PREPARE_FOUND : PREPARE_FAILED;
}

/* There is room for whatever becomes of a message, and the connection is not over: then nothing of
 * what the client says is looked at any more. */
static bool takes_requests(const struct server *server)
{
    return replies_room(&server->replies) >= REQUESTS_MAX &&
           replies_rest(&server->replies) != REPLIES_OVER;
}

enum relay_step prepare_wait(struct server *server, struct relay_run *run)
{
    if (replies_rest(&server->replies) == REPLIES_OPEN)
        return relay_send_flush(server, run);
    return RELAY_STOP;
}

/* The head of the message with another name. Returns how much of the message it replaces, 0 if
 * there is no memory. */
static size_t emit_renamed(struct server *server, const struct asked *asked,
                           const struct prepared_plan *plan)
{
    char head[FRAME_HEADER_SIZE + 2 * MESSAGE_NAME_MAX + 16];
    size_t size =
        message_rename(asked->bytes, asked->name, prepared_plan_name(plan), head, sizeof head);
    if (size == 0 || !prepare_emit(server, sv_from(head, size)))
        return 0;
    return message_head_size(asked->bytes, asked->name);
}

/* ---- messages of the client ---- */

/* What there is to know of the message. MESSAGE_MORE: not yet. */
static enum message_rc understand(struct message message, struct sv bytes, char type,
                                  struct asked *asked)
{
    enum message_rc rc;
    *asked = (struct asked){.type = type, .bytes = bytes};
    switch (type) {
    case 'P':
        rc = message_parse(message, &asked->parse);
        asked->name = asked->parse.name;
        break;
    case 'B':
        rc = message_bind(message, &asked->bind);
        asked->name = asked->bind.statement;
        break;
    default:
        rc = message_target(message, &asked->target);
        asked->name = asked->target.name;
        break;
    }
    return rc;
}

/* A Parse whose name is in view. */
static bool is_unnamed_parse(struct message message)
{
    return message.body.size > 0 && message.body.data[0] == '\0';
}

struct assembly *prepare_new_assembly(struct client *client, size_t size)
{
    struct mem *mem = client->worker->proxy->mem;
    struct assembly *assembly = mem_alloc(mem, sizeof *assembly + size);
    if (assembly == NULL)
        return NULL;
    *assembly = (struct assembly){.size = size, .filled = size};
    mem_free(mem, client->assembly);
    client->assembly = assembly;
    return assembly;
}

void prepare_drop_assembly(struct client *client)
{
    mem_free(client->worker->proxy->mem, client->assembly);
    client->assembly = NULL;
}

enum relay_step prepare_begin_assembly(struct client *client, struct relay_run *run,
                                       const struct frame_part *part)
{
    size_t size = part->bytes.size;
    int64_t most = client->worker->config->limits.prepared_memory;
    if ((int64_t)part->size > most) {
        struct hf_err err;
        err_set(&err, HF_RC_LIMIT, "54000", "prepared statement is too long");
        err_detail(&err, "It has %u bytes; limits.prepared_memory is %lld.", part->size,
                   (long long)most);
        client_fail(client, &err);
        return RELAY_OVER;
    }
    if (prepare_new_assembly(client, part->size) == NULL)
        return prepare_out_of_memory(client);
    client->assembly->filled = size;
    memcpy(client->assembly->bytes, part->bytes.data, size);
    relay_run_put(run);
    frame_take(&client->frame, size);
    relay_run_drop(run, size);
    client_watch(client); /* who does not send the rest of it must not keep a connection */
    return RELAY_DONE;
}

/* What was put together is dealt with like a message in view, but goes out by prepare_emit(). */
static enum relay_step send_assembly(struct client *client, struct relay_run *run)
{
    struct server *server = client->server;
    struct assembly *assembly = client->assembly;
    struct sv bytes = sv_from(assembly->bytes, assembly->size);
    struct prepared_plan plan;
    struct asked asked;
    struct message message = {sv_drop(bytes, FRAME_HEADER_SIZE), true};
    if (!takes_requests(server))
        return prepare_wait(server, run);
    enum prepared_do todo = PREPARED_PASS;
    enum message_rc rc = understand(message, bytes, 'P', &asked);
    plan = (struct prepared_plan){.requests = {{.type = 'P'}}, .count = 1};
    buffer_clear(&client->worker->ahead);
    if (rc == MESSAGE_OK) {
        asked.acts = session_acts(client, asked.parse.text, true);
        session_note(client, asked.parse.text, asked.acts, sv_from("", 0));
    }
    if (rc == MESSAGE_OK && !server->replies.is_skipping)
        todo = decide(client, &asked, &plan);
    if (todo == PREPARED_WAIT)
        return prepare_wait(server, run);
    if (todo == PREPARED_GROW_NAMES || !carry_out(server, &plan))
        return prepare_out_of_memory(client);
    if (todo == PREPARED_RENAME) {
        size_t head = emit_renamed(server, &asked, &plan);
        if (head == 0 || !prepare_emit(server, sv_drop(bytes, head)))
            return prepare_out_of_memory(client);
    } else if (todo == PREPARED_PASS && !prepare_emit(server, bytes)) {
        return prepare_out_of_memory(client);
    }
    prepare_answer(server);
    prepare_drop_assembly(client);
    relay_run_fit(run);
    return RELAY_DONE;
}

enum relay_step prepare_assemble(struct client *client, struct relay_run *run)
{
    struct assembly *assembly = client->assembly;
    struct frame_part part;
    while (assembly->filled < assembly->size) {
        if (frame_look(&client->frame, run->view, &part) != FRAME_PART)
            return RELAY_STOP;
        size_t size = part.bytes.size;
        memcpy(assembly->bytes + assembly->filled, part.bytes.data, size);
        assembly->filled += size;
        frame_take(&client->frame, size);
        relay_run_drop(run, size);
    }
    if (assembly->is_sql) {
        enum relay_step step = sql_prepared_assembled(client, run);
        if (step != RELAY_PASS)
            return step;
    }
    return send_assembly(client, run);
}

/* The message goes out under another name. The rest of it follows as it is. */
static enum relay_step send_renamed(struct client *client, struct relay_run *run,
                                    const struct frame_part *part, const struct asked *asked,
                                    const struct prepared_plan *plan)
{
    size_t size = part->bytes.size;
    size_t head = emit_renamed(client->server, asked, plan);
    if (head == 0)
        return prepare_out_of_memory(client);
    frame_take(&client->frame, size);
    relay_run_drop(run, head);
    bool is_kept = prepare_emit(client->server, sv_take(run->view, size - head));
    relay_run_drop(run, size - head);
    relay_run_fit(run);
    if (!is_kept)
        return prepare_out_of_memory(client);
    return client->server->pending == NULL ? RELAY_DONE : RELAY_STOP;
}

static enum relay_step send_planned(struct client *client, struct relay_run *run,
                                    const struct frame_part *part, const struct asked *asked)
{
    struct server *server = client->server;
    struct prepared_plan plan;
    enum prepared_do todo = decide(client, asked, &plan);
    if (todo == PREPARED_WAIT)
        return prepare_wait(server, run);
    relay_run_put(run);
    if (plan.is_noted && asked->type == 'B')
        note_use(client, plan.requests[plan.count - 1].tag, asked->bytes);
    if (todo == PREPARED_GROW_NAMES || !carry_out(server, &plan))
        return prepare_out_of_memory(client);
    pool_count_asked(client->part, asked->type);
    if (client->request_ns == 0)
        client_begin_request(client);
    if (todo == PREPARED_RENAME)
        return send_renamed(client, run, part, asked, &plan);
    if (todo == PREPARED_PASS && buffer_held(&client->worker->ahead) == 0)
        return RELAY_PASS;
    if (todo == PREPARED_PASS && !prepare_emit(server, part->bytes))
        return prepare_out_of_memory(client);
    size_t size = part->bytes.size;
    frame_take(&client->frame, size);
    relay_run_drop(run, size);
    prepare_answer(server);
    relay_run_fit(run);
    return server->pending == NULL ? RELAY_DONE : RELAY_STOP;
}

/* The unnamed statement on the server is another client's, or an older one of this client: then
 * there is none, and the server shall say so itself. RELAY_PASS: the message may go. */
static enum relay_step disown_unnamed(struct client *client, struct relay_run *run, size_t size)
{
    struct server *server = client->server;
    struct replies_request request = {
        .type = 'C', .whose = REPLIES_OURS, .tag = PREPARED_TAG_UNNAMED};
    if (!takes_requests(server))
        return prepare_wait(server, run);
    relay_run_put(run);
    struct buffer *out = stream_out(run->loop, &server->stream, 16);
    if (out == NULL || replies_send(&server->replies, request) != REPLIES_OWED ||
        build_close_statement(out, SV("")) != HF_OK)
        return RELAY_STOP;
    server->unnamed_owed++;
    server->unnamed = client->unnamed;
    return relay_run_fit(run) && run->view.size >= size ? RELAY_PASS : RELAY_STOP;
}

void prepare_note_unnamed(struct client *client)
{
    if (client->server->replies.is_skipping)
        return;
    if (client->sql != NULL)
        sql_prepared_disarm(client);
    client->unnamed = ++client->worker->client_sequence;
    client->server->unnamed = client->unnamed;
}

/* A message about the unnamed statement, or about a portal. A Parse that was sent and followed by a
 * Sync may have been skipped for an error before it, and this message would not be: it would find
 * what stood there before, perhaps another client's. So it waits until that is known. */
static enum relay_step send_unnamed(struct client *client, struct relay_run *run,
                                    const struct frame_part *part, char target)
{
    struct server *server = client->server;
    bool uses = part->type == 'B' || (part->type == 'D' && target == 'S');
    if (part->type == 'B' && client->unnamed_acts != 0)
        session_note(client, sv_from("", 0), client->unnamed_acts, part->bytes);
    if (part->type == 'P') {
        prepare_note_unnamed(client);
    } else if (uses && server->unnamed != client->unnamed && !server->replies.is_skipping) {
        enum relay_step step = disown_unnamed(client, run, part->bytes.size);
        if (step != RELAY_PASS)
            return step;
    } else if (uses && server->is_synced_since) {
        return prepare_wait(server, run);
    }
    return relay_send_plain(client, run, part, target,
                            part->type == 'P' ? PREPARED_TAG_UNNAMED : 0);
}

/* What the text of a Parse may do to the session, once it is executed. */
static enum relay_step look_at_parse(struct client *client, struct relay_run *run,
                                     const struct frame_part *part, struct asked *asked)
{
    asked->acts = session_acts(client, asked->parse.text, true);
    if (asked->name.size == 0)
        client->unnamed_acts = asked->acts & ACTS_CHANGE;
    if (asked->acts == 0)
        return RELAY_PASS;
    enum relay_step step = session_from_client(client, run, part, asked->parse.text, asked->acts);
    if (step != RELAY_PASS || (asked->acts & ACTS_PREPARED) == 0)
        return step;
    return sql_prepared_from_client(client, run, part);
}

enum relay_step prepare_from_client(struct client *client, struct relay_run *run,
                                    const struct frame_part *part)
{
    struct server *server = client->server;
    struct message message = message_of(part);
    struct asked asked;
    enum message_rc rc = understand(message, part->bytes, part->type, &asked);
    if (rc == MESSAGE_MORE) {
        if (part->type != 'P' || part->bytes.size < LOOP_BLOCK_SIZE / 2)
            return RELAY_STOP;
        enum relay_step step = sql_prepared_from_client(client, run, part);
        if (step != RELAY_PASS)
            return step;
        if (!is_unnamed_parse(message))
            return prepare_begin_assembly(client, run, part);
        client->unnamed_acts = session_acts(client, sv_drop(message.body, 1), false);
        session_note(client, sv_drop(message.body, 1), client->unnamed_acts, sv_from("", 0));
        prepare_note_unnamed(client);
        return relay_send_plain(client, run, part, 0, PREPARED_TAG_UNNAMED);
    }
    if (part->type == 'P' && rc == MESSAGE_OK) {
        enum relay_step step = look_at_parse(client, run, part, &asked);
        if (step != RELAY_PASS)
            return step;
    }
    bool is_whole_needed = part->type == 'P' || part->type == 'C';
    char target = asked.target.kind != 0 ? asked.target.kind : 'S';
    if (rc == MESSAGE_OK && asked.name.size == 0 && part->type != 'C')
        return send_unnamed(client, run, part, target);
    if (rc != MESSAGE_OK || server->prepared == NULL || server->replies.is_skipping)
        return relay_send_plain(client, run, part, target, 0);
    if (is_whole_needed && !part->is_last)
        return RELAY_STOP;
    if (!takes_requests(server))
        return prepare_wait(server, run);
    return send_planned(client, run, part, &asked);
}

/* Nothing is owed by the server, and so there is room for all of it. */
bool prepare_again(struct client *client, const struct frame_part *part)
{
    struct server *server = client->server;
    struct prepared_plan plan = {.requests = {{.type = part->type, .target = 'S'}}, .count = 1};
    struct asked asked = {.type = part->type};
    enum prepared_do todo = PREPARED_PASS;
    size_t head = 0;
    bool is_about = strchr("PBDC", part->type) != NULL;
    buffer_clear(&client->worker->ahead);
    if (is_about && understand(message_of(part), part->bytes, part->type, &asked) == MESSAGE_OK) {
        if (asked.target.kind != 0)
            plan.requests[0].target = asked.target.kind;
        if (asked.name.size > 0)
            todo = decide(client, &asked, &plan);
        else if (part->type == 'P')
            plan.requests[0].tag = PREPARED_TAG_UNNAMED;
    }
    if (todo == PREPARED_WAIT || todo == PREPARED_GROW_NAMES || !carry_out(server, &plan))
        return false;
    if (part->type == 'S')
        prepare_synced(server);
    if (todo == PREPARED_RENAME) {
        head = emit_renamed(server, &asked, &plan);
        if (head == 0)
            return false;
    }
    prepare_answer(server);
    return todo == PREPARED_LOCAL || todo == PREPARED_INSTEAD ||
           prepare_emit(server, sv_drop(part->bytes, head));
}

/* ---- what became of them ---- */

/* An error in answer to something that was changed or used. True: another one was put in its place.
 */
static bool failed(struct server *server, struct relay_run *run, const struct frame_part *part,
                   const struct replies_verdict *verdict)
{
    struct proxy *proxy = proxy_of(server);
    struct client *client = server->client;
    struct message_error error;
    struct hf_err err;
    bool is_replaced = false;
    if (message_error_fields(message_of(part), &error) == MESSAGE_BAD)
        error = (struct message_error){0};
    if (prepared_is_stale(&error) && verdict->tag != 0) {
        prepared_forget(server->prepared, verdict->tag);
        if (cure_begin(server, verdict))
            return true;
    }
    if (prepared_is_change(verdict->tag)) {
        struct prepared prepared = prepare_meet(server, client);
        pthread_mutex_lock(&proxy->lock);
        is_replaced = prepared_failed(&prepared, verdict->tag, &error, &err);
        pthread_mutex_unlock(&proxy->lock);
    }
    if (!is_replaced || client == NULL || verdict->action != REPLIES_FORWARD)
        return false;
    relay_run_put(run);
    struct buffer *out = stream_out(run->loop, &client->stream, RELAY_RESERVE / 2);
    return out != NULL && build_error(out, BUILD_ERROR, &err) == HF_OK;
}

/* So many requests that change the unnamed statement have been answered, also by an error, which
 * leaves none; or were skipped, which leaves what was there. When nothing is owed any more, what
 * was answered last is what there is. */
static void unnamed_settled(struct server *server, uint32_t count, bool is_answered)
{
    struct client *client = server->client;
    hf_assert(count <= server->unnamed_owed);
    server->unnamed_owed -= count;
    if (is_answered)
        server->unnamed_kept = ++server->part->worker->client_sequence;
    if (is_answered && client != NULL)
        client->unnamed_kept = server->unnamed_kept;
    if (server->unnamed_owed > 0)
        return;
    server->is_synced_since = false;
    server->unnamed = server->unnamed_kept;
    if (client != NULL)
        client->unnamed = client->unnamed_kept;
}

static void settle_change(struct server *server, uint32_t tag,
                          void (*how)(const struct prepared *, uint32_t))
{
    struct prepared prepared = prepare_meet(server, server->client);
    pthread_mutex_lock(&proxy_of(server)->lock);
    how(&prepared, tag);
    pthread_mutex_unlock(&proxy_of(server)->lock);
}

void prepare_ended(struct server *server, uint32_t tag)
{
    if (tag == PREPARED_TAG_UNNAMED)
        unnamed_settled(server, 1, true);
    else if (prepared_is_change(tag))
        settle_change(server, tag, prepared_done);
}

bool prepare_from_server(struct server *server, struct relay_run *run,
                         const struct frame_part *part, const struct replies_verdict *verdict)
{
    struct sv command;
    if (verdict->is_last && (part->type != 'E' || verdict->tag == PREPARED_TAG_UNNAMED))
        prepare_ended(server, verdict->tag);
    if (server->prepared == NULL)
        return false;
    if (part->type == 'E')
        return failed(server, run, part, verdict);
    if (part->type == 'Z')
        prepared_ready(server->prepared, &server->replies);
    if (part->type == 'C' && part->bytes.size > FRAME_HEADER_SIZE &&
        part->bytes.data[FRAME_HEADER_SIZE] == 'D' &&
        message_text(message_of(part), &command) == MESSAGE_OK && prepared_is_discard(command)) {
        struct prepared prepared = prepare_meet(server, server->client);
        pthread_mutex_lock(&proxy_of(server)->lock);
        prepared_discarded(&prepared);
        pthread_mutex_unlock(&proxy_of(server)->lock);
        if (server->client != NULL && sv_eq(command, SV("DISCARD ALL")))
            client_discarded(server->client);
    }
    return false;
}

void prepare_dropped(struct server *server, const struct replies_dropped *dropped)
{
    if (server->client != NULL && server->client->sql != NULL)
        sql_prepared_dropped(server, dropped);
    if (dropped->tag == PREPARED_TAG_UNNAMED)
        unnamed_settled(server, dropped->count, false);
    if (server->prepared != NULL && prepared_is_change(dropped->tag))
        settle_change(server, dropped->tag, prepared_undone);
}

static void answer(struct server *server, const struct replies_request *local, struct buffer *out)
{
    enum hf_rc rc = build_empty(out, local->type == 'P' ? '1' : '3');
    hf_assert(rc == HF_OK);
    if (prepared_is_change(local->tag))
        settle_change(server, local->tag, prepared_done);
}

bool prepare_answer(struct server *server)
{
    while (replies_has_local(&server->replies)) {
        struct replies_request local;
        struct buffer *out =
            stream_out(server->part->worker->loop, &server->client->stream, ANSWER_SIZE);
        if (out == NULL)
            return false;
        replies_next_local(&server->replies, &local);
        answer(server, &local, out);
    }
    return true;
}

void prepare_synced(struct server *server)
{
    server->is_synced_since = server->unnamed_owed > 0;
    if (server->prepared != NULL)
        prepared_sync(server->prepared);
}

/* ---- lives ---- */

void prepare_begin(struct server *server)
{
    const struct pool_part *part = server->part;
    int64_t most = part->config.max_prepared_statements;
    if (part->pool->mode == PROXY_POOL_SESSION || most == 0)
        return;
    server->prepared = mem_alloc(proxy_of(server)->mem, prepared_server_size((uint16_t)most));
    if (server->prepared != NULL)
        prepared_server_init(server->prepared, (uint16_t)most);
}

void prepare_left(struct server *server, struct client *client)
{
    struct proxy *proxy = client->worker->proxy;
    prepare_drop_assembly(client);
    sql_prepared_left(client);
    if (client->prepared == NULL)
        return;
    struct prepared prepared = {.client = client->prepared,
                                .server = server != NULL ? server->prepared : NULL,
                                .store = &proxy->statements,
                                .replies = server != NULL ? &server->replies : NULL,
                                .key = &proxy->hash_key,
                                .names_max = NAMES_MAX};
    pthread_mutex_lock(&proxy->lock);
    prepared_leave(&prepared);
    for (void *spare; (spare = statements_spare(&proxy->statements)) != NULL;)
        mem_free(proxy->mem, spare);
    pthread_mutex_unlock(&proxy->lock);
    mem_free(proxy->mem, client->prepared);
    client->prepared = NULL;
}

void prepare_lost(struct server *server)
{
    struct proxy *proxy = proxy_of(server);
    mem_free(proxy->mem, server->pending);
    server->pending = NULL;
    cure_end(server);
    if (server->client != NULL && server->client->sql != NULL)
        sql_prepared_lost(server->client);
    if (server->prepared == NULL)
        return;
    struct prepared prepared = prepare_meet(server, server->client);
    pthread_mutex_lock(&proxy->lock);
    prepared_reset(&prepared);
    pthread_mutex_unlock(&proxy->lock);
    mem_free(proxy->mem, server->prepared);
    server->prepared = NULL;
}
