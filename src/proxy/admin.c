#include "proxy/admin.h"

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/opt.h"
#include "proxy/admin_gather.h"
#include "proxy/admission.h"
#include "proxy/client.h"
#include "proxy/worker.h"
#include "wire/build.h"
#include "wire/message.h"

/* What is still to be sent: an answer may be longer than there is room for. */
struct admin_output {
    size_t size;
    size_t sent;
    char bytes[];
};

enum admin_command {
    ADMIN_SHOW_POOLS,
    ADMIN_SHOW_STATS,
    ADMIN_SHOW_CLIENTS,
    ADMIN_SHOW_SERVERS,
    ADMIN_SHOW_DATABASES,
    ADMIN_SHOW_CONFIG,
    ADMIN_SHOW_VERSION,
    ADMIN_SHOW_HELP,
    ADMIN_RELOAD,
    ADMIN_SHUTDOWN,
    ADMIN_NOTHING, /* an empty query */
    ADMIN_COMMANDS
};

static const struct admin_row {
    const char *text;
    const char *sentence;
    bool is_change; /* for admin_users only */
} commands[ADMIN_COMMANDS] = {
    [ADMIN_SHOW_POOLS] = {"SHOW POOLS", "Clients and server connections of each pool.", false},
    [ADMIN_SHOW_STATS] = {"SHOW STATS", "What each pool has done since the start; times in us.",
                          false},
    [ADMIN_SHOW_CLIENTS] = {"SHOW CLIENTS", "Each client, and what it waits for.", false},
    [ADMIN_SHOW_SERVERS] = {"SHOW SERVERS", "Each server connection, and who has it.", false},
    [ADMIN_SHOW_DATABASES] = {"SHOW DATABASES", "Where each database's servers are.", false},
    [ADMIN_SHOW_CONFIG] = {"SHOW CONFIG", "Every setting, with its default.", false},
    [ADMIN_SHOW_VERSION] = {"SHOW VERSION", "The version of this program.", false},
    [ADMIN_SHOW_HELP] = {"SHOW HELP", "This.", false},
    [ADMIN_RELOAD] = {"RELOAD", "Reads the configuration again, as SIGHUP does.", true},
    [ADMIN_SHUTDOWN] = {"SHUTDOWN", "Lets clients finish and ends, as SIGTERM does.", true},
    [ADMIN_NOTHING] = {"", "", false},
};

/* ---- output ---- */

static bool say(struct client *client, struct sv bytes)
{
    struct mem *mem = client->worker->proxy->mem;
    struct admin_output *output = client->console;
    if (output == NULL)
        bytes = sv_drop(bytes, stream_send(client->worker->loop, &client->stream, bytes));
    if (bytes.size == 0)
        return true;
    size_t kept = output != NULL ? output->size - output->sent : 0;
    struct admin_output *larger = mem_alloc(mem, sizeof *larger + kept + bytes.size);
    if (larger == NULL)
        return false;
    if (kept > 0)
        memcpy(larger->bytes, output->bytes + output->sent, kept);
    memcpy(larger->bytes + kept, bytes.data, bytes.size);
    larger->size = kept + bytes.size;
    mem_free(mem, output);
    client->console = larger;
    return true;
}

/* False: there is more. */
static bool flush(struct client *client)
{
    struct admin_output *output = client->console;
    if (output == NULL)
        return true;
    struct sv rest = sv_from(output->bytes + output->sent, output->size - output->sent);
    output->sent += stream_send(client->worker->loop, &client->stream, rest);
    if (output->sent < output->size)
        return false;
    admin_end(client);
    return true;
}

void admin_end(struct client *client)
{
    mem_free(client->worker->proxy->mem, client->console);
    client->console = NULL;
}

static void say_columns(struct client *client, const char *const *names)
{
    char bytes[2048];
    struct buffer out;
    uint16_t count = 0;
    while (names[count] != NULL)
        count++;
    buffer_init(&out, bytes, sizeof bytes);
    struct build row = build_begin(&out, 'T');
    build_u16(&row, count);
    for (uint16_t i = 0; i < count; i++) {
        build_cstr(&row, sv_from_cstr(names[i]));
        build_u32(&row, 0);
        build_u16(&row, 0);
        build_u32(&row, 25);     /* text */
        build_u16(&row, 0xffff); /* of any length */
        build_u32(&row, 0xffffffff);
        build_u16(&row, 0);
    }
    if (build_end(&row) == HF_OK && !say(client, buffer_view(&out)))
        client_close(client, "out of memory for the console");
}

/* CommandComplete, and with the simple protocol ReadyForQuery. */
static void say_end(struct client *client, const char *tag)
{
    char bytes[128];
    struct buffer out;
    buffer_init(&out, bytes, sizeof bytes);
    struct build end = build_begin(&out, tag[0] != '\0' ? 'C' : 'I');
    if (tag[0] != '\0')
        build_cstr(&end, sv_from_cstr(tag));
    enum hf_rc rc = build_end(&end);
    if (rc == HF_OK && !client->is_extended)
        rc = build_ready(&out, 'I');
    if (rc == HF_OK && !say(client, buffer_view(&out)))
        client_close(client, "out of memory for the console");
    client->is_asking = 0;
}

static void say_error(struct client *client, const struct hf_err *err)
{
    char bytes[1024];
    struct buffer out;
    buffer_init(&out, bytes, sizeof bytes);
    enum hf_rc rc = build_error(&out, BUILD_ERROR, err);
    if (rc == HF_OK && !client->is_extended)
        rc = build_ready(&out, 'I');
    if (rc == HF_OK && !say(client, buffer_view(&out)))
        client_close(client, "out of memory for the console");
    client->is_asking = 0;
    client->skips = client->is_extended;
}

/* ---- what is known here ---- */

/* Rows that this worker makes alone. */
static struct gather *begin_rows(struct client *client, const char *const *columns)
{
    struct gather *rows = mem_alloc(client->worker->proxy->mem, sizeof *rows);
    if (rows == NULL)
        client_close(client, "out of memory for the console");
    else if (!client->is_extended)
        say_columns(client, columns);
    return rows;
}

static void end_rows(struct client *client, struct gather *rows)
{
    if (rows->text.block != NULL && !say(client, buffer_view(&rows->text)))
        client_close(client, "out of memory for the console");
    gather_free(rows, client->worker->proxy->mem);
    if (client->state != CLIENT_CLOSING)
        say_end(client, "SHOW");
}

static const char *const columns_help[] = {"command", "meaning", NULL};
static const char *const columns_version[] = {"version", NULL};
static const char *const columns_config[] = {"key", "value", "default", "changeable", NULL};
static const char *const columns_databases[] = {"name",      "hosts",     "database", "force_user",
                                                "pool_size", "pool_mode", NULL};

static void show_help(struct client *client)
{
    struct gather *rows = begin_rows(client, columns_help);
    for (size_t i = 0; rows != NULL && i < ADMIN_NOTHING; i++) {
        const char *values[] = {commands[i].text, commands[i].sentence};
        gather_row(rows, client->worker->proxy->mem, values, 2);
    }
    if (rows != NULL)
        end_rows(client, rows);
}

static void show_version(struct client *client)
{
    struct gather *rows = begin_rows(client, columns_version);
    char text[80];
    snprintf(text, sizeof text, "Holdfast %s", client->worker->proxy->version);
    const char *values[] = {text};
    if (rows == NULL)
        return;
    gather_row(rows, client->worker->proxy->mem, values, 1);
    end_rows(client, rows);
}

static void show_table(struct client *client, struct gather *rows,
                       const struct proxy_section *section, const struct opt_table *table)
{
    const char *base = (const char *)client->worker->config + section->offset;
    for (size_t i = 0; i < table->count; i++) {
        const struct opt_row *row = &table->rows[i];
        char key[128], text[256] = "";
        struct buffer value;
        buffer_init(&value, text, sizeof text - 1);
        opt_print(row, base, &value);
        text[value.end] = '\0';
        snprintf(key, sizeof key, "%s.%s", section->path, row->key);
        const char *values[] = {key, text + value.start, row->default_text,
                                row->is_reloadable ? "yes" : "no"};
        gather_row(rows, client->worker->proxy->mem, values, 4);
    }
}

static void show_config(struct client *client)
{
    struct gather *rows = begin_rows(client, columns_config);
    for (size_t i = 0; rows != NULL && i < proxy_section_count(); i++) {
        const struct proxy_section *section = proxy_section_at(i);
        for (size_t t = 0; section->kind == PROXY_SECTION_ONE && t < 2; t++)
            show_table(client, rows, section, &section->tables[t]);
    }
    if (rows != NULL)
        end_rows(client, rows);
}

static void show_databases(struct client *client)
{
    static const char *const modes[] = {"session", "transaction", "statement"};
    const struct proxy_config *config = client->worker->config;
    struct gather *rows = begin_rows(client, columns_databases);
    for (uint32_t i = 0; rows != NULL && i < config->database_count; i++) {
        const struct proxy_database *database = &config->databases[i];
        char size[24];
        snprintf(size, sizeof size, "%lld", (long long)database->pool.pool_size);
        const char *values[] = {
            database->name, database->hosts_text,           database->dbname, database->user,
            size,           modes[database->pool.pool_mode]};
        gather_row(rows, client->worker->proxy->mem, values, 6);
    }
    if (rows != NULL)
        end_rows(client, rows);
}

/* ---- commands ---- */

static enum gather_kind gather_of(enum admin_command command)
{
    switch ((int)command) {
    case ADMIN_SHOW_POOLS:
        return GATHER_POOLS;
    case ADMIN_SHOW_STATS:
        return GATHER_STATS;
    case ADMIN_SHOW_CLIENTS:
        return GATHER_CLIENTS;
    default:
        return GATHER_SERVERS;
    }
}

static const char *const *columns_of(enum admin_command command)
{
    switch ((int)command) {
    case ADMIN_SHOW_HELP:
        return columns_help;
    case ADMIN_SHOW_VERSION:
        return columns_version;
    case ADMIN_SHOW_CONFIG:
        return columns_config;
    case ADMIN_SHOW_DATABASES:
        return columns_databases;
    case ADMIN_RELOAD:
    case ADMIN_SHUTDOWN:
    case ADMIN_NOTHING:
        return NULL;
    default:
        return gather_columns(gather_of(command));
    }
}

/* Words, whatever blanks are between them, without a semicolon at the end. */
static bool is_command(struct sv text, const char *words)
{
    struct sv rest = sv_from_cstr(words), word;
    while (sv_split(&rest, ' ', &word)) {
        text = sv_trim(text);
        if (!sv_eq_nocase(sv_take(text, word.size), word))
            return false;
        text = sv_drop(text, word.size);
        if (text.size > 0 && strchr(" \t\r\n;", text.data[0]) == NULL)
            return false;
    }
    text = sv_trim(text);
    return text.size == 0 || sv_eq(text, SV(";"));
}

static enum admin_command find_command(struct sv text)
{
    for (int i = 0; i < ADMIN_COMMANDS; i++) {
        if (is_command(text, commands[i].text))
            return (enum admin_command)i;
    }
    return ADMIN_COMMANDS;
}

static void refuse(struct client *client, struct sv text)
{
    struct hf_err err;
    if (is_command(text, "SHOW")) {
        err_set(&err, HF_RC_INVALID, "42601", "SHOW what?");
    } else {
        err_set(&err, HF_RC_INVALID, "42601", "unknown command \"" SV_FMT "\"",
                SV_ARG(sv_trim(text)));
    }
    err_hint(&err, "SHOW HELP lists the commands.");
    say_error(client, &err);
}

static void run(struct client *client, enum admin_command command)
{
    struct proxy *proxy = client->worker->proxy;
    struct hf_err err;
    if (commands[command].is_change && !client->is_admin) {
        err_set(&err, HF_RC_DENIED, "42501", "permission denied for %s", commands[command].text);
        err_hint(&err, "It is for the users in proxy.admin_users.");
        say_error(client, &err);
        return;
    }
    client->is_asking = 1;
    switch ((int)command) {
    case ADMIN_SHOW_HELP:
        show_help(client);
        return;
    case ADMIN_SHOW_VERSION:
        show_version(client);
        return;
    case ADMIN_SHOW_CONFIG:
        show_config(client);
        return;
    case ADMIN_SHOW_DATABASES:
        show_databases(client);
        return;
    case ADMIN_RELOAD:
        atomic_store(&proxy->wish, PROXY_WISH_RELOAD);
        say_end(client, "RELOAD");
        return;
    case ADMIN_SHUTDOWN:
        atomic_store(&proxy->wish, PROXY_WISH_SHUTDOWN);
        say_end(client, "SHUTDOWN");
        return;
    case ADMIN_NOTHING:
        say_end(client, "");
        return;
    default:
        if (!gather_begin(client, gather_of(command)))
            client_close(client, "out of memory for the console");
        return;
    }
}

void admin_gathered(struct client *client, struct gather *gather)
{
    if (client->state != CLIENT_ADMIN)
        return;
    if (!client->is_extended)
        say_columns(client, gather_columns(gather->kind));
    if (gather->text.block != NULL && !say(client, buffer_view(&gather->text))) {
        client_close(client, "out of memory for the console");
        return;
    }
    say_end(client, "SHOW");
    admin_event(client);
}

/* ---- messages ---- */

static void say_empty(struct client *client, char type)
{
    char bytes[16];
    struct buffer out;
    buffer_init(&out, bytes, sizeof bytes);
    enum hf_rc rc = type == 'Z' ? build_ready(&out, 'I') : build_empty(&out, type);
    if (rc == HF_OK && !say(client, buffer_view(&out)))
        client_close(client, "out of memory for the console");
}

static void parsed(struct client *client, struct message message)
{
    struct message_parse parse;
    struct hf_err err;
    if (message_parse(message, &parse) != MESSAGE_OK) {
        err_set(&err, HF_RC_PEER, "08P01", "invalid message format");
        say_error(client, &err);
        return;
    }
    enum admin_command command = find_command(parse.text);
    if (command == ADMIN_COMMANDS) {
        refuse(client, parse.text);
        return;
    }
    client->command = (uint8_t)command;
    say_empty(client, '1');
}

static void described(struct client *client, struct message message)
{
    struct message_target target;
    const char *const *columns = columns_of((enum admin_command)client->command);
    if (message_target(message, &target) == MESSAGE_OK && target.kind == 'S') {
        char bytes[16];
        struct buffer out;
        buffer_init(&out, bytes, sizeof bytes);
        struct build types = build_begin(&out, 't');
        build_u16(&types, 0);
        if (build_end(&types) == HF_OK && !say(client, buffer_view(&out)))
            client_close(client, "out of memory for the console");
    }
    if (columns != NULL)
        say_columns(client, columns);
    else
        say_empty(client, 'n');
}

/* One whole message. */
static void obey(struct client *client, char type, struct message message)
{
    struct sv text;
    client->is_extended = type != 'Q';
    if (client->skips && type != 'S' && type != 'Q')
        return;
    switch (type) {
    case 'Q': {
        client->skips = 0;
        enum admin_command command =
            message_query(message, &text) == MESSAGE_OK ? find_command(text) : ADMIN_COMMANDS;
        if (command == ADMIN_COMMANDS)
            refuse(client, message.body.size > 0 ? text : SV(""));
        else
            run(client, command);
        return;
    }
    case 'P':
        parsed(client, message);
        return;
    case 'B':
        say_empty(client, '2');
        return;
    case 'D':
        described(client, message);
        return;
    case 'E':
        run(client, (enum admin_command)client->command);
        return;
    case 'C':
        say_empty(client, '3');
        return;
    case 'S':
        client->skips = 0;
        say_empty(client, 'Z');
        return;
    default:
        return; /* Flush, and what a console has no use for */
    }
}

void admin_event(struct client *client)
{
    struct loop *loop = client->worker->loop;
    struct frame_part part;
    struct hf_err err;
    while (client->state == CLIENT_ADMIN && !client->is_asking && flush(client)) {
        enum frame_status status = frame_look(&client->frame, stream_view(&client->stream), &part);
        if (status == FRAME_MORE)
            return;
        if (status == FRAME_BAD || part.size > LOOP_BLOCK_SIZE / 2) {
            err_set(&err, HF_RC_PEER, "08P01", "the console does not understand this");
            client_fail(client, &err);
            return;
        }
        if (part.type == 'X') {
            client_close(client, "client said goodbye");
            return;
        }
        if (!part.is_last)
            return;
        frame_take(&client->frame, part.bytes.size);
        obey(client, part.type, message_of(&part));
        if (client->state == CLIENT_ADMIN)
            stream_consume(loop, &client->stream, part.bytes.size);
    }
}

void admin_enter(struct client *client)
{
    const struct admission *admission = client->admission;
    const struct proxy_settings *settings = &client->worker->config->proxy;
    struct sv role = sv_from_cstr(admission->role);
    struct hf_err err;
    client->is_admin = proxy_list_has(settings->admin_users, role);
    if (!client->is_admin && !proxy_list_has(settings->stats_users, role)) {
        err_set(&err, HF_RC_DENIED, "42501", "permission denied for the console");
        err_hint(&err, "It is for the users in proxy.admin_users and proxy.stats_users.");
        client_fail(client, &err);
        return;
    }
    if (admission_greet(client, NULL))
        client_enter(client, CLIENT_ADMIN);
}
