#include "proxy/session_state.h"

#include <string.h>

#include "base/bug.h"
#include "proxy/client.h"
#include "proxy/listen.h"
#include "proxy/pool.h"
#include "proxy/prepare.h"
#include "proxy/server.h"
#include "proxy/worker.h"
#include "wire/build.h"
#include "wire/census.h"
#include "wire/message.h"
#include "wire/prepared.h"
#include "wire/question.h"

#define NAMES_SIZE 4096 /* of settings of the application's own, in texts since the last census */
#define ASKED_SIZE 8192 /* these, and those that are set already */
#define TEXT_SIZE  (ASKED_SIZE + 3072)

/* What the texts may leave that cannot move. */
#define HOLDING (ACTS_CURSOR | ACTS_TEMPORARY | ACTS_ADVISORY | ACTS_LOAD)

/* What may change settings; and holds. */
#define SETTING (ACTS_SET | ACTS_RESET | ACTS_DISCARD | ACTS_UNKNOWN)
#define ENDING  (HOLDING | ACTS_DISCARD | ACTS_UNKNOWN | ACTS_DROP)

/* Of a client that has ever changed its session. */
struct session {
    struct census census;
    uint32_t parts; /* of the census under way */
    bool is_bad;    /* its answer makes no sense, or cannot be kept */
    bool is_full;   /* names were seen that are not in the list */
    bool needs_all; /* not only what is in the list may have changed */
    size_t names_size;
    char names[NAMES_SIZE];
};

static struct proxy *proxy_of(const struct client *client)
{
    return client->worker->proxy;
}

static enum proxy_session_features features_of(const struct client *client)
{
    return client->part->config.session_features;
}

const char *session_pins_text(uint32_t pins, char out[SESSION_PINS_SIZE])
{
    static const char *const words[] = {"temporary objects", "advisory locks", "held cursors",
                                        "channels", "library"};
    size_t size = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if ((pins >> i & 1) == 0)
            continue;
        const char *parts[] = {size > 0 ? ", " : "", words[i]};
        for (size_t j = 0; j < 2; j++) {
            size_t length = strlen(parts[j]);
            memcpy(out + size, parts[j], length + 1);
            size += length;
        }
    }
    return out;
}

/* ---- what the client says ---- */

uint32_t session_acts(const struct client *client, struct sv text, bool is_whole)
{
    if (client->part->pool->mode == PROXY_POOL_SESSION)
        return 0;
    uint32_t acts = acts_mask(text, &client->server->rules);
    return is_whole ? acts : acts | ACTS_UNKNOWN;
}

static bool has_name(const struct session *session, struct sv name)
{
    struct sv list = sv_from(session->names, session->names_size), known;
    while (list.size > 0 && sv_split(&list, '\0', &known))
        if (sv_eq_nocase(known, name))
            return true;
    return false;
}

static void note_name(struct session *session, struct sv name)
{
    if (has_name(session, name))
        return;
    if (!census_can_ask(name) || name.size + 1 > NAMES_SIZE - session->names_size) {
        session->is_full = true;
        return;
    }
    memcpy(session->names + session->names_size, name.data, name.size);
    session->names[session->names_size + name.size] = '\0';
    session->names_size += name.size + 1;
}

/* All that may be names of settings of the application's own. */
static void note_names(struct session *session, struct sv text)
{
    size_t at = 0;
    struct sv name;
    while (acts_custom_name(text, &at, &name))
        note_name(session, name);
}

/* What SET names, as it is written; quotes mean nothing in a name of a setting. */
static void note_written(struct session *session, struct sv written)
{
    char name[SETTINGS_NAME_MAX];
    size_t size = 0;
    for (size_t i = 0; i < written.size; i++) {
        if (written.data[i] == '"')
            continue;
        if (size == sizeof name) /* the server cuts it, or refuses it */
            return;
        name[size++] = written.data[i];
    }
    note_name(session, sv_from(name, size));
}

/* Whoever SETs something by its name has changed nothing else. */
static bool is_named(const struct acts_statement *statement)
{
    return statement->kind == ACTS_IS_SET && (statement->mask & SETTING) == ACTS_SET &&
           !sv_eq_nocase(statement->name, SV("role")) &&
           !sv_eq_nocase(statement->name, SV("session_authorization"));
}

static void note_statements(struct session *session, struct sv text, const struct lex_rules *rules)
{
    struct acts_walk walk;
    struct acts_statement statement;
    acts_begin(&walk, text, rules);
    while (acts_next(&walk, &statement)) {
        bool is_set = statement.kind == ACTS_IS_SET || statement.kind == ACTS_IS_RESET;
        if (is_set)
            note_written(session, statement.name);
        if ((statement.mask & SETTING) != 0 && !is_named(&statement)) {
            session->needs_all = true;
            note_names(session, statement.text);
        }
    }
}

static struct session *session_of(struct client *client)
{
    if (client->session == NULL) {
        client->session = mem_alloc(proxy_of(client)->mem, sizeof *client->session);
        if (client->session != NULL)
            memset(client->session, 0, offsetof(struct session, names));
    }
    return client->session;
}

void session_note(struct client *client, struct sv text, uint32_t acts, struct sv body)
{
    bool is_known = (acts & ~client->server->acts) == 0; /* by the Parse before */
    client->server->acts |= acts;
    if ((acts & ACTS_LISTEN) != 0)
        listen_expect(client->server, 'P');
    if ((acts & (ACTS_SET | ACTS_RESET | ACTS_UNKNOWN)) == 0)
        return;
    struct session *session = session_of(client);
    if (session == NULL) { /* what it names is not known: nobody may have the connection later */
        client->server->is_tainted = true;
        return;
    }
    if ((acts & SETTING) != ACTS_SET || (text.size == 0 && !is_known))
        session->needs_all = true;
    note_statements(session, text, &client->server->rules);
    if (session->needs_all)
        note_names(session, body);
}

/* ---- refusing ---- */

static const char *refused_text(uint32_t acts)
{
    if ((acts & ACTS_TEMPORARY) != 0)
        return "temporary objects";
    if ((acts & ACTS_ADVISORY) != 0)
        return "advisory locks of the session";
    return (acts & ACTS_CURSOR) != 0 ? "cursors WITH HOLD" : "LOAD";
}

static void explain_refusal(uint32_t acts, const struct client *client, struct hf_err *err)
{
    static const char *const modes[] = {"session", "transaction", "statement"};
    err_set(err, HF_RC_DENIED, "0A000", "%s are not allowed in %s pooling mode", refused_text(acts),
            modes[client->part->pool->mode]);
    err_detail(err,
               "They stay on one server connection, and the next statement may run on another "
               "one; session_features of database \"%s\" is refuse.",
               client->part->pool->name);
    err_hint(err,
             "Use what ends with the transaction (ON COMMIT DROP, pg_advisory_xact_lock), or a "
             "pool in session mode, or session_features = pin.");
}

/* In place of the message something is sent that must fail, so that the error comes in its turn,
 * and the server's transaction fails with it; session_from_server() puts in the words. It waits
 * until nothing else is owed, so that the error is known to be this one's. */
static enum relay_step refuse(struct client *client, struct relay_run *run,
                              const struct frame_part *part, uint32_t acts)
{
    struct server *server = client->server;
    struct replies *replies = &server->replies;
    size_t size = part->bytes.size;
    if (replies->is_skipping || replies_rest(replies) == REPLIES_COPYING)
        return RELAY_PASS; /* the server refuses whatever it is */
    if (replies_room(replies) < replies->capacity)
        return replies_rest(replies) == REPLIES_OPEN ? relay_send_flush(server, run) : RELAY_STOP;
    if (replies->status == 'E')
        return RELAY_PASS; /* the server refuses it, as it does all */
    relay_run_put(run);
    struct buffer *out = stream_out(run->loop, &server->stream, 64);
    if (out == NULL)
        return RELAY_STOP;
    prepare_note_unnamed(client);
    enum relay_step step = relay_send_plain(client, run, part, 0, PREPARED_TAG_UNNAMED);
    if (step != RELAY_PASS)
        return step;
    enum hf_rc rc;
    if (part->type == 'Q') {
        rc = build_query(out, SV("DEALLOCATE hf_"));
    } else {
        struct build build = build_begin(out, 'D');
        build_bytes(&build, SV("S"));
        build_cstr(&build, SV("hf_"));
        rc = build_end(&build);
    }
    hf_assert(rc == HF_OK);
    server->refused = acts;
    frame_take(&client->frame, size);
    relay_run_drop(run, size);
    relay_run_fit(run);
    return RELAY_DONE;
}

enum relay_step session_from_client(struct client *client, struct relay_run *run,
                                    const struct frame_part *part, struct sv text, uint32_t acts)
{
    bool is_refused = features_of(client) == PROXY_SESSION_REFUSE && (acts & HOLDING) != 0;
    if (is_refused && part->is_last && !client->server->replies.is_skipping)
        return refuse(client, run, part, acts & HOLDING);
    session_note(client, text, acts, sv_from("", 0));
    if (part->type == 'Q' && (acts & ACTS_LISTEN) != 0)
        listen_expect(client->server, 'Q');
    return RELAY_PASS;
}

/* ---- what the server says ---- */

static bool replace_error(struct server *server, struct relay_run *run,
                          const struct frame_part *part)
{
    struct client *client = server->client;
    struct message_error error;
    struct hf_err err;
    uint32_t acts = server->refused;
    server->refused = 0;
    enum message_rc rc = message_error_fields(message_of(part), &error);
    if ((rc != MESSAGE_OK && rc != MESSAGE_MORE) || !sv_eq(error.sqlstate, SV("26000")))
        return false; /* the transaction had failed before */
    explain_refusal(acts, client, &err);
    relay_run_put(run);
    struct buffer *out = stream_out(run->loop, &client->stream, RELAY_RESERVE);
    return out != NULL && build_error(out, BUILD_ERROR, &err) == HF_OK;
}

/* DISCARD ALL alone needs no census: nothing is left. If something else was sent that may change
 * the session, it may have been behind it. */
static void discarded(struct server *server)
{
    struct client *client = server->client;
    if ((server->acts & ACTS_CHANGE) != ACTS_DISCARD ||
        (client->startup != 0 && !server->is_discarding))
        return;
    if (server->prepared == NULL)
        client_discarded(client);
    server->acts |= ACTS_DROP; /* of a pinned client it is known only then */
    server->acts &= ~(uint32_t)ACTS_CHANGE;
}

bool session_needs_more(const struct server *server, const struct frame_part *part)
{
    return server->is_asking && part->type == 'D' && !part->is_last &&
           part->bytes.size < LOOP_BLOCK_SIZE / 2;
}

static void take_row(struct server *server, const struct frame_part *part)
{
    struct proxy *proxy = proxy_of(server->client);
    struct session *session = server->client->session;
    pthread_mutex_lock(&proxy->lock);
    if (census_row(&session->census, &proxy->settings, message_of(part)) != HF_OK)
        session->is_bad = true;
    pthread_mutex_unlock(&proxy->lock);
}

bool session_from_server(struct server *server, struct relay_run *run,
                         const struct frame_part *part, const struct replies_verdict *verdict)
{
    struct sv command;
    if (server->client == NULL)
        return false;
    if (verdict->whose == REPLIES_OURS) {
        if (server->is_asking && part->type == 'D')
            take_row(server, part);
        return false;
    }
    if (part->type == 'E' && server->refused != 0 && verdict->whose == REPLIES_CLIENT)
        return replace_error(server, run, part);
    if (part->type == 'C' && (server->acts & ACTS_DISCARD) != 0 &&
        message_text(message_of(part), &command) == MESSAGE_OK && sv_eq(command, SV("DISCARD ALL")))
        discarded(server);
    return false;
}

/* ---- the census ---- */

static uint32_t parts_needed(const struct server *server)
{
    const struct client *client = server->client;
    uint32_t parts = 0;
    bool is_named = (server->acts & SETTING) == ACTS_SET && client->session != NULL &&
                    !client->session->needs_all;
    if ((server->acts & SETTING) != 0)
        parts |= is_named ? CENSUS_NAMES : CENSUS_SETTINGS;
    bool may_hold = (server->acts & (ENDING & ~(uint32_t)ACTS_DROP)) != 0;
    if ((may_hold && features_of(client) != PROXY_SESSION_LEAVE) ||
        (client->pins != 0 && (server->acts & ENDING) != 0))
        parts |= CENSUS_HOLDS;
    return parts;
}

static bool is_custom(struct sv name)
{
    return sv_find(name, '.') < name.size;
}

/* One name more, with a zero byte behind it. */
static bool add_name(char *out, size_t *size, struct sv name)
{
    if (name.size + 1 > ASKED_SIZE - *size)
        return false;
    memcpy(out + *size, name.data, name.size);
    out[*size + name.size] = '\0';
    *size += name.size + 1;
    return true;
}

/* The names to ask for: those in texts. If all is asked for, those of the application's own only,
 * as others are in it, and with them those that are set. */
static struct sv gather_names(struct server *server, uint32_t parts, char *out)
{
    struct client *client = server->client;
    struct proxy *proxy = proxy_of(client);
    struct session *session = client->session;
    struct sv list = sv_from(session->names, session->names_size), name, value;
    uint32_t cursor = 0;
    size_t size = 0;
    bool is_all = (parts & CENSUS_SETTINGS) != 0, has_room = true;
    while (list.size > 0 && sv_split(&list, '\0', &name))
        if (name.size > 0 && (!is_all || is_custom(name)))
            has_room &= add_name(out, &size, name);
    pthread_mutex_lock(&proxy->lock);
    while (is_all && settings_each(&proxy->settings, server->settings, &cursor, &name, &value))
        if (is_custom(name) && !has_name(session, name))
            has_room &= add_name(out, &size, name);
    pthread_mutex_unlock(&proxy->lock);
    session->is_full |= !has_room;
    return sv_from(out, size);
}

static bool ask(struct server *server, uint32_t parts, struct sv names)
{
    char text_bytes[TEXT_SIZE], bytes[TEXT_SIZE + 256];
    struct buffer text, question;
    buffer_init(&text, text_bytes, sizeof text_bytes);
    buffer_init(&question, bytes, sizeof bytes);
    return census_text(parts, names, &text) == HF_OK &&
           question_put(&question, buffer_view(&text)) == HF_OK &&
           server_ask_questions(server, buffer_view(&question), 1);
}

static void begin_census(struct server *server, uint32_t parts)
{
    struct client *client = server->client;
    struct worker *worker = client->worker;
    struct session *session = session_of(client);
    char names[ASKED_SIZE];
    struct hf_err err;
    if (session == NULL || !ask(server, parts, gather_names(server, parts, names))) {
        err_set(&err, HF_RC_LIMIT, "53200", "could not ask what the session has set");
        client_fail(client, &err);
        return;
    }
    if (session->is_full) {
        log_emit(proxy_of(client)->log, LOG_AT_WARNING, "names of settings that cannot be followed",
                 log_text("database", client->part->pool->name),
                 log_text("role", client->part->pool->role), log_int("pid", client->pid));
        server->is_tainted = true;
    }
    session->parts = parts;
    session->is_bad = false;
    session->census = (struct census){.user = sv_from_cstr(client->part->pool->role)};
    if ((parts & CENSUS_NAMES) != 0) {
        session->census.set = server->settings;
        proxy_settings_keep(worker->proxy, server->settings);
    }
    if (client->part->database != NULL && client->part->database->user[0] != '\0')
        session->census.user = sv_from_cstr(client->part->database->user);
    server->is_asking = true;
    worker_timer(worker, &server->timer,
                 ns_add(worker_now(worker), client->part->config.server_clean_timeout_ns));
}

bool session_lets_go(struct server *server)
{
    if (server->acts == 0)
        return server->client->pins == 0;
    uint32_t parts = parts_needed(server);
    if (parts != 0) {
        begin_census(server, parts);
        return false;
    }
    server->acts = 0;
    return server->client->pins == 0;
}

/* The settings that it began with and that are not set go back to what they were then. One of the
 * application's own that is reset is empty for the server. */
static enum hf_rc with_startup(struct settings *store, uint32_t set, uint32_t startup,
                               bool was_reset, uint32_t *out)
{
    struct settings_edit edit = settings_edit_begin(store, set);
    struct sv name, value;
    uint32_t cursor = 0;
    while (settings_each(store, startup, &cursor, &name, &value)) {
        struct sv is = settings_find(store, set, name);
        if (is.data == NULL || (was_reset && is.size == 0 && is_custom(name)))
            settings_edit_put(&edit, name, value);
    }
    return settings_edit_end(&edit, out);
}

/* The census is what the connection has, and the client wants. False: there is no room. */
static bool take_settings(struct server *server, struct session *session)
{
    struct client *client = server->client;
    struct settings *store = &proxy_of(client)->settings;
    uint32_t wanted, set = session->census.set;
    session->census.set = 0;
    pthread_mutex_lock(&proxy_of(client)->lock);
    bool was_reset = (server->acts & (ACTS_RESET | ACTS_DISCARD)) != 0;
    bool is_good = with_startup(store, set, client->startup, was_reset, &wanted) == HF_OK;
    settings_drop(store, server->settings);
    server->settings = set;
    if (is_good) {
        settings_drop(store, client->settings);
        client->settings = wanted;
    }
    pthread_mutex_unlock(&proxy_of(client)->lock);
    return is_good;
}

static void take_pins(struct client *client, uint32_t pins)
{
    char text[SESSION_PINS_SIZE];
    uint32_t before = client->pins;
    client->pins = pins;
    if (before == pins)
        return;
    client_enter(client, (enum client_state)client->state); /* other limits of time hold now */
    log_emit(proxy_of(client)->log, LOG_AT_INFO,
             pins != 0 ? "client keeps its server connection" : "client is free of its connection",
             log_text("reason", session_pins_text(pins != 0 ? pins : before, text)),
             log_text("database", client->part->pool->name),
             log_text("role", client->part->pool->role), log_int("pid", client->pid),
             log_int("server_pid", client->server->pid));
}

/* The census failed, or cannot be kept: what the connection has is not known. */
static bool give_up(struct server *server)
{
    struct client *client = server->client;
    struct hf_err err;
    if (server->is_failed) {
        err = server->last_error;
        err_detail(&err, "The proxy has asked what the session has set, so that it finds it on "
                         "another server connection.");
    } else {
        err_set(&err, HF_RC_LIMIT, "53200", "no room for the settings of the session");
        err_detail(&err, "A session may have %d settings with values of %d bytes.",
                   SETTINGS_COUNT_MAX, SETTINGS_VALUE_MAX);
    }
    server->is_failed = false;
    client_fail(client, &err);
    return false;
}

/* The census again. Says what session_answered() does, which this is the end of: nothing more is to
 * be done with the pair now. */
static bool ask_again(struct server *server)
{
    struct session *session = server->client->session;
    proxy_settings_drop(proxy_of(server->client), session->census.set);
    session->census.set = 0;
    begin_census(server, session->parts);
    return false;
}

/* It holds what session_features does not let it. */
static bool end_holder(struct client *client, uint32_t pins)
{
    uint32_t acts = (pins & SESSION_PIN_TEMPORARY) != 0 ? ACTS_TEMPORARY
                    : (pins & SESSION_PIN_LOCK) != 0    ? ACTS_ADVISORY
                                                        : ACTS_CURSOR;
    struct hf_err err;
    explain_refusal(acts, client, &err);
    client_fail(client, &err);
    return false;
}

bool session_answered(struct server *server)
{
    struct client *client = server->client;
    struct session *session = client->session;
    uint32_t pins = client->pins & SESSION_PIN_LIBRARY;
    server->is_asking = false;
    worker_timer(client->worker, &server->timer, HF_NEVER);
    if (server->is_failed && server_was_cancelled(server))
        return ask_again(server);
    server->tries = 0;
    bool has_settings = (session->parts & (CENSUS_SETTINGS | CENSUS_NAMES)) != 0;
    if (server->is_failed || session->is_bad || (has_settings && !take_settings(server, session)))
        return give_up(server);
    if (client->unnamed_acts == 0)
        session->names_size = 0;
    session->is_full = false;
    session->needs_all = false;
    if ((session->parts & CENSUS_HOLDS) != 0) {
        pins |= session->census.holds & ~(uint32_t)SESSION_PIN_CHANNEL;
        if ((session->census.holds & SESSION_PIN_CHANNEL) != 0)
            listen_found(server); /* it listens wherever it is: listen.h */
        if ((server->acts & ACTS_LOAD) != 0)
            pins |= SESSION_PIN_LIBRARY;
        if ((pins & ~(uint32_t)SESSION_PIN_CHANNEL) != 0 &&
            features_of(client) == PROXY_SESSION_REFUSE)
            return end_holder(client, pins);
        take_pins(client, pins);
    }
    server->acts = 0;
    return client->pins == 0 || server_sync(server);
}

/* ---- lives ---- */

void session_left(struct server *server, struct client *client)
{
    server->refused = 0;
    server->is_asking = false;
    if (client->pins == 0)
        return;
    server->acts |= ACTS_DISCARD;
    if ((client->pins & SESSION_PIN_LIBRARY) != 0)
        server->is_tainted = true;
    client->pins = 0;
}

bool session_is_left(const struct server *server)
{
    return (server->acts & ACTS_CHANGE) != 0;
}

/* Nothing of what anybody has set is there any more. */
void session_reset(struct server *server)
{
    if (session_is_left(server)) {
        proxy_settings_drop(server->part->worker->proxy, server->settings);
        server->settings = 0;
    }
    server->acts = 0;
}

void session_end(struct client *client)
{
    struct session *session = client->session;
    if (session == NULL)
        return;
    proxy_settings_drop(proxy_of(client), session->census.set);
    mem_free(proxy_of(client)->mem, session);
    client->session = NULL;
}
