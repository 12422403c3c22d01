#include "proxy/sql_prepared.h"

#include <string.h>

#include "base/bug.h"
#include "proxy/client.h"
#include "proxy/cure.h"
#include "proxy/pool.h"
#include "proxy/prepare_int.h"
#include "proxy/server.h"
#include "proxy/session_state.h"
#include "proxy/sql_prepared_int.h"
#include "proxy/worker.h"
#include "sql/acts.h"
#include "wire/bytes.h"

/* What stands for names that have no meaning yet or any more: hf__0 ... Names of statements have no
 * second underscore. */
#define TOKEN_SIZE 5

/* Names that begin so are ours on every server connection. */
#define OURS "hf_"

static struct sql_prepared *sql_of(struct client *client)
{
    if (client->sql == NULL) {
        client->sql = mem_alloc(client->worker->proxy->mem, sizeof *client->sql);
        if (client->sql == NULL)
            return NULL;
        *client->sql = (struct sql_prepared){0};
    }
    return client->sql;
}

static struct sv token_of(uint32_t index, char *out)
{
    memcpy(out, "hf__", TOKEN_SIZE - 1);
    out[TOKEN_SIZE - 1] = (char)('0' + index);
    return sv_from(out, TOKEN_SIZE);
}

/* ---- reading a text ---- */

/* The text fails, in its turn, with this. */
static void refuse(struct sql_prepared *sql, const char *sqlstate, const char *message,
                   const char *detail)
{
    if (sql->is_refused)
        return;
    sql->is_refused = true;
    err_set(&sql->refusal, HF_RC_LIMIT, sqlstate, "%s", message);
    err_detail(&sql->refusal, "%s", detail);
    err_hint(&sql->refusal, "Send the statements one by one.");
}

/* The last word of this name that changes what it means in the text; or how many there are. */
static uint32_t find_change(const struct sql_prepared *sql, struct sv name)
{
    uint32_t i = sql->retext.count;
    while (i > 0) {
        i--;
        if (sql->ops[i].kind != OP_USE && sv_eq(retext_name(&sql->retext, i), name))
            return i;
    }
    return sql->retext.count;
}

/* A word of the text, and what it does. */
static void add(struct sql_prepared *sql, struct sv text, struct sv written, struct sv put,
                struct sv name, struct sql_op op)
{
    uint32_t index = sql->retext.count;
    if (retext_add(&sql->retext, (size_t)(written.data - text.data), written.size, put, name)) {
        sql->ops[index] = op;
        return;
    }
    refuse(sql, "54000", "too many names of prepared statements in one string of statements",
           "There may be at most 8.");
}

/* A word of its own: hf__0 and so on; if `is_there`, prepared ahead as an empty text. */
static bool add_token(struct client *client, struct sv text, struct sv written, struct sv name,
                      struct sql_op op, bool is_there)
{
    struct server *server = client->server;
    struct sql_prepared *sql = client->sql;
    char bytes[TOKEN_SIZE];
    uint32_t index = sql->retext.count;
    struct sv token = token_of(index, bytes);
    add(sql, text, written, token, name, op);
    if (sql->retext.count == index)
        return true;
    /* What an earlier text has left there goes. */
    return sql_prepared_send(server, 'C', REPLIES_STANDIN, token) &&
           (!is_there || sql_prepared_send(server, 'P', REPLIES_STANDIN, token));
}

/* How many statements the text uses. */
static uint32_t count_used(const struct sql_prepared *sql)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < sql->retext.count; i++) {
        uint32_t first = 0;
        while (sql->ops[first].tag != sql->ops[i].tag)
            first++;
        count += sql->ops[i].tag != 0 && first == i;
    }
    return count;
}

/* All of them have to be there at a time. What was used last is the last to go, so they are, if the
 * connection may have so many. */
static void refuse_crowd(struct sql_prepared *sql)
{
    refuse(sql, "53400", "too many prepared statements in one string of statements",
           "A server connection cannot have all of them at a time: see max_prepared_statements.");
}

/* A name as what the client has under it now; one that it does not have stays as it is. */
static bool add_use(struct client *client, struct sv text, struct sv written, struct sv name)
{
    struct sql_prepared *sql = client->sql;
    struct prepared_plan plan;
    enum prepare_found found = prepare_provide(client, name, REPLIES_STANDIN, &plan);
    if (found == PREPARE_FOUND && plan.is_noted) /* its arguments may name settings */
        session_note(client, SV(""), client->server->acts, text);
    switch (found) {
    case PREPARE_FOUND:
        add(sql, text, written, prepared_plan_name(&plan), name,
            (struct sql_op){.id = STATEMENTS_NONE, .tag = plan.requests[plan.count].tag});
        if (count_used(sql) > client->server->prepared->statements_max)
            refuse_crowd(sql);
        return true;
    case PREPARE_UNKNOWN:
        if (!sv_starts_with(name, SV(OURS)))
            return true;
        return add_token(client, text, written, name, (struct sql_op){.id = STATEMENTS_NONE},
                         false);
    case PREPARE_NO_ROOM:
        refuse_crowd(sql);
        return true;
    case PREPARE_FAILED:
    default:
        return false;
    }
}

/* A name that will mean the statement behind AS. */
static bool add_prepare(struct client *client, struct sv text,
                        const struct acts_statement *statement, struct sv name)
{
    struct sql_prepared *sql = client->sql;
    struct sql_op op = {.kind = OP_PREPARE, .has_types = statement->value.size > 0};
    switch (prepare_name(client, name)) {
    case PREPARE_HAS_ROOM:
        break;
    case PREPARE_TOO_MANY:
        refuse(sql, "53400", "too many prepared statements", "No client may have more.");
        return true;
    case PREPARE_NO_MEMORY:
    default:
        return false;
    }
    op.id = prepare_text(client, statement->inner, SV(""));
    if (op.id == STATEMENTS_NONE) {
        refuse(sql, "53200", "out of memory for prepared statements",
               "All clients together have too many different ones.");
        return true;
    }
    uint32_t count = sql->retext.count;
    bool is_good = add_token(client, text, statement->name, name, op, false);
    if (sql->retext.count == count)
        sql_prepared_release(client, &op);
    return is_good;
}

/* A statement of the text. What the words before it do to its name is what counts first. */
static bool read_statement(struct client *client, struct sv text,
                           const struct acts_statement *statement)
{
    struct sql_prepared *sql = client->sql;
    struct prepared prepared = prepare_meet(client->server, client);
    char bytes[RETEXT_NAME_MAX + 1];
    struct sv written = statement->name;
    struct sv name = sv_from(bytes, acts_name(written, bytes, sizeof bytes));
    const struct sql_op use = {.id = STATEMENTS_NONE};
    const struct sql_op deallocate = {.kind = OP_DEALLOCATE, .id = STATEMENTS_NONE};
    if (name.size == 0) { /* "" is refused by the server */
        if (sv_starts_with(written, SV("U&")) || sv_starts_with(written, SV("u&")))
            refuse(sql, "0A000", "names of prepared statements cannot have Unicode escapes", "");
        return true;
    }
    uint32_t change = find_change(sql, name);
    bool is_new = change == sql->retext.count;
    bool was_prepared = !is_new && sql->ops[change].kind == OP_PREPARE;
    bool is_defined = is_new && prepared_is_defined(&prepared, name);
    bool is_deallocate = statement->kind == ACTS_IS_DEALLOCATE;
    if (was_prepared) { /* PREPARE of it: refused, as the name is there */
        add(sql, text, written, retext_put(&sql->retext, change), name,
            is_deallocate ? deallocate : use);
        return true;
    }
    if (statement->kind == ACTS_IS_PREPARE && !is_defined)
        return add_prepare(client, text, statement, name);
    if (is_deallocate && is_defined)
        return add_token(client, text, written, name, deallocate, true);
    if (is_new)
        return add_use(client, text, written, name);
    return add_token(client, text, written, name, use, false); /* deallocated before: unknown */
}

static bool has_name(enum acts_kind kind)
{
    return kind == ACTS_IS_PREPARE || kind == ACTS_IS_EXECUTE || kind == ACTS_IS_EXECUTE_INSIDE ||
           kind == ACTS_IS_DEALLOCATE;
}

/* False: the pair is no more. */
static bool read_text(struct client *client, struct sv text, const struct lex_rules *rules)
{
    struct acts_walk walk;
    struct acts_statement statement;
    acts_begin(&walk, text, rules);
    while (acts_next(&walk, &statement))
        if (has_name(statement.kind) && !read_statement(client, text, &statement))
            return false;
    return true;
}

/* There is something to do in it. */
static bool has_names(struct sv text, const struct lex_rules *rules)
{
    struct acts_walk walk;
    struct acts_statement statement;
    acts_begin(&walk, text, rules);
    while (acts_next(&walk, &statement))
        if (has_name(statement.kind))
            return true;
    return false;
}

/* ---- texts ---- */

/* A text of the client, and what stands before and behind it in its message. */
struct asked {
    char type;
    struct sv name; /* of a Parse */
    struct sv text;
    struct sv tail; /* from the zero byte behind the text on */
    struct sv bytes;
};

static enum message_rc understand(struct sv bytes, struct asked *asked)
{
    struct message message = {sv_drop(bytes, FRAME_HEADER_SIZE), true};
    struct message_parse parse = {0};
    enum message_rc rc;
    *asked = (struct asked){.type = bytes.data[0], .bytes = bytes};
    if (asked->type == 'Q') {
        rc = message_query(message, &asked->text);
    } else {
        rc = message_parse(message, &parse);
        asked->text = parse.text;
        asked->name = parse.name;
    }
    if (rc == MESSAGE_OK)
        asked->tail = sv_drop(bytes, (size_t)(asked->text.data + asked->text.size - bytes.data));
    return rc;
}

/* The size of the new message, and how it is written. */
static size_t size_of_new(const struct sql_prepared *sql, const struct asked *asked)
{
    return asked->bytes.size - asked->text.size + retext_size(&sql->retext, asked->text);
}

static void write_new(struct sql_prepared *sql, const struct asked *asked, char *out)
{
    size_t size = size_of_new(sql, asked);
    size_t head = (size_t)(asked->text.data - asked->bytes.data);
    hf_assert(asked->tail.data != NULL);
    memcpy(out, asked->bytes.data, head);
    bytes_put_u32(out + 1, (uint32_t)(size - 1));
    retext_write(&sql->retext, asked->text, out + head);
    memcpy(out + size - asked->tail.size, asked->tail.data, asked->tail.size);
}

/* The message goes out, as a Query or as the unnamed statement. */
static bool send_new(struct client *client, const struct asked *asked)
{
    struct server *server = client->server;
    struct sql_prepared *sql = client->sql;
    struct replies_request request = {.type = asked->type, .tag = PREPARED_TAG_UNNAMED};
    size_t size = size_of_new(sql, asked);
    struct buffer *out = prepare_scratch(client->worker, size);
    if (out == NULL || replies_send(&server->replies, request) != REPLIES_OWED)
        return false;
    prepare_note_unnamed(client);
    server->unnamed_owed++;
    if (asked->type == 'Q')
        prepare_synced(server);
    if (client->request_ns == 0)
        client_begin_request(client);
    write_new(sql, asked, buffer_reserve(out, size));
    buffer_commit(out, size);
    sql->stage = asked->type == 'Q' ? STAGE_QUERY : STAGE_IDLE;
    sql->armed = asked->type == 'Q' ? ARMED_NOT : ARMED_UNNAMED;
    return prepare_emit(server, buffer_view(out));
}

/* What a statement with a name executes. */
static void note_alias(struct sql_prepared *sql, struct sv name)
{
    struct alias *alias = NULL;
    struct sv target = retext_name(&sql->retext, 0);
    if (name.size > RETEXT_NAME_MAX)
        return;
    for (uint32_t i = 0; i < sql->alias_count && alias == NULL; i++)
        if (sv_eq(sv_from(sql->aliases[i].name, sql->aliases[i].name_size), name))
            alias = &sql->aliases[i];
    if (alias == NULL) {
        alias = &sql->aliases[sql->alias_next];
        sql->alias_next = (uint8_t)((sql->alias_next + 1) % SQL_ALIASES_MAX);
        if (sql->alias_count < SQL_ALIASES_MAX)
            sql->alias_count++;
    }
    alias->name_size = (uint8_t)name.size;
    alias->target_size = (uint8_t)target.size;
    memcpy(alias->name, name.data, name.size);
    memcpy(alias->target, target.data, target.size);
}

/* A statement with a name of the client's: the new text is prepared as any other would be. */
static bool send_named(struct client *client, const struct asked *asked)
{
    struct sql_prepared *sql = client->sql;
    size_t size = size_of_new(sql, asked);
    struct asked copy = *asked;
    struct assembly *before = client->assembly;
    client->assembly = NULL; /* the message may stand in it */
    struct assembly *assembly = prepare_new_assembly(client, size);
    if (assembly != NULL)
        write_new(sql, &copy, assembly->bytes);
    mem_free(client->worker->proxy->mem, before);
    if (assembly == NULL)
        return false;
    if (sql->retext.count > 0 && sql->ops[0].kind == OP_USE)
        note_alias(sql, sv_from(assembly->bytes + FRAME_HEADER_SIZE, asked->name.size));
    sql->armed = ARMED_NAMED;
    return true;
}

/* It will fail in its turn: so does this, whose error is replaced. */
static void put_refused(struct sql_prepared *sql, struct asked *asked, char *bytes, size_t size)
{
    static const char text[] = "DEALLOCATE hf_";
    struct sv tail = asked->type == 'P' ? SV("\0\0\0") : SV("\0");
    struct sv head = sv_take(asked->bytes, (size_t)(asked->text.data - asked->bytes.data));
    hf_assert(head.size + sizeof text - 1 + tail.size <= size);
    memcpy(bytes, head.data, head.size);
    memcpy(bytes + head.size, text, sizeof text - 1);
    memcpy(bytes + head.size + sizeof text - 1, tail.data, tail.size);
    asked->bytes = sv_from(bytes, head.size + sizeof text - 1 + tail.size);
    asked->text = sv_from(bytes + head.size, sizeof text - 1);
    asked->tail = sv_drop(asked->bytes, head.size + sizeof text - 1);
    retext_init(&sql->retext);
}

/* All of it, ahead of which goes what it needs. False: no memory, or the connection is over. */
static bool send_text(struct client *client, const struct asked *asked,
                      const struct lex_rules *rules)
{
    char bytes[FRAME_HEADER_SIZE + MESSAGE_NAME_MAX + 32];
    struct sql_prepared *sql = sql_of(client);
    struct asked now = *asked;
    if (sql == NULL)
        return false;
    sql_prepared_clear(client);
    cure_shown(client->server); /* it is not what will be sent, so it cannot be sent again */
    if (!read_text(client, asked->text, rules))
        return false;
    if (sql->is_refused) {
        struct hf_err refusal = sql->refusal;
        sql_prepared_clear(client);
        sql->refusal = refusal;
        sql->is_refused = true;
        put_refused(sql, &now, bytes, sizeof bytes);
    }
    return now.name.size > 0 ? send_named(client, &now) : send_new(client, &now);
}

/* Whether it has to wait, or is none of our business, as what the server says of it will be right
 * in any case. RELAY_DONE: neither. */
static enum relay_step look_at(struct client *client, struct relay_run *run,
                               const struct asked *asked, const struct lex_rules *rules)
{
    const struct replies *replies = &client->server->replies;
    if (replies_rest(replies) == REPLIES_COPYING)
        return RELAY_PASS; /* it waits for data, and ends the connection for anything else */
    if (replies_room(replies) < replies->capacity)
        return prepare_wait(client->server, run);
    if (replies->status == 'E' && (acts_mask(asked->text, rules) & ACTS_MANY) == 0)
        return RELAY_PASS;
    return RELAY_DONE;
}

/* A text that may be ours. */
static enum relay_step take(struct client *client, struct relay_run *run,
                            const struct frame_part *part, const struct lex_rules *rules)
{
    struct server *server = client->server;
    struct asked asked;
    size_t size = part->bytes.size;
    if (server->prepared == NULL || server->replies.is_skipping)
        return RELAY_PASS;
    if (!part->is_last) {
        if (size < LOOP_BLOCK_SIZE / 2)
            return RELAY_STOP;
        enum relay_step step = prepare_begin_assembly(client, run, part);
        if (step == RELAY_DONE) {
            client->assembly->is_sql = true;
            client->assembly->rules = *rules;
        }
        return step;
    }
    if (understand(part->bytes, &asked) != MESSAGE_OK || !has_names(asked.text, rules))
        return RELAY_PASS;
    enum relay_step step = look_at(client, run, &asked, rules);
    if (step != RELAY_DONE)
        return step;
    relay_run_put(run);
    if (!send_text(client, &asked, rules))
        return prepare_out_of_memory(client);
    frame_take(&client->frame, size);
    relay_run_drop(run, size);
    relay_run_fit(run);
    if (client->assembly != NULL)
        return prepare_assemble(client, run);
    return server->pending == NULL ? RELAY_DONE : RELAY_STOP;
}

enum relay_step sql_prepared_from_client(struct client *client, struct relay_run *run,
                                         const struct frame_part *part)
{
    const struct lex_rules *rules = &client->server->rules;
    struct sv text = message_of(part).body; /* as far as it is in view */
    if (part->type == 'P')
        text = sv_drop(text, sv_find(text, '\0') + 1);
    text = sv_take(text, sv_find(text, '\0'));
    if ((acts_mask(text, rules) & ACTS_PREPARED) == 0)
        return RELAY_PASS;
    return take(client, run, part, rules);
}

enum relay_step sql_prepared_assembled(struct client *client, struct relay_run *run)
{
    struct server *server = client->server;
    struct assembly *assembly = client->assembly;
    const struct lex_rules rules = assembly->rules;
    struct asked asked;
    if (understand(sv_from(assembly->bytes, assembly->size), &asked) != MESSAGE_OK) {
        struct hf_err err;
        message_explain(MESSAGE_BAD, FRAME_FRONTEND, asked.type, &err);
        client_fail(client, &err);
        return RELAY_OVER;
    }
    enum relay_step step = look_at(client, run, &asked, &rules);
    if (step == RELAY_STOP)
        return step;
    if (asked.name.size > 0 && !has_names(asked.text, &rules))
        return RELAY_PASS;
    uint32_t acts = session_acts(client, asked.text, true);
    session_note(client, asked.text, acts, SV(""));
    if (asked.type == 'P' && asked.name.size == 0)
        client->unnamed_acts = acts & ACTS_CHANGE;
    if (!send_text(client, &asked, &rules))
        return prepare_out_of_memory(client);
    if (asked.name.size > 0)
        return RELAY_PASS; /* what is assembled now is the new text */
    prepare_drop_assembly(client);
    relay_run_fit(run);
    return server->pending == NULL ? RELAY_DONE : RELAY_STOP;
}

/* ---- what follows a text ---- */

/* A Bind or Describe of a statement that executes another one. */
static enum relay_step before_use(struct client *client, struct relay_run *run,
                                  const struct frame_part *part)
{
    const struct sql_prepared *sql = client->sql;
    struct message_bind bind = {0};
    struct message_target target = {0};
    struct prepared_plan plan;
    bool is_known = part->type == 'B' ? message_bind(message_of(part), &bind) == MESSAGE_OK
                                      : message_target(message_of(part), &target) == MESSAGE_OK;
    struct sv name = part->type == 'B' ? bind.statement : target.name;
    if (!is_known || name.size == 0 || target.kind == 'P')
        return RELAY_PASS;
    for (uint32_t i = 0; i < sql->alias_count; i++) {
        const struct alias *alias = &sql->aliases[i];
        if (!sv_eq(sv_from(alias->name, alias->name_size), name))
            continue;
        relay_run_put(run);
        struct sv executed = sv_from(alias->target, alias->target_size);
        switch (prepare_provide(client, executed, REPLIES_STANDIN, &plan)) {
        case PREPARE_FOUND:
        case PREPARE_UNKNOWN: /* not any more: the server will say so */
            return RELAY_PASS;
        case PREPARE_NO_ROOM:
            return prepare_wait(client->server, run);
        case PREPARE_FAILED:
        default:
            return prepare_out_of_memory(client);
        }
    }
    return RELAY_PASS;
}

/* An Execute of a PREPARE that was executed before: it has to find its name taken, and the token
 * was closed. */
static bool take_names(struct client *client)
{
    struct sql_prepared *sql = client->sql;
    struct prepared prepared = prepare_meet(client->server, client);
    for (uint32_t i = 0; i < sql->retext.count; i++) {
        struct sql_op *op = &sql->ops[i];
        if (op->kind != OP_PREPARE || op->state != OP_OVER || op->is_there ||
            !prepared_is_defined(&prepared, retext_name(&sql->retext, i)))
            continue;
        struct sv token = retext_put(&sql->retext, i);
        if (!sql_prepared_send(client->server, 'C', REPLIES_STANDIN, token) ||
            !sql_prepared_send(client->server, 'P', REPLIES_STANDIN, token))
            return false;
        op->is_there = true; /* unless it is dropped */
    }
    return true;
}

/* Whether an Execute may be one of the text: a portal with a name may always be. */
static void look_at_portal(struct sql_prepared *sql, const struct frame_part *part)
{
    struct message_bind bind;
    struct message_execute execute;
    if (part->type == 'B' && message_bind(message_of(part), &bind) == MESSAGE_OK &&
        bind.portal.size == 0)
        sql->is_bound = bind.statement.size == 0;
    if (part->type == 'E')
        sql->may_run = sql->armed == ARMED_NAMED || sql->is_bound ||
                       message_execute(message_of(part), &execute) != MESSAGE_OK ||
                       execute.portal.size > 0;
}

enum relay_step sql_prepared_before(struct client *client, struct relay_run *run,
                                    const struct frame_part *part)
{
    struct sql_prepared *sql = client->sql;
    struct server *server = client->server;
    const char *held = sql->stage == STAGE_QUERY ? "PBDCEQFS" : "PBDCEQF";
    bool is_held = sql->stage != STAGE_IDLE && strchr(held, part->type) != NULL;
    /* In a COPY it is the server that waits. */
    if (is_held && replies_rest(&server->replies) != REPLIES_COPYING)
        return prepare_wait(server, run);
    if (sql->armed != ARMED_NOT)
        look_at_portal(sql, part);
    if (part->type == 'E' && sql->armed != ARMED_NOT && sql->may_run &&
        !server->replies.is_skipping) {
        relay_run_put(run);
        if (!take_names(client))
            return prepare_out_of_memory(client);
    }
    bool is_use = part->type == 'B' || part->type == 'D';
    if (is_use && sql->alias_count > 0 && server->prepared != NULL && !server->replies.is_skipping)
        return before_use(client, run, part);
    return RELAY_PASS;
}

void sql_prepared_sent(struct client *client, char type)
{
    struct sql_prepared *sql = client->sql;
    if (type == 'E' && sql->armed != ARMED_NOT && sql->may_run && sql->stage == STAGE_IDLE)
        sql->stage = STAGE_EXECUTING;
}
