/*
 * A small pooler around wire/prepared.h: clients, model servers (pg_prepared.h), one store, and the
 * relay between them as prepared.h says it should be written. Bytes are real on both sides.
 *
 * What is checked at every step
 *  1. What a client gets is what a server of its own, which it shares with nobody and which is fed
 *     the same messages, says: byte for byte.
 *  2. When nothing is under way on a server connection, its map says what the server has.
 *  3. When a client is answered, its map says which statements it has, by the replies it saw.
 *
 * A client is *disturbed* when it has met what its own server did not: a timeout, a changed table,
 * a lost connection. From then on it is not compared (1), but 2 and 3 still hold.
 *
 * Whoever includes this defines RIG_CHECK(condition) first.
 */
#ifndef HF_TEST_UNIT_PREPARED_RIG_H
#define HF_TEST_UNIT_PREPARED_RIG_H

#include <stdlib.h>

#include "pg_prepared.h"
#include "wire/prepared.h"

#define RIG_CLIENTS_MAX 4
#define RIG_SERVERS_MAX 3
#define RIG_RUNS_MAX    64
#define RIG_REQUESTS    1024

/* What a client has asked for, and what it knows. */
struct rig_request {
    char type;
    char target;
    char name[PG_NAME_SIZE];
    char text[PG_TEXT_SIZE];
};

struct rig_client {
    struct prepared_client *prepared;
    int server; /* -1: none */
    bool is_disturbed;
    char memory[PG_PIPE_SIZE];
    struct buffer pending; /* said, and not taken yet */
    struct frame frame;
    struct pg own;
    struct rig_request requests[RIG_REQUESTS];
    uint32_t asked, answered; /* requests of these numbers, modulo RIG_REQUESTS */
    bool is_skipping;         /* what it asks for until a Sync will not be answered */
    struct pg_named known[PG_NAMES_MAX];
    char seen[256]; /* types of replies, errors as their SQLSTATE, in words */
};

struct rig_server {
    struct pg pg;
    struct frame frame;
    struct replies replies;
    struct replies_run runs[RIG_RUNS_MAX];
    struct prepared_server *prepared;
    int client; /* -1: none */
    bool is_flushed;
    char sent[512]; /* what it was sent, in words */
};

struct rig {
    struct rig_client clients[RIG_CLIENTS_MAX];
    struct rig_server servers[RIG_SERVERS_MAX];
    int client_count, server_count;
    struct statements store;
    struct hash_key key;
    uint16_t names_max;
    bool is_limited; /* by what is not PostgreSQL's: every client is disturbed */
    char ahead_memory[4096];
    size_t ahead_size; /* at first */
    int steps;
    unsigned waits;
};

struct rig_config {
    int clients, servers;
    uint16_t statements_max; /* on a server */
    uint16_t names_max;
    bool is_limited;
    uint32_t runs; /* of replies */
    size_t ahead_size;
    size_t bytes_max; /* of the store */
};

/* ---- Words, for tests that look at what went where ---- */

static inline void rig_note(char *words, size_t size, const char *word)
{
    size_t used = strlen(words);
    snprintf(words + used, size - used, "%s%s", used > 0 ? " " : "", word);
}

/* The message in words: type, and the name of the statement if it has one. */
static inline void rig_note_message(char *words, size_t size, struct sv bytes)
{
    struct message message = {sv_drop(bytes, FRAME_HEADER_SIZE), true};
    struct message_parse parse;
    struct message_bind bind;
    struct message_target target;
    struct sv name = {0};
    char type = bytes.data[0], kind = 0, word[PG_NAME_SIZE];
    if (type == 'P' && message_parse(message, &parse) == MESSAGE_OK)
        name = parse.name;
    else if (type == 'B' && message_bind(message, &bind) == MESSAGE_OK)
        name = bind.statement;
    if ((type == 'D' || type == 'C') && message_target(message, &target) == MESSAGE_OK) {
        name = target.name;
        kind = target.kind;
    }
    snprintf(word, sizeof word, "%c%s%s%.*s", type, kind == 'P' ? "p" : "",
             name.size > 0 ? ":" : "", (int)name.size, sv_print_data(name));
    rig_note(words, size, word);
}

/* ---- Beginning and end ---- */

static inline void rig_server_begin(struct rig_server *server, uint32_t runs)
{
    pg_init(&server->pg);
    frame_init(&server->frame, FRAME_BACKEND, FRAME_SESSION);
    replies_init(&server->replies, server->runs, runs, 'I');
    server->client = -1;
    server->is_flushed = false;
}

static inline void rig_client_begin(const struct rig *rig, struct rig_client *client)
{
    client->prepared = NULL;
    client->server = -1;
    client->is_disturbed = rig->is_limited;
    buffer_init(&client->pending, client->memory, sizeof client->memory);
    frame_init(&client->frame, FRAME_FRONTEND, FRAME_SESSION);
    pg_init(&client->own);
    client->asked = client->answered = 0;
    client->is_skipping = false;
    pg_drop_all(client->known);
    client->seen[0] = '\0';
}

static inline void rig_init(struct rig *rig, struct rig_config config)
{
    RIG_CHECK(config.runs <= RIG_RUNS_MAX && config.ahead_size <= sizeof rig->ahead_memory);
    memset(rig, 0, sizeof *rig);
    rig->client_count = config.clients;
    rig->server_count = config.servers;
    rig->key = hash_key_from_seed(1);
    rig->names_max = config.names_max;
    rig->is_limited = config.is_limited;
    rig->ahead_size = config.ahead_size;
    statements_init(&rig->store, rig->key, config.bytes_max);
    for (int i = 0; i < config.clients; i++)
        rig_client_begin(rig, &rig->clients[i]);
    for (int i = 0; i < config.servers; i++) {
        struct rig_server *server = &rig->servers[i];
        server->prepared = malloc(prepared_server_size(config.statements_max));
        RIG_CHECK(server->prepared != NULL);
        prepared_server_init(server->prepared, config.statements_max);
        rig_server_begin(server, config.runs);
    }
}

static inline struct prepared rig_meet(struct rig *rig, struct rig_client *client,
                                       struct rig_server *server)
{
    return (struct prepared){
        .client = client != NULL ? client->prepared : NULL,
        .server = server != NULL ? server->prepared : NULL,
        .store = &rig->store,
        .replies = server != NULL ? &server->replies : NULL,
        .key = &rig->key,
        .names_max = rig->names_max,
    };
}

static inline struct rig_client *rig_client_of(struct rig *rig, const struct rig_server *server)
{
    return server->client >= 0 ? &rig->clients[server->client] : NULL;
}

/* The client hangs up, in the middle of what it does, and another one comes in its place. */
static inline void rig_leave(struct rig *rig, struct rig_client *client)
{
    struct rig_server *server = client->server >= 0 ? &rig->servers[client->server] : NULL;
    if (server != NULL) {
        replies_detach(&server->replies);
        server->client = -1;
        server->is_flushed = false;
        server->pg.must_fail = false;
    }
    struct prepared prepared = rig_meet(rig, client, server);
    prepared_leave(&prepared);
    free(client->prepared);
    rig_client_begin(rig, client);
}

/* The table of a text is changed, which clients see that are there, and that will come. */
static inline void rig_alter(struct rig *rig, struct rig_server *server, const char *text)
{
    rig->is_limited = true;
    for (int i = 0; i < rig->client_count; i++)
        rig->clients[i].is_disturbed = true;
    pg_alter(&server->pg, text);
}

/* The server connection is lost, and another one comes in its place. The client goes on. */
static inline void rig_lose(struct rig *rig, struct rig_server *server)
{
    struct rig_client *client = rig_client_of(rig, server);
    struct prepared prepared = rig_meet(rig, client, server);
    prepared_reset(&prepared);
    RIG_CHECK(server->prepared->count == 0 && server->prepared->changes_used == 0);
    if (client != NULL) {
        client->server = -1;
        client->is_disturbed = true;
        client->is_skipping = false;
        client->answered = client->asked;
        buffer_clear(&client->pending);
        frame_init(&client->frame, FRAME_FRONTEND, FRAME_SESSION);
    }
    rig_server_begin(server, server->replies.capacity);
}

/* Everybody leaves, and nothing is held any more. */
static inline void rig_deinit(struct rig *rig)
{
    for (int i = 0; i < rig->client_count; i++)
        rig_leave(rig, &rig->clients[i]);
    for (int i = 0; i < rig->server_count; i++) {
        rig_lose(rig, &rig->servers[i]);
        free(rig->servers[i].prepared);
    }
    RIG_CHECK(rig->store.count == 0);
    void *memory;
    while ((memory = statements_deinit(&rig->store)) != NULL)
        free(memory);
}

/* ---- What a client knows ---- */

static inline void rig_answered(struct rig_client *client, char type, struct sv tag)
{
    struct rig_request *request = &client->requests[client->answered % RIG_REQUESTS];
    RIG_CHECK(client->answered != client->asked);
    char asked = request->type;
    struct sv name = sv_from_cstr(request->name);
    switch (type) {
    case '1':
        RIG_CHECK(asked == 'P');
        if (name.size > 0)
            memcpy(pg_put(client->known, name)->text, request->text, PG_TEXT_SIZE);
        break;
    case '3':
        RIG_CHECK(asked == 'C');
        if (request->target == 'S')
            pg_drop(client->known, name);
        break;
    case 'C':
        if (prepared_is_discard(tag))
            pg_drop_all(client->known);
        if (asked == 'Q')
            return;
        break;
    case 'E':
        if (asked == 'Q')
            return;
        while (client->answered != client->asked &&
               client->requests[client->answered % RIG_REQUESTS].type != 'S')
            client->answered++;
        client->is_skipping = client->answered == client->asked;
        return;
    case 't':
    case 'D':
        return;
    case 'T':
        if (asked == 'Q')
            return;
        break;
    default:
        break;
    }
    client->answered++;
}

/* Where an error was raised in the source is not compared, nor what PostgreSQL does not tell names
 * apart by: that many bytes are the message up to the 63rd of a name. */
static inline bool rig_is_same(struct sv a, struct sv b)
{
    enum {
        COMPARED = 20 + 63
    };
    struct message_error errors[2];
    struct message messages[2] = {{sv_drop(a, FRAME_HEADER_SIZE), true},
                                  {sv_drop(b, FRAME_HEADER_SIZE), true}};
    if (a.size == 0 || a.data[0] != 'E' || b.data[0] != 'E')
        return sv_eq(a, b);
    for (int i = 0; i < 2; i++)
        RIG_CHECK(message_error_fields(messages[i], &errors[i]) == MESSAGE_OK);
    return sv_eq(errors[0].sqlstate, errors[1].sqlstate) &&
           sv_eq(sv_take(errors[0].message, COMPARED), sv_take(errors[1].message, COMPARED));
}

static inline void rig_client_gets(struct rig_client *client, struct sv bytes)
{
    char type = bytes.data[0], word[8] = {type};
    struct message message = {sv_drop(bytes, FRAME_HEADER_SIZE), true};
    struct message_error error;
    struct sv tag = {0};
    if (type == 'E' && message_error_fields(message, &error) == MESSAGE_OK)
        sv_copy(error.sqlstate, word, sizeof word);
    if (type == 'C')
        RIG_CHECK(message_text(message, &tag) == MESSAGE_OK);
    rig_note(client->seen, sizeof client->seen, word);
    rig_answered(client, type, tag);
    if (client->is_disturbed)
        return;
    struct frame frame;
    struct frame_part expected;
    frame_init(&frame, FRAME_BACKEND, FRAME_SESSION);
    RIG_CHECK(frame_look(&frame, buffer_view(&client->own.out), &expected) == FRAME_PART);
    RIG_CHECK(rig_is_same(expected.bytes, bytes));
    buffer_consume(&client->own.out, expected.bytes.size);
}

/* The client says something: its own server does it at once. */
static inline void rig_say(struct rig_client *client, struct sv bytes)
{
    struct message message = {sv_drop(bytes, FRAME_HEADER_SIZE), true};
    struct rig_request *request = &client->requests[client->asked % RIG_REQUESTS];
    struct message_parse parse = {0};
    struct message_target target = {0};
    char type = bytes.data[0];
    *request = (struct rig_request){.type = type};
    if (type == 'P' && message_parse(message, &parse) == MESSAGE_OK)
        RIG_CHECK(sv_copy(parse.name, request->name, sizeof request->name) &&
                  sv_copy(parse.text, request->text, sizeof request->text));
    if (type == 'C' && message_target(message, &target) == MESSAGE_OK)
        RIG_CHECK(sv_copy(target.name, request->name, sizeof request->name));
    request->target = target.kind;
    if (type == 'S')
        client->is_skipping = false;
    if (type != 'H' && !client->is_skipping)
        client->asked++;
    RIG_CHECK(client->asked - client->answered < RIG_REQUESTS);
    RIG_CHECK(buffer_append(&client->pending, bytes));
    if (client->is_disturbed)
        return;
    RIG_CHECK(buffer_append(&client->own.in, bytes));
    while (pg_step(&client->own))
        continue;
    pg_flush(&client->own);
}

struct rig_words {
    char type;
    char target;      /* of Describe and Close */
    struct sv name;   /* of the statement; of a portal to be closed */
    const char *text; /* of Parse and Query */
    bool is_typed;    /* a Parse: with a parameter's type */
};

/* All portals but those that are closed are unnamed. */
static inline void rig_say_words(struct rig_client *client, struct rig_words words)
{
    char memory[512], type = words.type;
    struct buffer message;
    buffer_init(&message, memory, sizeof memory);
    struct build build = build_begin(&message, type);
    if (type == 'C' || type == 'D')
        build_u8(&build, (uint8_t)words.target);
    if (type == 'B')
        build_cstr(&build, SV(""));
    if (strchr("PBCD", type) != NULL)
        build_cstr(&build, words.name);
    if (type == 'P' || type == 'Q')
        build_cstr(&build, sv_from_cstr(words.text));
    if (type == 'P') {
        build_u16(&build, words.is_typed);
        if (words.is_typed)
            build_u32(&build, 23);
    }
    if (type == 'B')
        build_bytes(&build, sv_from("\0\0\0\0\0", 6)); /* no formats, no values */
    if (type == 'E')
        build_bytes(&build, sv_from("\0\0\0\0", 5)); /* the unnamed portal, all rows */
    RIG_CHECK(build_end(&build) == HF_OK);
    rig_say(client, buffer_view(&message));
}

/* ---- The relay: from the server ---- */

static inline void rig_take_local(struct rig *rig, struct rig_server *server)
{
    struct replies_request local;
    struct rig_client *client = rig_client_of(rig, server);
    char memory[8];
    struct buffer reply;
    while (replies_next_local(&server->replies, &local)) {
        struct prepared prepared = rig_meet(rig, client, server);
        RIG_CHECK(client != NULL && (local.type == 'P' || local.type == 'C'));
        buffer_init(&reply, memory, sizeof memory);
        RIG_CHECK(build_empty(&reply, local.type == 'P' ? '1' : '3') == HF_OK);
        if (prepared_is_change(local.tag))
            prepared_done(&prepared, local.tag);
        rig_client_gets(client, buffer_view(&reply));
    }
}

/* The request that this ends had a tag. True: the client gets `err`. */
static inline bool rig_settle(struct rig *rig, struct rig_server *server, uint32_t tag,
                              const struct message_error *error, struct hf_err *err)
{
    struct prepared prepared = rig_meet(rig, rig_client_of(rig, server), server);
    if (error != NULL && prepared_is_use(tag) && prepared_is_stale(error))
        prepared_forget(server->prepared, tag);
    if (!prepared_is_change(tag))
        return false;
    if (error != NULL)
        return prepared_failed(&prepared, tag, error, err);
    prepared_done(&prepared, tag);
    return false;
}

static inline void rig_take_dropped(struct rig *rig, struct rig_server *server)
{
    struct replies_dropped dropped;
    while (replies_next_dropped(&server->replies, &dropped)) {
        struct prepared prepared = rig_meet(rig, rig_client_of(rig, server), server);
        if (prepared_is_change(dropped.tag))
            prepared_undone(&prepared, dropped.tag);
    }
}

static inline void rig_reply(struct rig *rig, struct rig_server *server, struct frame_part part)
{
    struct rig_client *client = rig_client_of(rig, server);
    struct message_error error = {0};
    struct hf_err err;
    char detail = 0, memory[2048];
    struct sv tag = {0}, bytes = part.bytes;
    if (part.type == 'Z')
        RIG_CHECK(message_ready(message_of(&part), &detail) == MESSAGE_OK);
    if (part.type == 'E')
        RIG_CHECK(message_error_fields(message_of(&part), &error) == MESSAGE_OK);
    struct replies_verdict verdict = replies_receive(&server->replies, part.type, detail);
    RIG_CHECK(verdict.action != REPLIES_VIOLATION);
    if (part.type == 'Z')
        prepared_ready(server->prepared, &server->replies);
    if (verdict.is_last &&
        rig_settle(rig, server, verdict.tag, part.type == 'E' ? &error : NULL, &err)) {
        struct buffer reply;
        buffer_init(&reply, memory, sizeof memory);
        RIG_CHECK(build_error(&reply, BUILD_ERROR, &err) == HF_OK);
        bytes = buffer_view(&reply);
    }
    if (part.type == 'C')
        RIG_CHECK(message_text(message_of(&part), &tag) == MESSAGE_OK);
    if (prepared_is_discard(tag)) {
        struct prepared prepared = rig_meet(rig, client, server);
        prepared_discarded(&prepared);
    }
    if (verdict.action == REPLIES_FORWARD && client != NULL)
        rig_client_gets(client, bytes);
    rig_take_dropped(rig, server);
    rig_take_local(rig, server);
}

/* When nothing is under way, the map and the server agree. */
static inline void rig_check_server(struct rig *rig, struct rig_server *server)
{
    unsigned count = 0;
    if (!pg_rests(&server->pg) || server->prepared->changes_used > 0)
        return;
    for (int i = 0; i < PG_NAMES_MAX; i++) {
        struct pg_named *there = &server->pg.statements[i];
        if (!there->is_there || !pg_is(there->name, "hf_"))
            continue;
        uint32_t id = (uint32_t)strtoul(there->name + 3, NULL, 36);
        RIG_CHECK(prepared_server_find(server->prepared, id) != PREPARED_NO_SLOT);
        struct statement statement = statements_get(&rig->store, id);
        RIG_CHECK(sv_eq(statement.text, sv_from_cstr(there->text)));
        RIG_CHECK(sv_eq(statement.types, sv_from(there->types, there->types_size)));
        count++;
    }
    RIG_CHECK(server->prepared->count == count);
    RIG_CHECK(count <= server->prepared->statements_max);
}

static inline void rig_check_client(struct rig *rig, struct rig_client *client)
{
    unsigned known = 0, count = client->prepared != NULL ? client->prepared->count : 0;
    if (client->answered != client->asked || buffer_held(&client->pending) > 0 ||
        (client->server >= 0 && rig->servers[client->server].prepared->changes_used > 0))
        return;
    for (int i = 0; i < PG_NAMES_MAX; i++) {
        struct pg_named *name = &client->known[i];
        if (!name->is_there)
            continue;
        uint16_t index =
            prepared_client_find(client->prepared, &rig->key, sv_from_cstr(name->name));
        RIG_CHECK(index != PREPARED_NO_NAME);
        struct statement statement = statements_get(&rig->store, client->prepared->names[index].id);
        RIG_CHECK(sv_eq(statement.text, sv_from_cstr(name->text)));
        known++;
    }
    RIG_CHECK(count == known);
}

/* One message of the server, if it can be seen. */
static inline bool rig_from_server(struct rig *rig, struct rig_server *server)
{
    struct frame_part part;
    enum frame_status status = frame_look(&server->frame, buffer_view(&server->pg.out), &part);
    if (status == FRAME_MORE)
        return false;
    RIG_CHECK(status == FRAME_PART && part.is_first && part.is_last);
    rig_reply(rig, server, part);
    frame_take(&server->frame, part.bytes.size);
    buffer_consume(&server->pg.out, part.bytes.size);
    server->is_flushed = false;
    if (server->client >= 0 && replies_is_clean(&server->replies)) {
        rig->clients[server->client].server = -1;
        replies_detach(&server->replies);
        server->client = -1;
        server->pg.must_fail = false;
    }
    rig_check_server(rig, server);
    return true;
}

/* ---- The relay: to the server ---- */

static inline void rig_put(struct rig_server *server, struct sv bytes)
{
    rig_note_message(server->sent, sizeof server->sent, bytes);
    RIG_CHECK(buffer_append(&server->pg.in, bytes));
}

static inline bool rig_put_ours(struct rig_server *server, char type, enum replies_whose whose)
{
    char memory[8];
    struct buffer message;
    buffer_init(&message, memory, sizeof memory);
    RIG_CHECK(build_empty(&message, type) == HF_OK);
    enum replies_sent sent =
        replies_send(&server->replies, (struct replies_request){.type = type, .whose = whose});
    if (sent == REPLIES_FULL)
        return false;
    RIG_CHECK(sent == (type == 'H' ? REPLIES_FREE : REPLIES_OWED));
    rig_put(server, buffer_view(&message));
    if (type == 'S')
        prepared_sync(server->prepared);
    return true;
}

/* Waiting is for something that comes. */
static inline bool rig_wait(struct rig *rig, struct rig_server *server)
{
    rig->waits++;
    if (!server->is_flushed && replies_rest(&server->replies) == REPLIES_OPEN &&
        !server->replies.is_skipping)
        rig_put_ours(server, 'H', REPLIES_CLIENT);
    server->is_flushed = true;
    return false;
}

static inline void rig_grow_names(struct rig *rig, struct rig_client *client,
                                  const struct prepared_plan *plan)
{
    struct prepared_client *larger = malloc(plan->size);
    RIG_CHECK(larger != NULL && plan->size == prepared_client_size(plan->names));
    prepared_client_init(larger, plan->names, &rig->key, client->prepared);
    free(client->prepared);
    client->prepared = larger;
}

static inline void rig_grow_store(struct rig *rig)
{
    struct statements_want want = statements_want(&rig->store);
    void *memory = malloc(want.size);
    RIG_CHECK(memory != NULL);
    free(statements_give(&rig->store, memory, want));
    RIG_CHECK(rig->store.bytes <= rig->store.bytes_max);
}

/* Decides about a message, and `name` is the name in it. */
static inline enum prepared_do rig_decide(const struct prepared *prepared,
                                          const struct frame_part *part, struct sv *name,
                                          struct prepared_plan *plan)
{
    struct message_parse parse;
    struct message_bind bind;
    struct message_target target;
    switch (part->type) {
    case 'P':
        RIG_CHECK(message_parse(message_of(part), &parse) == MESSAGE_OK);
        *name = parse.name;
        return prepared_parse(prepared, &parse, plan);
    case 'B':
        RIG_CHECK(message_bind(message_of(part), &bind) == MESSAGE_OK);
        *name = bind.statement;
        return prepared_bind(prepared, &bind, plan);
    default:
        RIG_CHECK(message_target(message_of(part), &target) == MESSAGE_OK);
        *name = target.name;
        return part->type == 'D' ? prepared_describe(prepared, &target, plan)
                                 : prepared_close(prepared, &target, plan);
    }
}

/* What is to be done for a message, and with it. */
struct rig_plan {
    struct prepared_plan plan;
    struct buffer ahead; /* what goes before it */
    struct sv name;
};

/* Asks until there is an answer, and gives it what it wants. */
static inline enum prepared_do rig_plan(struct rig *rig, struct rig_client *client,
                                        struct rig_server *server, const struct frame_part *part,
                                        struct rig_plan *planned)
{
    size_t ahead_size = rig->ahead_size;
    bool with_store = false;
    for (;;) {
        struct prepared prepared = rig_meet(rig, client, server);
        buffer_init(&planned->ahead, rig->ahead_memory, ahead_size);
        prepared.ahead = &planned->ahead;
        if (!with_store)
            prepared.store = NULL;
        struct prepared_plan *plan = &planned->plan;
        enum prepared_do todo = rig_decide(&prepared, part, &planned->name, plan);
        if (todo == PREPARED_STORE) {
            RIG_CHECK(!with_store);
            with_store = true;
        } else if (todo == PREPARED_ROOM) {
            RIG_CHECK(plan->size > ahead_size && plan->size <= sizeof rig->ahead_memory);
            ahead_size = plan->size;
        } else if (todo == PREPARED_GROW_STORE) {
            rig_grow_store(rig);
        } else if (todo == PREPARED_GROW_NAMES) {
            rig_grow_names(rig, client, plan);
        } else {
            return todo;
        }
    }
}

static inline void rig_put_ahead(struct rig_server *server, struct buffer *ahead)
{
    while (buffer_held(ahead) > 0) {
        struct frame frame;
        struct frame_part first;
        frame_init(&frame, FRAME_FRONTEND, FRAME_SESSION);
        RIG_CHECK(frame_look(&frame, buffer_view(ahead), &first) == FRAME_PART && first.is_last);
        rig_put(server, first.bytes);
        buffer_consume(ahead, first.bytes.size);
    }
}

static inline void rig_put_renamed(struct rig_server *server, struct sv bytes,
                                   const struct rig_plan *planned)
{
    char renamed[1024];
    size_t size = message_rename(bytes, planned->name, prepared_plan_name(&planned->plan), renamed,
                                 sizeof renamed);
    struct sv rest = sv_drop(bytes, message_head_size(bytes, planned->name));
    RIG_CHECK(size > 0 && size + rest.size <= sizeof renamed);
    memcpy(renamed + size, rest.data, rest.size);
    rig_put(server, sv_from(renamed, size + rest.size));
}

/* Does what the plan says, whatever it took to get one. False: not now. */
static inline bool rig_statement(struct rig *rig, struct rig_client *client,
                                 struct rig_server *server, const struct frame_part *part)
{
    struct rig_plan planned;
    enum prepared_do todo = rig_plan(rig, client, server, part, &planned);
    if (todo == PREPARED_WAIT)
        return rig_wait(rig, server);
    for (int i = 0; i < planned.plan.count; i++) {
        enum replies_sent sent = replies_send(&server->replies, planned.plan.requests[i]);
        /* Only what passes is not sure of a place. */
        if (todo == PREPARED_PASS && sent == REPLIES_FULL)
            return rig_wait(rig, server);
        RIG_CHECK(sent == REPLIES_OWED || (todo == PREPARED_PASS && sent == REPLIES_SKIPPED));
    }
    rig_put_ahead(server, &planned.ahead);
    if (todo == PREPARED_PASS)
        rig_put(server, part->bytes);
    if (todo == PREPARED_RENAME)
        rig_put_renamed(server, part->bytes, &planned);
    rig_take_local(rig, server);
    return true;
}

static inline bool rig_plain(struct rig *rig, struct rig_server *server,
                             const struct frame_part *part)
{
    enum replies_sent sent =
        replies_send(&server->replies, (struct replies_request){.type = part->type});
    if (sent == REPLIES_FULL)
        return rig_wait(rig, server);
    RIG_CHECK(sent != REPLIES_REFUSED);
    if (sent == REPLIES_OWED && (part->type == 'S' || part->type == 'Q'))
        prepared_sync(server->prepared);
    if (sent != REPLIES_SKIPPED)
        rig_put(server, part->bytes);
    return true;
}

/* One message of the client; false if there is none, or not now. `first` is the server connection
 * to be tried first if the client has none. */
static inline bool rig_from_client(struct rig *rig, int index, int first)
{
    struct rig_client *client = &rig->clients[index];
    struct frame_part part;
    if (frame_look(&client->frame, buffer_view(&client->pending), &part) != FRAME_PART)
        return false;
    for (int i = 0; i < rig->server_count && client->server < 0; i++) {
        int candidate = (first + i) % rig->server_count;
        if (!replies_attach(&rig->servers[candidate].replies))
            continue;
        client->server = candidate;
        rig->servers[candidate].client = index;
    }
    if (client->server < 0)
        return false;
    struct rig_server *server = &rig->servers[client->server];
    bool is_done = strchr("PBDC", part.type) != NULL ? rig_statement(rig, client, server, &part)
                                                     : rig_plain(rig, server, &part);
    if (!is_done)
        return false;
    frame_take(&client->frame, part.bytes.size);
    buffer_consume(&client->pending, part.bytes.size);
    rig_check_client(rig, client);
    return true;
}

/* A connection without a client is brought to rest; true if something was sent for that. */
static inline bool rig_tidy(struct rig_server *server)
{
    enum replies_rest rest = replies_rest(&server->replies);
    char memory[32];
    struct buffer message;
    if (server->client >= 0 || server->is_flushed)
        return false;
    if (rest == REPLIES_OPEN && rig_put_ours(server, 'S', REPLIES_OURS))
        return true;
    if (rest == REPLIES_OPEN) {
        server->is_flushed = true;
        return rig_put_ours(server, 'H', REPLIES_OURS);
    }
    if (rest != REPLIES_IDLE || server->replies.status == 'I')
        return false;
    struct replies_request query = {.type = 'Q', .whose = REPLIES_OURS};
    buffer_init(&message, memory, sizeof memory);
    RIG_CHECK(build_query(&message, SV("rollback")) == HF_OK);
    RIG_CHECK(replies_send(&server->replies, query) == REPLIES_OWED);
    rig_put(server, buffer_view(&message));
    prepared_sync(server->prepared);
    return true;
}

/* As far as it goes. What a client has said is all sent before a server answers, if it can be. */
static inline void rig_run(struct rig *rig)
{
    for (bool goes_on = true; goes_on;) {
        goes_on = false;
        for (int i = 0; i < rig->client_count; i++)
            while (rig_from_client(rig, i, 0))
                goes_on = true;
        for (int i = 0; i < rig->server_count; i++) {
            goes_on = rig_tidy(&rig->servers[i]) || goes_on;
            goes_on = pg_step(&rig->servers[i].pg) || goes_on;
            goes_on = rig_from_server(rig, &rig->servers[i]) || goes_on;
        }
    }
    for (int i = 0; i < rig->client_count; i++)
        rig_check_client(rig, &rig->clients[i]);
}

#endif
