#include "proxy/admin_command.h"

#include <stdio.h>
#include <string.h>

#include "proxy/admin.h"
#include "proxy/admin_say.h"
#include "proxy/admin_setting.h"
#include "proxy/client.h"
#include "proxy/order.h"
#include "proxy/worker.h"

#define POLL_NS HF_MS(10)

/* ---- settings, reload, shutdown: what the main thread does ---- */

static void wait_for_order(struct client *client, uint64_t number, const char *tag)
{
    struct admin_session *session = client->console;
    session->order = number;
    session->tag = tag;
    session->wait = ADMIN_WAIT_ORDER;
    session->poll_at_ns = ns_add(worker_now(client->worker), POLL_NS);
    client_enter(client, CLIENT_ADMIN); /* with the timer for it */
}

static void refuse_second_order(struct client *client)
{
    struct hf_err err;
    err_set(&err, HF_RC_AGAIN, "55006", "another change is under way");
    err_hint(&err, "Try again when it is done.");
    say_error(client, &err);
}

static void run_reload(struct client *client, const struct admin_words *words)
{
    (void)words;
    uint64_t number = order_give(client->worker->proxy, ORDER_RELOAD, NULL);
    if (number == 0)
        refuse_second_order(client);
    else
        wait_for_order(client, number, "RELOAD");
}

/* What drivers set when they connect, and the console has no use for. */
static bool is_for_sessions(struct sv name)
{
    static const char *const names[] = {
        "client_encoding",
        "default_transaction_isolation",
        "standard_conforming_strings",
        "datestyle",
        "timezone",
        "extra_float_digits",
        "application_name",
        "client_min_messages",
        "intervalstyle",
        "bytea_output",
        "statement_timeout",
        "search_path",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (sv_eq_nocase(name, sv_from_cstr(names[i])))
            return true;
    }
    return false;
}

/* Who did what, also when it fails: each of them is wanted, however many come at once. */
static void note_command(struct client *client, const char *verb, const char *argument)
{
    char peer[PEER_TEXT_SIZE];
    log_emit_each(client->worker->proxy->log, LOG_AT_INFO, "command on the console",
                  log_text("command", verb), log_text("argument", argument),
                  log_text("role", client->console->role),
                  log_text("address", peer_text(&client->peer, peer)));
}

/* The value is not told: it may be a secret, and what changes is logged without any. */
static void run_set(struct client *client, const struct admin_words *words)
{
    struct admin_session *session = client->console;
    struct worker *worker = client->worker;
    struct admin_setting setting;
    struct hf_err err;
    struct sv name = sv_from_cstr(words->argument);
    if (is_for_sessions(name)) {
        say_notice(client, "SET ignored");
        say_end(client, "SET");
        return;
    }
    if (!session->is_admin) {
        err_set(&err, HF_RC_DENIED, "42501", "admin access needed");
        err_hint(&err, "SET is for the users in proxy.admin_users.");
        say_error(client, &err);
        return;
    }
    note_command(client, "SET", words->argument);
    struct proxy_config *config = NULL;
    if (admin_setting_find(name, &setting, &err))
        config = admin_setting_change(worker->config, &setting, sv_from_cstr(words->value), &err);
    if (config == NULL) {
        say_error(client, &err);
        return;
    }
    uint64_t number = order_give(worker->proxy, ORDER_CONFIG, config);
    if (number == 0) {
        proxy_config_free(config);
        refuse_second_order(client);
        return;
    }
    snprintf(session->said, sizeof session->said, "SET %s=%s", words->argument, words->value);
    wait_for_order(client, number, session->said);
}

/* ---- SHUTDOWN ---- */

static void give_end(struct client *client, enum proxy_wish wish)
{
    atomic_store(&client->worker->proxy->wish, wish);
    order_wake(client->worker->proxy);
    say_end(client, "SHUTDOWN");
}

void admin_shutdown_closed(struct client *client)
{
    give_end(client, PROXY_WISH_END_WITH_SERVERS);
}

static void refuse_words(struct client *client, const char *verb, const char *argument)
{
    struct hf_err err;
    err_set(&err, HF_RC_INVALID, "42601", "invalid command '%s%s%s', use SHOW HELP;", verb,
            argument[0] != '\0' ? " " : "", argument);
    say_error(client, &err);
}

static void run_shutdown(struct client *client, const struct admin_words *words)
{
    struct sv how = sv_from_cstr(words->argument);
    if (how.size == 0) {
        give_end(client, PROXY_WISH_STOP);
    } else if (sv_eq_nocase(how, SV("WAIT_FOR_SERVERS"))) {
        admin_pools_close(client);
    } else if (sv_eq_nocase(how, SV("WAIT_FOR_CLIENTS"))) {
        give_end(client, PROXY_WISH_LEAVE);
    } else if (sv_eq_nocase(how, SV("DRAIN"))) {
        give_end(client, PROXY_WISH_SHUTDOWN);
    } else {
        refuse_words(client, words->verb, words->argument);
    }
}

/* ---- what drivers say around a query ---- */

static void run_begin(struct client *client, const struct admin_words *words)
{
    (void)words;
    client->console->is_in_block = true;
    say_end(client, "BEGIN");
}

static void run_commit(struct client *client, const struct admin_words *words)
{
    client->console->is_in_block = false;
    say_end(client, sv_eq_nocase(sv_from_cstr(words->verb), SV("COMMIT")) ? "COMMIT" : "ROLLBACK");
}

static void run_discard(struct client *client, const struct admin_words *words)
{
    (void)words;
    say_end(client, "DISCARD ALL");
}

/* ---- the table ---- */

static const struct admin_command commands[] = {
    {"SET", "key = value", "Changes a setting now; until the next RELOAD, and not in the file.",
     ADMIN_ARGUMENT_WORD, true, false, run_set},
    {"RELOAD", "", "Reads the configuration again, as SIGHUP does.", ADMIN_ARGUMENT_NONE, false,
     false, run_reload},
    {"PAUSE", "[db]",
     "Lets clients finish what they do, closes the server connections and answers then; who asks "
     "for more waits until RESUME.",
     ADMIN_ARGUMENT_MAY, false, false, admin_pause},
    {"RESUME", "[db]", "Ends a PAUSE, KILL or SUSPEND.", ADMIN_ARGUMENT_MAY, false, false,
     admin_resume},
    {"DISABLE", "db", "Lets no new client into the database.", ADMIN_ARGUMENT_MUST, false, false,
     admin_disable},
    {"ENABLE", "db", "Lets clients in again.", ADMIN_ARGUMENT_MUST, false, false, admin_enable},
    {"RECONNECT", "[db]",
     "Replaces server connections: each is closed as soon as no client has it.", ADMIN_ARGUMENT_MAY,
     false, false, admin_reconnect},
    {"KILL", "[db]",
     "Drops clients and server connections at once; who comes then waits until "
     "RESUME.",
     ADMIN_ARGUMENT_MAY, false, false, admin_kill},
    {"KILL_CLIENT", "id", "Drops one client, by its id in SHOW CLIENTS.", ADMIN_ARGUMENT_WORD,
     false, false, admin_kill_client},
    {"TRACE", "id",
     "Logs each message of one client, by its id in SHOW CLIENTS: type and size, no content.",
     ADMIN_ARGUMENT_WORD, false, true, admin_trace},
    {"UNTRACE", "id", "Ends a TRACE.", ADMIN_ARGUMENT_WORD, false, true, admin_untrace},
    {"SUSPEND", "", "Listens to no client, and answers when nothing is on its way to one.",
     ADMIN_ARGUMENT_NONE, false, false, admin_suspend},
    {"WAIT_CLOSE", "[db]",
     "Answers when the server connections that RECONNECT or a reload replaces are gone.",
     ADMIN_ARGUMENT_MAY, false, false, admin_wait_close},
    {"SHUTDOWN", "[WAIT_FOR_SERVERS | WAIT_FOR_CLIENTS | DRAIN]",
     "Ends the proxy: at once; when no server connection is in use; when the last client has gone; "
     "or (ours) as SIGTERM does.",
     ADMIN_ARGUMENT_WORD, false, false, run_shutdown},
    {"BEGIN", "", "Accepted from drivers, and does nothing; so are COMMIT, ROLLBACK, DISCARD.",
     ADMIN_ARGUMENT_WORD, true, true, run_begin},
    {"COMMIT", "", NULL, ADMIN_ARGUMENT_WORD, true, true, run_commit},
    {"ROLLBACK", "", NULL, ADMIN_ARGUMENT_WORD, true, true, run_commit},
    {"DISCARD", "", NULL, ADMIN_ARGUMENT_WORD, true, true, run_discard},
};

const struct admin_command *admin_command_at(size_t index)
{
    return index < sizeof commands / sizeof commands[0] ? &commands[index] : NULL;
}

const struct admin_command *admin_command_find(struct sv verb)
{
    const struct admin_command *command;
    for (size_t i = 0; (command = admin_command_at(i)) != NULL; i++) {
        if (sv_eq_nocase(sv_from_cstr(command->verb), verb))
            return command;
    }
    return NULL;
}

/* The argument names a database that there is, and that is not the console. */
static bool is_database(struct client *client, const struct admin_command *command,
                        const struct admin_words *words, struct hf_err *err)
{
    struct sv name = sv_from_cstr(words->argument);
    if (name.size == 0 && command->argument == ADMIN_ARGUMENT_MAY)
        return true;
    if (name.size == 0) {
        err_set(err, HF_RC_INVALID, "42601", "a database is required");
        return false;
    }
    if (admin_is_console(name)) {
        char verb[ADMIN_VERB_SIZE];
        for (size_t i = 0; i < sizeof verb; i++) {
            char c = command->verb[i];
            verb[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
            if (c == '\0')
                break;
        }
        err_set(err, HF_RC_INVALID, "42809", "cannot %s admin db: %s", verb, words->argument);
        return false;
    }
    if (name.size >= PROXY_NAME_SIZE || proxy_database_find(client->worker->config, name) == NULL) {
        err_set(err, HF_RC_MISSING, "3D000", "no such database: %s", words->argument);
        return false;
    }
    return true;
}

void admin_command_run(struct client *client, const struct admin_command *command,
                       const struct admin_words *words)
{
    struct hf_err err;
    struct admin_session *session = client->console;
    session->is_asking = true;
    if (command->argument == ADMIN_ARGUMENT_NONE && words->argument[0] != '\0') {
        refuse_words(client, words->verb, words->argument);
        return;
    }
    if (!session->is_admin && !command->is_for_all) {
        err_set(&err, HF_RC_DENIED, "42501", "admin access needed");
        err_hint(&err, "%s is for the users in proxy.admin_users.", command->verb);
        say_error(client, &err);
        return;
    }
    if ((command->argument == ADMIN_ARGUMENT_MAY || command->argument == ADMIN_ARGUMENT_MUST) &&
        !is_database(client, command, words, &err)) {
        say_error(client, &err);
        return;
    }
    if (!command->is_for_all)
        note_command(client, command->verb, words->argument);
    command->run(client, words);
}

void admin_command_poll(struct client *client)
{
    struct admin_session *session = client->console;
    struct hf_err err;
    session->poll_at_ns = HF_NEVER;
    if (session->wait != ADMIN_WAIT_ORDER) {
        admin_pools_poll(client);
        return;
    }
    if (!order_answer(client->worker->proxy, session->order, &err)) {
        session->poll_at_ns = ns_add(worker_now(client->worker), POLL_NS);
        return;
    }
    if (err.rc == HF_OK)
        say_end(client, session->tag);
    else
        say_error(client, &err);
}

void admin_command_give_up(struct client *client, bool is_gone)
{
    struct admin_session *session = client->console;
    struct hf_err err;
    if (is_gone) {
        if (session->has_suspended)
            admin_pools_undo(client);
        return;
    }
    if (session->wait == ADMIN_WAIT_NONE || session->wait == ADMIN_WAIT_ORDER)
        return; /* an order is done in a moment */
    if (session->wait != ADMIN_WAIT_CLOSE)
        admin_pools_undo(client);
    err_set(&err, HF_RC_PEER, "57014", "canceling statement due to user request");
    say_error(client, &err);
}
