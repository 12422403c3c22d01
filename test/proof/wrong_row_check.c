/*
 * Whether an answer is the one that is owed: script by script, letter by letter.
 */
#include "wrong_row.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHAT_SIZE 400

static void remember(struct client *client, char type, const char *body, size_t size)
{
    char *line = client->history[client->history_count++ % HISTORY_MAX];
    const size_t room = sizeof client->history[0];
    int used = snprintf(line, room, "%c %zu ", type, size);
    for (size_t i = 0; i < size && (size_t)used < room - 1; i++)
        line[used++] = body[i] >= ' ' && body[i] <= '~' ? body[i] : '.';
    line[used] = '\0';
}

bool check_evidence(struct run *run, const struct client *client, const char *what)
{
    char token[TOKEN_SIZE] = "nothing";
    const struct owed *owed = client->at < client->owed_count ? &client->owed[client->at] : NULL;
    if (owed != NULL)
        turn_token(client, owed->item, token);
    printf("WRONG: client %u, turn %u (%s), backend %u: %s\n", client->id, client->turn,
           client->turn_name, client->pid, what);
    printf("  owed: item %u of %u, script \"%s\" at %u, token %s, row %u of %u\n", client->at,
           client->owed_count, owed == NULL ? "" : owed->script, client->script_at, token,
           client->rows_seen, owed == NULL ? 0 : owed->rows);
    const uint32_t count =
        client->history_count < HISTORY_MAX ? client->history_count : HISTORY_MAX;
    for (uint32_t i = client->history_count - count; i < client->history_count; i++)
        printf("  had:  %s\n", client->history[i % HISTORY_MAX]);
    run->has_found = true;
    return false;
}

static bool wrong(struct run *run, const struct client *client, const char *what, const char *body,
                  size_t size)
{
    char text[WHAT_SIZE];
    snprintf(text, sizeof text, "%s: %.*s", what, (int)(size < 200 ? size : 200), body);
    return check_evidence(run, client, text);
}

/* ---- errors ---- */

/* A field of an ErrorResponse; "" if it is not there. */
static const char *field(const char *body, size_t size, char name)
{
    size_t at = 0;
    while (at < size && body[at] != '\0') {
        const char *end = memchr(body + at, '\0', size - at);
        if (end == NULL)
            return "";
        if (body[at] == name)
            return body + at + 1;
        at = (size_t)(end - body) + 1;
    }
    return "";
}

/* What a server that goes away brings, or a pool that has no place. */
static bool is_of_the_weather(const char *sqlstate)
{
    static const char *const classes[] = {"57P", "08", "53300", "58", NULL};
    for (size_t i = 0; classes[i] != NULL; i++)
        if (strncmp(sqlstate, classes[i], strlen(classes[i])) == 0)
            return true;
    return false;
}

static bool check_error(struct run *run, struct client *client, const char *body, size_t size,
                        int64_t now_ns)
{
    char token[TOKEN_SIZE];
    const char *sqlstate = field(body, size, 'C'), *text = field(body, size, 'M');
    struct owed *owed = client->at < client->owed_count ? &client->owed[client->at] : NULL;
    if (owed == NULL)
        return wrong(run, client, "an error that nothing is owed for", text, strlen(text));
    turn_token(client, owed->item, token);
    client->is_dying = strcmp(field(body, size, 'S'), "FATAL") == 0;
    if (owed->script[client->script_at] == 'E' && strstr(text, token) != NULL) {
        run->counts.expected_errors++;
    } else if (strcmp(sqlstate, "57014") == 0 && strstr(text, "statement timeout") != NULL) {
        if (!owed->may_time_out)
            return wrong(run, client, "a timeout that it has not set", text, strlen(text));
        run->counts.timeouts++;
    } else if (strcmp(sqlstate, "57014") == 0) {
        if (now_ns > client->cancelled_ns)
            return wrong(run, client, "cancelled, though not by itself", text, strlen(text));
        run->counts.cancelled++;
    } else if (is_of_the_weather(sqlstate) && !run->options.is_calm) {
        run->counts.server_errors++;
    } else if (strcmp(sqlstate, "25P02") == 0 && client->has_failed) {
        run->counts.expected_errors++; /* the transaction has failed before */
    } else {
        char what[64];
        snprintf(what, sizeof what, "an error that it should not have, %.5s", sqlstate);
        return wrong(run, client, what, text, strlen(text));
    }
    client->is_skipping = client->has_failed = true;
    return true;
}

/* ---- what is owed ---- */

static void next_item(struct client *client)
{
    client->at++;
    client->script_at = 0;
    client->rows_seen = 0;
}

static void step(struct client *client)
{
    client->script_at++;
    if (client->owed[client->at].script[client->script_at] == '\0')
        next_item(client);
}

static bool check_row(struct run *run, struct client *client, const char *text, size_t size,
                      long number)
{
    char token[TOKEN_SIZE];
    const struct owed *owed = &client->owed[client->at];
    if (owed->is_set)
        memcpy(token, client->setting, sizeof token);
    else
        turn_token(client, owed->item, token);
    const size_t length = strlen(token);
    if (size != length + owed->padding || memcmp(text, token, length) != 0)
        return wrong(run, client, "a row that it has not asked for", text, size);
    for (size_t i = length; i < size; i++)
        if (text[i] != 'x')
            return wrong(run, client, "a row with something else in it", text + i, size - i);
    if (number != (long)client->rows_seen + 1 || client->rows_seen >= owed->rows)
        return wrong(run, client, "a row out of order", text, size);
    client->rows_seen++;
    run->counts.rows++;
    return true;
}

static uint32_t size_at(const char *body)
{
    const unsigned char *bytes = (const unsigned char *)body;
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* Two columns: the token, and the row's number. */
static bool check_data_row(struct run *run, struct client *client, const char *body, size_t size)
{
    char number[12] = "";
    if (size < 6 || body[0] != 0 || body[1] != 2)
        return wrong(run, client, "a row of another shape", body, size);
    const uint32_t first = size_at(body + 2);
    if (first > size || size - first < 10)
        return wrong(run, client, "a row of another shape", body, size);
    const uint32_t second = size_at(body + 6 + first);
    if (second != size - first - 10 || second >= sizeof number)
        return wrong(run, client, "a row of another shape", body, size);
    memcpy(number, body + 10 + first, second);
    return check_row(run, client, body + 6, first, strtol(number, NULL, 10));
}

static bool check_copy_row(struct run *run, struct client *client, const char *body, size_t size)
{
    const char *tab = memchr(body, '\t', size);
    if (tab == NULL || body[size - 1] != '\n')
        return wrong(run, client, "a line of another shape", body, size);
    return check_row(run, client, body, (size_t)(tab - body), strtol(tab + 1, NULL, 10));
}

static bool check_tag(struct run *run, struct client *client, const char *body, size_t size)
{
    const struct owed *owed = &client->owed[client->at];
    char tag[40];
    if (owed->has_count)
        snprintf(tag, sizeof tag, "%s %u", owed->tag, owed->rows);
    else
        snprintf(tag, sizeof tag, "%s", owed->tag);
    if (size != strlen(tag) + 1 || memcmp(body, tag, size) != 0)
        return wrong(run, client, "a tag that is not its own", body, size);
    if (client->rows_seen != owed->rows)
        return wrong(run, client, "a tag before all rows were there", body, size);
    if (owed->sets)
        turn_token(client, owed->item, client->setting);
    step(client);
    return true;
}

/* The next Z that is owed; what an error has skipped is not owed any more. */
static bool check_ready(struct run *run, struct client *client, const char *body, size_t size)
{
    if (client->is_skipping) {
        while (client->at < client->owed_count && client->owed[client->at].script[0] != 'Z')
            next_item(client);
        client->is_skipping = false;
    }
    if (client->at >= client->owed_count || client->owed[client->at].script[0] != 'Z')
        return wrong(run, client, "a ReadyForQuery that is not owed yet", body, size);
    if (client->at + 1 == client->owed_count && (size != 1 || body[0] != 'I'))
        return wrong(run, client, "another transaction status at the end", body, size);
    next_item(client);
    return true;
}

bool check_message(struct run *run, struct client *client, char type, const char *body, size_t size,
                   int64_t now_ns)
{
    remember(client, type, body, size);
    if (type == 'N' || type == 'S')
        return true;
    if (type == 'E')
        return check_error(run, client, body, size, now_ns);
    if (type == 'Z')
        return check_ready(run, client, body, size);
    if (client->at >= client->owed_count || client->is_skipping)
        return wrong(run, client, "a message that is not owed", &type, 1);
    const struct owed *owed = &client->owed[client->at];
    char due = owed->script[client->script_at];
    if ((due == 'D' || due == 'd') && type != due) {
        step(client); /* no more rows: the count is compared with the tag */
        due = owed->script[client->script_at];
    }
    if (type != due)
        return wrong(run, client, "another message than the one that is owed", &type, 1);
    if (type == 'D')
        return check_data_row(run, client, body, size);
    if (type == 'd')
        return check_copy_row(run, client, body, size);
    if (type == 'C')
        return check_tag(run, client, body, size);
    if (owed->name >= 0 && (type == '1' || type == '3'))
        client->is_prepared[owed->name] = type == '1';
    step(client);
    return true;
}

bool check_is_done(const struct client *client)
{
    return client->at == client->owed_count;
}
