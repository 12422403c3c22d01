#include <string.h>

#include "proxy/client.h"
#include "proxy/pool.h"
#include "proxy/prepare_int.h"
#include "proxy/server.h"
#include "proxy/sql_prepared.h"
#include "proxy/sql_prepared_int.h"
#include "proxy/worker.h"
#include "sql/acts.h"
#include "wire/build.h"
#include "wire/bytes.h"

/* ---- what is held ---- */

void sql_prepared_release(struct client *client, struct sql_op *op)
{
    struct proxy *proxy = client->worker->proxy;
    if (op->id == STATEMENTS_NONE)
        return;
    pthread_mutex_lock(&proxy->lock);
    statements_release(&proxy->statements, op->id);
    pthread_mutex_unlock(&proxy->lock);
    op->id = STATEMENTS_NONE;
}

void sql_prepared_clear(struct client *client)
{
    struct sql_prepared *sql = client->sql;
    for (uint32_t i = 0; i < sql->retext.count; i++)
        sql_prepared_release(client, &sql->ops[i]);
    retext_init(&sql->retext);
    sql->stage = STAGE_IDLE;
    sql->armed = ARMED_NOT;
    sql->is_due = sql->needs_sync = sql->is_refused = false;
    sql->owed = 0;
}

void sql_prepared_lost(struct client *client)
{
    sql_prepared_clear(client);
}

void sql_prepared_left(struct client *client)
{
    if (client->sql == NULL)
        return;
    sql_prepared_clear(client);
    mem_free(client->worker->proxy->mem, client->sql);
    client->sql = NULL;
}

void sql_prepared_disarm(struct client *client)
{
    if (client->sql->armed == ARMED_UNNAMED)
        client->sql->armed = ARMED_NOT;
}

/* ---- sending ---- */

/* A message of a few bytes in our own name. */
bool sql_prepared_send(struct server *server, char type, enum replies_whose whose, struct sv name)
{
    struct replies_request request = {.type = type, .target = 'S', .whose = whose};
    struct buffer *out = prepare_scratch(server->part->worker, 64);
    if (out == NULL || replies_send(&server->replies, request) != REPLIES_OWED)
        return false;
    struct build build = build_begin(out, type);
    if (type == 'P') { /* an empty text */
        build_cstr(&build, name);
        build_cstr(&build, SV(""));
        build_u16(&build, 0);
    } else if (type != 'S') {
        build_u8(&build, 'S');
        build_cstr(&build, name);
    }
    return build_end(&build) == HF_OK && prepare_emit(server, buffer_view(out));
}

/* ---- what the server says ---- */

/* The client's name means its statement now, which the name holds from here on. */
static void define(struct client *client, uint32_t index, uint32_t id)
{
    struct proxy *proxy = client->worker->proxy;
    struct sv name = retext_name(&client->sql->retext, index);
    /* There was room when the text was sent, and nothing else was prepared since. But several texts
     * of one string each counted on it. */
    if (prepare_name(client, name) != PREPARE_HAS_ROOM) {
        pthread_mutex_lock(&proxy->lock);
        statements_release(&proxy->statements, id);
        pthread_mutex_unlock(&proxy->lock);
        return;
    }
    struct prepared prepared = prepare_meet(client->server, client);
    pthread_mutex_lock(&proxy->lock);
    prepared_define(&prepared, name, id);
    pthread_mutex_unlock(&proxy->lock);
    client->sql->ops[index].is_wanted = true;
}

/* As it stands, the types being what the server makes of the text. */
static void define_untyped(struct client *client, uint32_t index)
{
    struct sql_op *op = &client->sql->ops[index];
    define(client, index, op->id);
    op->id = STATEMENTS_NONE;
    op->state = OP_OVER;
}

static void undefine(struct client *client, uint32_t index)
{
    struct sql_prepared *sql = client->sql;
    struct proxy *proxy = client->worker->proxy;
    struct sv name = retext_name(&sql->retext, index);
    struct prepared prepared = prepare_meet(client->server, client);
    for (uint32_t i = 0; i < index; i++) {
        struct sql_op *op = &sql->ops[i];
        if (op->state != OP_TYPING || !sv_eq(retext_name(&sql->retext, i), name))
            continue;
        sql_prepared_release(client, op);
        op->state = OP_OVER;
        op->is_there = false;
        return;
    }
    if (client->prepared == NULL)
        return;
    pthread_mutex_lock(&proxy->lock);
    prepared_undefine(&prepared, name);
    pthread_mutex_unlock(&proxy->lock);
}

/* All statements of the server and all names of the client are gone, which wire/prepared.h has
 * done; so are those that wait for their types. */
static void all_gone(struct client *client)
{
    struct sql_prepared *sql = client->sql;
    for (uint32_t i = 0; i < sql->retext.count; i++) {
        sql->ops[i].is_there = false;
        if (sql->ops[i].state != OP_TYPING)
            continue;
        sql_prepared_release(client, &sql->ops[i]);
        sql->ops[i].state = OP_OVER;
    }
}

/* A statement of the text was carried out. Those that change a name come in their order, and no
 * other statement has such a tag. */
static void completed(struct client *client, struct sv command)
{
    struct sql_prepared *sql = client->sql;
    uint8_t kind = OP_USE;
    if (prepared_is_discard(command))
        all_gone(client);
    if (sv_eq(command, SV("PREPARE")))
        kind = OP_PREPARE;
    else if (sv_eq(command, SV("DEALLOCATE")))
        kind = OP_DEALLOCATE;
    if (kind == OP_USE)
        return;
    uint32_t index = 0;
    while (index < sql->retext.count &&
           (sql->ops[index].kind == OP_USE || sql->ops[index].state != OP_SENT))
        index++;
    if (index == sql->retext.count || sql->ops[index].kind != kind)
        return;
    struct sql_op *op = &sql->ops[index];
    op->state = OP_OVER;
    if (kind == OP_DEALLOCATE) {
        undefine(client, index);
        return;
    }
    op->is_there = true;
    if (op->has_types)
        op->state = OP_TYPING;
    else
        define_untyped(client, index);
}

/* What the server said of the parameters of the first statement that waits for it. */
static void typed(struct client *client, const struct frame_part *part)
{
    struct sql_prepared *sql = client->sql;
    struct proxy *proxy = client->worker->proxy;
    struct reader reader = reader_of(sv_drop(part->bytes, FRAME_HEADER_SIZE));
    size_t count = reader_u16(&reader);
    struct sv types = reader_bytes(&reader, 4 * count);
    uint32_t index = 0;
    while (index < sql->retext.count && sql->ops[index].state != OP_TYPING)
        index++;
    if (index == sql->retext.count)
        return;
    struct sql_op *op = &sql->ops[index];
    uint32_t id = STATEMENTS_NONE;
    pthread_mutex_lock(&proxy->lock);
    struct sv text = statements_get(&proxy->statements, op->id).text;
    struct buffer *copy = prepare_scratch(client->worker, text.size + 1);
    bool is_copied = copy != NULL && buffer_append(copy, text);
    pthread_mutex_unlock(&proxy->lock);
    if (is_copied && !reader.is_short)
        id = prepare_text(client, buffer_view(copy), types);
    if (id == STATEMENTS_NONE) {
        define_untyped(client, index);
        return;
    }
    sql_prepared_release(client, op);
    define(client, index, id);
    op->state = OP_OVER;
}

/* An error about the text: as one about the client's. True: something was put in its place. */
static bool failed(struct server *server, struct relay_run *run, const struct frame_part *part,
                   const struct replies_verdict *verdict)
{
    struct client *client = server->client;
    struct sql_prepared *sql = client->sql;
    struct message_error error;
    bool is_about =
        sql->stage == STAGE_QUERY || sql->stage == STAGE_EXECUTING || sql->armed != ARMED_NOT;
    /* Another text's, which the client has prepared meanwhile. */
    if (verdict->kind == REPLIES_PARSE && verdict->tag != PREPARED_TAG_UNNAMED &&
        sql->armed != ARMED_NAMED)
        return false;
    if (!is_about || verdict->action != REPLIES_FORWARD || verdict->whose != REPLIES_CLIENT ||
        message_error_fields(message_of(part), &error) != MESSAGE_OK)
        return false;
    if (prepared_is_stale(&error) && server->prepared != NULL)
        for (uint32_t i = 0; i < sql->retext.count; i++)
            prepared_forget(server->prepared, sql->ops[i].tag);
    relay_run_put(run);
    size_t room =
        part->bytes.size + (size_t)RETEXT_WORDS_MAX * RETEXT_NAME_MAX + sizeof sql->refusal;
    struct buffer *out = stream_out(run->loop, &client->stream, room);
    if (out == NULL)
        return false;
    if (sql->is_refused && sv_eq(error.sqlstate, SV("26000")))
        return build_error(out, BUILD_ERROR, &sql->refusal) == HF_OK;
    return sql->retext.count > 0 &&
           retext_error(&sql->retext, 'E', sv_drop(part->bytes, FRAME_HEADER_SIZE), out) == HF_OK;
}

static bool is_wanted(const struct sql_prepared *sql)
{
    for (uint32_t i = 0; i < sql->retext.count; i++)
        if (sql->ops[i].is_wanted)
            return true;
    return false;
}

/* An answer to something of ours, or that there will be none. */
static void count_answer(struct client *client, uint32_t count)
{
    struct sql_prepared *sql = client->sql;
    sql->owed -= count < sql->owed ? count : sql->owed;
    if (sql->owed > 0)
        return;
    /* Those that could not be asked about. */
    for (uint32_t i = 0; i < sql->retext.count; i++)
        if (sql->ops[i].state == OP_TYPING)
            define_untyped(client, i);
    sql->stage = STAGE_IDLE;
    sql->is_due = is_wanted(sql);
}

bool sql_prepared_from_server(struct server *server, struct relay_run *run,
                              const struct frame_part *part, const struct replies_verdict *verdict)
{
    struct client *client = server->client;
    struct sql_prepared *sql = client->sql;
    struct sv command;
    bool is_clients = verdict->whose == REPLIES_CLIENT;
    bool is_asked = sql->stage == STAGE_QUERY || sql->stage == STAGE_EXECUTING;
    bool is_replaced = part->type == 'E' && failed(server, run, part, verdict);
    if (part->type == 'C' && is_asked && is_clients &&
        message_text(message_of(part), &command) == MESSAGE_OK)
        completed(client, command);
    if (part->type == 't' && sql->stage == STAGE_ASKING && !is_clients)
        typed(client, part);
    if (sql->stage == STAGE_EXECUTING && is_clients && verdict->kind == REPLIES_EXECUTE &&
        verdict->is_last)
        sql->is_due = true;
    else if (sql->stage == STAGE_QUERY && is_clients && part->type == 'Z')
        sql->is_due = true;
    else if (sql->stage == STAGE_ASKING && !is_clients && verdict->is_last)
        count_answer(client, 1);
    return is_replaced;
}

void sql_prepared_dropped(struct server *server, const struct replies_dropped *dropped)
{
    struct client *client = server->client;
    struct sql_prepared *sql = client->sql;
    bool is_clients = dropped->whose == REPLIES_CLIENT;
    if (!is_clients && dropped->kind == REPLIES_PARSE && sql->stage != STAGE_ASKING)
        for (uint32_t i = 0; i < sql->retext.count; i++) /* a token may not be there after all */
            sql->ops[i].is_there = false;
    if (sql->stage == STAGE_QUERY && is_clients && dropped->kind == REPLIES_QUERY)
        sql->needs_sync = true;
    else if (sql->stage == STAGE_EXECUTING && is_clients && dropped->kind == REPLIES_EXECUTE)
        sql->stage = STAGE_IDLE;
    else if (sql->stage == STAGE_ASKING && !is_clients)
        count_answer(client, dropped->count);
}

/* ---- what is asked afterwards ---- */

static bool ask(struct server *server, char type, enum replies_whose whose, struct sv name)
{
    struct sql_prepared *sql = server->client->sql;
    if (!sql_prepared_send(server, type, whose, name))
        return false;
    sql->owed++;
    return true;
}

/* What the names mean now, under names of ours: so it is there also where nothing can be prepared,
 * in a transaction that has failed. */
static bool ask_for_wanted(struct server *server, enum replies_whose whose)
{
    struct client *client = server->client;
    struct sql_prepared *sql = client->sql;
    for (uint32_t i = 0; i < sql->retext.count; i++) {
        struct prepared_plan plan;
        if (!sql->ops[i].is_wanted)
            continue;
        sql->ops[i].is_wanted = false;
        if (server->replies.status == 'E')
            continue;
        switch (prepare_provide(client, retext_name(&sql->retext, i), whose, &plan)) {
        case PREPARE_FOUND:
            sql->owed += plan.count;
            break;
        case PREPARE_FAILED:
            return false;
        case PREPARE_UNKNOWN: /* it was deallocated meanwhile */
        case PREPARE_NO_ROOM:
        default:
            break;
        }
    }
    return true;
}

/* The types of what was prepared, and it is closed. `*has_any`: types are asked for. */
static bool ask_for_types(struct server *server, enum replies_whose whose, bool *has_any)
{
    struct sql_prepared *sql = server->client->sql;
    *has_any = false;
    for (uint32_t i = 0; i < sql->retext.count; i++) {
        struct sql_op *op = &sql->ops[i];
        struct sv token = retext_put(&sql->retext, i);
        /* In a failed transaction nothing is described. */
        if (op->state == OP_TYPING && server->replies.status != 'E') {
            *has_any = true;
            if (!ask(server, 'D', whose, token))
                return false;
        }
        if (op->is_there && !ask(server, 'C', whose, token))
            return false;
        op->is_there = false;
    }
    return true;
}

/* Behind an Execute whose Sync is still to come an error would be the client's, as the server skips
 * what the client says then. */
static bool ask_all(struct server *server)
{
    struct sql_prepared *sql = server->client->sql;
    bool is_open = server->replies.is_open, has_types;
    enum replies_whose whose = is_open ? REPLIES_STANDIN : REPLIES_OURS;
    if (server->replies.is_skipping) { /* there is nothing to ask after an error */
        sql->stage = STAGE_IDLE;
        return true;
    }
    sql->stage = STAGE_ASKING;
    sql->owed = 0;
    if (!ask_for_types(server, whose, &has_types))
        return false;
    if (!has_types && !ask_for_wanted(server, whose))
        return false;
    if (sql->owed > 0 && !is_open) {
        if (!ask(server, 'S', REPLIES_OURS, SV("")))
            return false;
        prepare_synced(server);
    }
    if (sql->owed == 0)
        count_answer(server->client, 0);
    return true;
}

bool sql_prepared_after(struct server *server)
{
    struct client *client = server->client;
    struct sql_prepared *sql = client->sql;
    bool is_good = true;
    if (sql->needs_sync) {
        sql->needs_sync = false;
        is_good = sql_prepared_send(server, 'S', REPLIES_CLIENT, SV(""));
        prepare_synced(server);
    }
    if (sql->is_due) {
        sql->is_due = false;
        if (sql->armed == ARMED_NAMED)
            sql->armed = ARMED_NOT;
        is_good = is_good && ask_all(server);
    }
    if (!is_good) /* and so what the client has prepared cannot be known */
        prepare_out_of_memory(client);
    return is_good;
}

/* ---- without a server connection ---- */

static bool is_ascii(struct sv text)
{
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)text.data[i] >= 0x80)
            return false;
    return true;
}

/* The one name that a text is about, if it is nothing else: DEALLOCATE [PREPARE] name. */
static bool is_deallocate(struct sv text, struct sv *name)
{
    static const struct lex_rules rules;
    struct lex lex;
    struct lex_token token;
    struct sv words[3];
    size_t count = 0;
    lex_init(&lex, text, &rules);
    while (lex_next(&lex, &token) != LEX_END && token.kind != LEX_SEMICOLON) {
        if (count == 3 || (token.kind != LEX_WORD && token.kind != LEX_QUOTED))
            return false;
        words[count++] = lex_text(&lex, &token);
    }
    bool is_long = count == 3 && sv_eq_nocase(words[1], SV("prepare"));
    if (lex_next(&lex, &token) != LEX_END || (count != 2 && !is_long) ||
        !sv_eq_nocase(words[0], SV("deallocate")))
        return false;
    *name = words[count - 1];
    return true;
}

/* The name that a text forgets, if that is all it does and the client has it; `*is_all`: every
 * name. */
static bool forgets(struct client *client, struct sv text, char *bytes, struct sv *name,
                    bool *is_all)
{
    struct prepared prepared = {.client = client->prepared,
                                .key = &client->worker->proxy->hash_key};
    struct sv written;
    text = sv_trim(text);
    if (text.size < sizeof "deallocate" || (text.data[0] | 0x20) != 'd' || !is_ascii(text) ||
        !is_deallocate(text, &written))
        return false;
    *is_all = sv_eq_nocase(written, SV("all"));
    *name = sv_from(bytes, acts_name(written, bytes, RETEXT_NAME_MAX + 1));
    return *is_all || (name->size > 0 && prepared_is_defined(&prepared, *name));
}

bool sql_prepared_alone(struct client *client, const struct frame_part *part)
{
    struct worker *worker = client->worker;
    struct proxy *proxy = worker->proxy;
    struct prepared prepared = {
        .client = client->prepared, .store = &proxy->statements, .key = &proxy->hash_key};
    char bytes[RETEXT_NAME_MAX + 1];
    struct sv text, name;
    bool is_all = false;
    if (client->prepared == NULL || !part->is_last ||
        message_query(message_of(part), &text) != MESSAGE_OK ||
        !forgets(client, text, bytes, &name, &is_all))
        return false;
    struct buffer *out = stream_out(worker->loop, &client->stream, RELAY_RESERVE);
    if (out == NULL)
        return false;
    struct build build = build_begin(out, 'C');
    build_cstr(&build, is_all ? SV("DEALLOCATE ALL") : SV("DEALLOCATE"));
    if (build_end(&build) != HF_OK || build_ready(out, 'I') != HF_OK)
        return false;
    if (is_all) {
        prepare_left(NULL, client);
    } else {
        pthread_mutex_lock(&proxy->lock);
        prepared_undefine(&prepared, name);
        pthread_mutex_unlock(&proxy->lock);
    }
    client->unnamed = ++worker->client_sequence; /* which a Query ends, whatever it says */
    client->part->stats.queries++;
    client->part->stats.transactions++;
    frame_take(&client->frame, part->bytes.size);
    stream_consume(worker->loop, &client->stream, part->bytes.size);
    return true;
}
