/*
 * What clients ask. Each kind of turn is a function that puts messages into client->out and what is
 * owed for them into client->owed; the table at the end has their weights.
 */
#include "wrong_row.h"

#include <stdio.h>
#include <string.h>

#define ECHO_MAX   30000
#define RESULT_MAX 3000

static uint32_t below(struct client *client, uint32_t n)
{
    return (uint32_t)rng_below(&client->rng, n);
}

void turn_token(const struct client *client, uint32_t item, char out[TOKEN_SIZE])
{
    snprintf(out, TOKEN_SIZE, "w%u.%u.%u.%08x", client->id, client->turn, item,
             (unsigned)rng_hash(client->salt, item));
}

/* ---- messages ---- */

static void put(struct client *client, const void *bytes, size_t size)
{
    if (client->out_size + size > OUT_SIZE)
        return; /* turn_make() sees to it that this does not happen */
    memcpy(client->out + client->out_size, bytes, size);
    client->out_size += size;
}

static void put_u32(struct client *client, uint32_t value)
{
    const unsigned char bytes[] = {(unsigned char)(value >> 24), (unsigned char)(value >> 16),
                                   (unsigned char)(value >> 8), (unsigned char)value};
    put(client, bytes, sizeof bytes);
}

static void put_u16(struct client *client, uint32_t value)
{
    const unsigned char bytes[] = {(unsigned char)(value >> 8), (unsigned char)value};
    put(client, bytes, sizeof bytes);
}

static void put_text(struct client *client, const char *text)
{
    put(client, text, strlen(text) + 1);
}

static size_t begin(struct client *client, char type)
{
    put(client, &type, 1);
    put_u32(client, 0);
    return client->out_size - 4;
}

static void end(struct client *client, size_t start)
{
    const size_t size = client->out_size;
    client->out_size = start;
    put_u32(client, (uint32_t)(size - start));
    client->out_size = size;
}

static void put_empty(struct client *client, char type)
{
    end(client, begin(client, type));
}

static void put_named(struct client *client, char type, char kind, const char *name)
{
    const size_t start = begin(client, type);
    put(client, &kind, 1);
    put_text(client, name);
    end(client, start);
}

static void put_query(struct client *client, const char *sql)
{
    const size_t start = begin(client, 'Q');
    put_text(client, sql);
    end(client, start);
}

static void put_parse(struct client *client, const char *name, const char *sql)
{
    const size_t start = begin(client, 'P');
    put_text(client, name);
    put_text(client, sql);
    put_u16(client, 0);
    end(client, start);
}

/* With two values at most, all as text; the first may be padded with x. */
static void put_bind(struct client *client, const char *name, const char *first, uint32_t padding,
                     const char *second)
{
    const size_t start = begin(client, 'B');
    put_text(client, "");
    put_text(client, name);
    put_u16(client, 0);
    put_u16(client, second == NULL ? 1 : 2);
    put_u32(client, (uint32_t)strlen(first) + padding);
    put(client, first, strlen(first));
    for (uint32_t i = 0; i < padding; i++)
        put(client, "x", 1);
    if (second != NULL) {
        put_u32(client, (uint32_t)strlen(second));
        put(client, second, strlen(second));
    }
    put_u16(client, 0);
    end(client, start);
}

static void put_execute(struct client *client)
{
    const size_t start = begin(client, 'E');
    put_text(client, "");
    put_u32(client, 0);
    end(client, start);
}

/* ---- what is owed ---- */

static struct owed *owe(struct client *client, const char *script)
{
    struct owed *owed = &client->owed[client->owed_count];
    *owed = (struct owed){.script = script, .item = client->owed_count, .name = -1};
    client->owed_count++;
    return owed;
}

static void owe_rows(struct client *client, const char *script, uint32_t rows)
{
    struct owed *owed = owe(client, script);
    owed->rows = rows;
    owed->tag = "SELECT";
    owed->has_count = true;
}

/* The token of the item that is owed next. */
static const char *next_token(const struct client *client, char out[TOKEN_SIZE])
{
    turn_token(client, client->owed_count, out);
    return out;
}

static void put_sync(struct client *client)
{
    put_empty(client, 'S');
    owe(client, "Z");
}

/* ---- items ---- */

static uint32_t some_rows(struct client *client)
{
    const uint32_t kind = below(client, 10);
    return kind == 0 ? 0 : kind < 7 ? 1 : kind < 9 ? below(client, 40) : below(client, 400);
}

static void simple_rows(struct client *client, uint32_t rows)
{
    char token[TOKEN_SIZE], sql[300];
    snprintf(sql, sizeof sql, "SELECT '%s', i FROM generate_series(1, %u) i",
             next_token(client, token), rows);
    put_query(client, sql);
    owe_rows(client, "TDC", rows);
    owe(client, "Z");
}

/* By the unnamed statement, whose text differs from one item to the next, or does not. */
static void unnamed_rows(struct client *client)
{
    char token[TOKEN_SIZE], count[12], sql[200];
    const uint32_t rows = some_rows(client);
    const bool describes = below(client, 2) == 0;
    next_token(client, token);
    snprintf(count, sizeof count, "%u", rows);
    snprintf(sql, sizeof sql, "SELECT $1::text, i%s FROM generate_series(1, $2::int) i",
             below(client, 2) == 0 ? "" : " AS number");
    put_parse(client, "", sql);
    put_bind(client, "", token, 0, count);
    if (describes)
        put_named(client, 'D', 'P', "");
    put_execute(client);
    owe_rows(client, describes ? "12TDC" : "12DC", rows);
}

/* By a named statement, prepared when it is first used. Each name has its own text, and so have
 * some clients: others share theirs. */
static void named_rows(struct client *client)
{
    char token[TOKEN_SIZE], count[12], name[16], sql[200];
    const uint32_t number = below(client, NAMES_MAX), rows = some_rows(client);
    const bool prepares = !client->is_prepared[number];
    next_token(client, token);
    snprintf(count, sizeof count, "%u", rows);
    snprintf(name, sizeof name, "s%u", number);
    snprintf(sql, sizeof sql,
             "SELECT $1::text, i FROM generate_series(1, $2::int) i /* %u of group %u */", number,
             client->id % 40);
    if (prepares) {
        /* Nobody knows whether it is there, after an error. */
        put_named(client, 'C', 'S', name);
        put_parse(client, name, sql);
    }
    put_bind(client, name, token, 0, count);
    put_execute(client);
    owe_rows(client, prepares ? "312DC" : "2DC", rows);
    client->owed[client->owed_count - 1].name = prepares ? (int8_t)number : -1;
}

/* An error that quotes the token, and what is behind it is skipped. */
static void failing(struct client *client)
{
    char token[TOKEN_SIZE];
    put_parse(client, "", "SELECT $1::text::int");
    put_bind(client, "", next_token(client, token), 0, NULL);
    put_execute(client);
    owe(client, "1E"); /* already while it is planned, that is by Bind */
}

static void echo(struct client *client)
{
    char token[TOKEN_SIZE];
    const uint32_t padding = below(client, ECHO_MAX);
    put_parse(client, "", "SELECT $1::text, 1");
    put_bind(client, "", next_token(client, token), padding, NULL);
    put_execute(client);
    owe_rows(client, "12DC", 1);
    client->owed[client->owed_count - 1].padding = padding;
}

/* ---- turns ---- */

static void turn_simple(struct client *client)
{
    simple_rows(client, some_rows(client));
}

static void turn_simple_pipeline(struct client *client)
{
    for (uint32_t i = 1 + below(client, 12); i > 0; i--)
        simple_rows(client, some_rows(client));
}

static void turn_fails_simply(struct client *client)
{
    char token[TOKEN_SIZE], sql[120];
    snprintf(sql, sizeof sql, "SELECT '%s'::int", next_token(client, token));
    put_query(client, sql);
    owe(client, "E");
    owe(client, "Z");
}

static void turn_pipeline(struct client *client)
{
    for (uint32_t i = 1 + below(client, 20); i > 0; i--) {
        const uint32_t kind = below(client, 20);
        if (kind < 8)
            unnamed_rows(client);
        else if (kind < 17)
            named_rows(client);
        else
            failing(client);
        if (below(client, 4) == 0)
            put_sync(client);
        else if (below(client, 8) == 0)
            put_empty(client, 'H');
    }
    put_sync(client);
}

static void turn_echo(struct client *client)
{
    echo(client);
    echo(client);
    put_sync(client);
}

static void turn_copy(struct client *client)
{
    char token[TOKEN_SIZE], sql[200];
    const uint32_t rows = some_rows(client);
    snprintf(sql, sizeof sql, "COPY (SELECT '%s', i FROM generate_series(1, %u) i) TO STDOUT",
             next_token(client, token), rows);
    put_query(client, sql);
    struct owed *owed = owe(client, "HdcC");
    owed->rows = rows;
    owed->tag = "COPY";
    owed->has_count = true;
    owe(client, "Z");
}

static void tag_only(struct client *client, const char *sql, const char *tag)
{
    put_query(client, sql);
    owe(client, "C")->tag = tag;
    owe(client, "Z");
}

/* The connection must be kept from BEGIN to COMMIT, one message at a time or all at once. */
static void turn_transaction(struct client *client)
{
    tag_only(client, "BEGIN", "BEGIN");
    turn_simple_pipeline(client);
    turn_pipeline(client);
    tag_only(client, "ROLLBACK", "ROLLBACK");
    simple_rows(client, 1);
}

static void ask_setting(struct client *client)
{
    put_query(client, "SELECT current_setting('app.token'), i FROM generate_series(1, 2) i");
    owe_rows(client, "TDC", 2);
    client->owed[client->owed_count - 1].is_set = true;
    owe(client, "Z");
}

/* With what goes before it in the same message, if anything: it is not run if that has failed. */
static void set_setting(struct client *client, const char *before, const char *command)
{
    char token[TOKEN_SIZE], sql[160];
    const uint32_t item = client->owed_count + (before[0] != '\0');
    turn_token(client, item, token);
    snprintf(sql, sizeof sql, "%s%s app.token = '%s'", before, command, token);
    put_query(client, sql);
    if (before[0] != '\0')
        owe(client, "C")->tag = "BEGIN";
    struct owed *owed = owe(client, "C");
    owed->tag = "SET";
    owed->sets = before[0] == '\0';
    owe(client, "Z");
}

/* Set, or asked, or both; and what is local or rolled back is not what is asked later. Whoever has
 * set nothing has nothing to ask. */
static void turn_setting(struct client *client)
{
    const uint32_t kind = below(client, 4);
    if (client->setting[0] == '\0') {
        set_setting(client, "", "SET");
        return;
    }
    if (kind == 0) {
        set_setting(client, "", "SET SESSION");
    } else if (kind == 1) {
        set_setting(client, "BEGIN; ", below(client, 2) == 0 ? "SET" : "SET LOCAL");
        tag_only(client, "ROLLBACK", "ROLLBACK");
    }
    ask_setting(client);
}

/* In one implicit transaction, at whose end the timeout is gone: a COMMIT or ROLLBACK by itself
 * could run into it too. Time enough lies between the timeout and the end of the query, whichever
 * is first: a timeout that fires just as its query ends is held by PostgreSQL against the next
 * query of the connection, whosever that is (ProcessInterrupts), and no pooler can tell. */
static void turn_times_out(struct client *client)
{
    char token[TOKEN_SIZE], sql[300];
    const bool is_late = below(client, 4) == 0;
    turn_token(client, 1, token);
    snprintf(sql, sizeof sql,
             "SET LOCAL statement_timeout = %u; SELECT '%s', 1 FROM pg_sleep(0.%s)",
             is_late ? 2000 : 1 + below(client, 10), token, is_late ? "003" : "15");
    put_query(client, sql);
    owe(client, "C")->tag = "SET";
    owe_rows(client, "TDC", 1);
    client->owed[client->owed_count - 1].may_time_out = true;
    owe(client, "Z");
}

static void turn_sleeps(struct client *client)
{
    char token[TOKEN_SIZE], sql[200];
    snprintf(sql, sizeof sql, "SELECT '%s', 1 FROM pg_sleep(0.0%02u)", next_token(client, token),
             below(client, 40));
    put_query(client, sql);
    owe_rows(client, "TDC", 1);
    owe(client, "Z");
}

static void turn_large(struct client *client)
{
    simple_rows(client, 500 + below(client, RESULT_MAX));
    unnamed_rows(client);
    put_sync(client);
}

static const struct {
    const char *name;
    uint32_t weight;
    void (*make)(struct client *client);
} turns[] = {
    {"simple", 20, turn_simple},
    {"simple pipeline", 10, turn_simple_pipeline},
    {"simple error", 4, turn_fails_simply},
    {"pipeline", 30, turn_pipeline},
    {"echo", 6, turn_echo},
    {"copy", 6, turn_copy},
    {"transaction", 8, turn_transaction},
    {"timeout", 4, turn_times_out},
    {"sleep", 6, turn_sleeps},
    {"large", 4, turn_large},
    {"setting", 8, turn_setting},
};

/* How the client misbehaves in this turn, if it does. */
static void misbehave(struct client *client, size_t turn, int64_t now_ns)
{
    client->pause_after = client->drop_after = client->hold_at = 0;
    client->cancel_ns = HF_NEVER;
    const uint32_t kind = below(client, 100);
    if (kind < 6) {
        client->pause_after = 1 + below(client, 4000);
    } else if (kind < 9) {
        client->drop_after = 1 + below(client, 3000);
    } else if (kind < 13) {
        client->hold_at = 1 + below(client, (uint32_t)client->out_size);
        client->hold_ns = now_ns + HF_MS(1 + below(client, 40));
    } else if (client->id % 3 == 0 && kind < (turns[turn].make == turn_sleeps ? 70 : 25)) {
        /* Only every third client ever cancels: the others must never notice. */
        client->cancel_ns = now_ns + (int64_t)below(client, 20000) * HF_US(1);
    }
}

void turn_make(struct run *run, struct client *client, int64_t now_ns)
{
    uint32_t all = 0, pick;
    (void)run;
    for (size_t i = 0; i < sizeof turns / sizeof turns[0]; i++)
        all += turns[i].weight;
    pick = below(client, all);
    size_t kind = 0;
    while (pick >= turns[kind].weight)
        pick -= turns[kind++].weight;

    client->turn++;
    client->salt = rng_u64(&client->rng);
    client->turn_name = turns[kind].name;
    client->owed_count = client->at = client->script_at = client->rows_seen = 0;
    client->is_skipping = client->is_dying = client->has_failed = false;
    client->received = client->out_size = client->out_sent = 0;
    client->turn_ns = now_ns;
    client->pause_ns = 0;
    turns[kind].make(client);
    misbehave(client, kind, now_ns);
}
