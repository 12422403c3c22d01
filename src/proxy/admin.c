#include "proxy/admin.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/admin_command.h"
#include "proxy/admin_gather.h"
#include "proxy/admin_say.h"
#include "proxy/admin_show.h"
#include "proxy/admission.h"
#include "proxy/client.h"
#include "proxy/pool.h"
#include "proxy/worker.h"
#include "wire/bytes.h"
#include "wire/message.h"

/* ---- what is asked for ---- */

/* What drivers ask of a server when they connect, and what they are told. */
static const struct fact {
    const char *name;
    const char *value;
} facts[] = {
    {"client_encoding", "UTF8"},
    {"default_transaction_isolation", "read committed"},
    {"transaction isolation level", "read committed"},
    {"transaction_isolation", "read committed"},
    {"standard_conforming_strings", "on"},
    {"datestyle", "ISO"},
    {"timezone", "GMT"},
    {"extra_float_digits", "2"},
    {"server_encoding", "UTF8"},
    {"1", "1"}, /* SELECT 1, as health checks say */
};

static const struct fact *find_fact(struct sv name)
{
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        if (sv_eq_nocase(sv_from_cstr(facts[i].name), name))
            return &facts[i];
    }
    return NULL;
}

/* PgBouncer takes SELECT for SHOW. */
static bool is_show(const struct admin_words *words)
{
    struct sv verb = sv_from_cstr(words->verb);
    return sv_eq_nocase(verb, SV("SHOW")) || sv_eq_nocase(verb, SV("SELECT"));
}

static void fact_columns(const struct fact *fact, struct admin_column columns[2])
{
    bool is_one = fact->name[0] == '1';
    columns[0].name = is_one ? "?column?" : fact->name;
    columns[0].type = is_one ? ADMIN_INT4 : ADMIN_TEXT;
    columns[1].name = NULL;
    columns[1].type = ADMIN_TEXT;
}

static void refuse_words(struct client *client, struct sv text)
{
    struct hf_err err;
    err_set(&err, HF_RC_INVALID, "42601", "invalid command '" SV_FMT "', use SHOW HELP;",
            SV_ARG(sv_take(text, 200)));
    say_error(client, &err);
}

/* ---- SHOW ---- */

static void shown(struct client *client, struct gather *gather)
{
    if (gather->is_cut)
        say_notice(client, "some rows are missing: out of memory");
    say_end(client, "SHOW");
}

static void run_fact(struct client *client, const struct fact *fact)
{
    struct admin_session *session = client->console;
    struct gather *gather = gather_new(client);
    if (gather == NULL) {
        client_close(client, "out of memory for the console");
        return;
    }
    struct admin_column columns[2];
    fact_columns(fact, columns);
    session->columns = columns;
    if (!session->is_extended)
        say_columns(client, columns);
    gather_row(gather, client->worker->proxy->mem, &fact->value, 1);
    say_rows(client, gather);
    gather_free(gather, client->worker->proxy->mem);
    say_end(client, "SHOW");
    if (client->console != NULL)
        client->console->columns = NULL;
}

static void run_show(struct client *client, const struct admin_words *words)
{
    struct admin_session *session = client->console;
    struct sv name = sv_from_cstr(words->argument);
    const struct fact *fact = find_fact(name);
    const struct admin_show *show = admin_show_find(name);
    struct hf_err err;
    session->is_asking = true;
    if (fact != NULL) {
        run_fact(client, fact);
        return;
    }
    if (show->is_sensitive && !session->is_admin) {
        err_set(&err, HF_RC_DENIED, "42501", "admin access needed");
        err_hint(&err, "SHOW %s is for the users in proxy.admin_users.", show->name);
        say_error(client, &err);
        return;
    }
    struct gather *gather = gather_new(client);
    if (gather == NULL || (show->begin != NULL && !show->begin(gather, client->worker))) {
        if (gather != NULL)
            gather_free(gather, client->worker->proxy->mem);
        client_close(client, "out of memory for the console");
        return;
    }
    gather->visit = show->visit;
    gather->finish = show->finish;
    gather->done = shown;
    session->columns = show->columns;
    if (!session->is_extended)
        say_columns(client, show->columns);
    gather_begin(gather);
}

/* ---- statements ---- */

/* Not of this grammar, or not known: the client is told. */
static bool understand(struct client *client, struct sv text, struct admin_words *words)
{
    enum admin_words_rc rc = admin_words_parse(words, text);
    struct sv name = sv_from_cstr(words->argument);
    bool is_known = rc == ADMIN_WORDS_NONE;
    if (rc == ADMIN_WORDS_OK && is_show(words))
        is_known = find_fact(name) != NULL || admin_show_find(name) != NULL;
    else if (rc == ADMIN_WORDS_OK)
        is_known = admin_command_find(sv_from_cstr(words->verb)) != NULL;
    if (!is_known)
        refuse_words(client, sv_trim(text));
    return is_known;
}

static void run(struct client *client, const struct admin_words *words)
{
    if (words->verb[0] == '\0')
        say_end(client, "");
    else if (is_show(words))
        run_show(client, words);
    else
        admin_command_run(client, admin_command_find(sv_from_cstr(words->verb)), words);
}

static struct admin_named *find_named(const struct admin_session *session, char kind,
                                      struct sv name)
{
    list_for_each(node, &session->named) {
        struct admin_named *named = container_of(node, struct admin_named, link);
        if (named->kind == kind && sv_eq(sv_from_cstr(named->name), name))
            return named;
    }
    return NULL;
}

static void drop_named(struct client *client, struct admin_named *named)
{
    if (named == NULL)
        return;
    list_remove(&named->link);
    client->console->named_count--;
    mem_free(client->worker->proxy->mem, named);
}

/* Keeps the words by a name, in place of what had it. */
static bool keep_named(struct client *client, char kind, struct sv name,
                       const struct admin_words *words, bool is_binary)
{
    struct admin_session *session = client->console;
    struct admin_named *named;
    struct hf_err err;
    drop_named(client, find_named(session, kind, name));
    bool fits = session->named_count < ADMIN_NAMED_MAX && name.size < sizeof named->name;
    named = fits ? mem_alloc(client->worker->proxy->mem, sizeof *named) : NULL;
    if (named == NULL) {
        err_set(&err, HF_RC_LIMIT, "54000", "too many prepared statements on the console");
        err_detail(&err, "It keeps %d, with names of at most %zu bytes.", ADMIN_NAMED_MAX,
                   sizeof named->name - 1);
        say_error(client, &err);
        return false;
    }
    named->kind = kind;
    named->is_binary = is_binary;
    named->words = *words;
    sv_copy(name, named->name, sizeof named->name);
    list_push_back(&session->named, &named->link);
    session->named_count++;
    return true;
}

/* NULL: the client is told that there is none. */
static struct admin_named *need_named(struct client *client, char kind, struct sv name)
{
    struct admin_named *named = find_named(client->console, kind, name);
    struct hf_err err;
    if (named != NULL)
        return named;
    err_set(&err, HF_RC_INVALID, kind == 'S' ? "26000" : "34000",
            "%s \"" SV_FMT "\" does not exist", kind == 'S' ? "prepared statement" : "portal",
            SV_ARG(name));
    say_error(client, &err);
    return NULL;
}

/* ---- messages ---- */

static void refuse_message(struct client *client)
{
    struct hf_err err;
    err_set(&err, HF_RC_PEER, "08P01", "invalid message format");
    say_error(client, &err);
}

static void parsed(struct client *client, struct message message)
{
    struct message_parse parse;
    struct admin_words words;
    if (message_parse(message, &parse) != MESSAGE_OK)
        refuse_message(client);
    else if (understand(client, parse.text, &words) &&
             keep_named(client, 'S', parse.name, &words, false))
        say_empty(client, '1');
}

/* Counts behind the names of a Bind: of formats, of values, of formats of the answer. */
struct bind_rest {
    uint16_t values;
    bool is_binary;
    bool is_good;
};

static struct bind_rest look_at_bind(struct sv body)
{
    struct bind_rest rest = {0};
    struct reader reader = reader_of(body);
    reader_cstr(&reader);
    reader_cstr(&reader);
    uint16_t formats = reader_u16(&reader);
    reader_bytes(&reader, (size_t)2 * formats);
    rest.values = reader_u16(&reader);
    rest.is_good = !reader.is_short;
    if (!rest.is_good || rest.values > 0)
        return rest;
    uint16_t answers = reader_u16(&reader);
    for (uint16_t i = 0; i < answers; i++)
        rest.is_binary = reader_u16(&reader) == 1 || rest.is_binary;
    rest.is_good = !reader.is_short;
    return rest;
}

static void bound(struct client *client, struct message message)
{
    struct message_bind bind;
    struct hf_err err;
    if (message_bind(message, &bind) != MESSAGE_OK) {
        refuse_message(client);
        return;
    }
    struct bind_rest rest = look_at_bind(message.body);
    const struct admin_named *named = need_named(client, 'S', bind.statement);
    if (named == NULL)
        return;
    if (!rest.is_good) {
        refuse_message(client);
    } else if (rest.values > 0) {
        err_set(&err, HF_RC_INVALID, "08P01",
                "bind message supplies %u parameters, and the console's commands take none",
                rest.values);
        err_hint(&err, "Write the value into the command itself.");
        say_error(client, &err);
    } else if (keep_named(client, 'P', bind.portal, &named->words, rest.is_binary)) {
        say_empty(client, '2');
    }
}

static void described(struct client *client, struct message message)
{
    struct message_target target;
    if (message_target(message, &target) != MESSAGE_OK) {
        refuse_message(client);
        return;
    }
    const struct admin_named *named = need_named(client, target.kind, target.name);
    if (named == NULL)
        return;
    client->console->is_binary = named->is_binary;
    if (target.kind == 'S')
        say_no_parameters(client);
    struct sv name = sv_from_cstr(named->words.argument);
    const struct fact *fact = find_fact(name);
    if (!is_show(&named->words)) {
        say_empty(client, 'n');
    } else if (fact != NULL) {
        struct admin_column columns[2];
        fact_columns(fact, columns);
        say_columns(client, columns);
    } else {
        say_columns(client, admin_show_find(name)->columns);
    }
}

static void executed(struct client *client, struct message message)
{
    struct message_execute execute;
    if (message_execute(message, &execute) != MESSAGE_OK) {
        refuse_message(client);
        return;
    }
    const struct admin_named *named = need_named(client, 'P', execute.portal);
    if (named == NULL)
        return;
    client->console->is_binary = named->is_binary;
    run(client, &named->words);
}

static void closed(struct client *client, struct message message)
{
    struct message_target target;
    if (message_target(message, &target) != MESSAGE_OK) {
        refuse_message(client);
        return;
    }
    drop_named(client, find_named(client->console, target.kind, target.name));
    say_empty(client, '3');
}

static void queried(struct client *client, struct message message)
{
    struct admin_words words;
    struct sv text;
    client->console->is_binary = false;
    if (message_query(message, &text) != MESSAGE_OK)
        refuse_message(client);
    else if (understand(client, text, &words))
        run(client, &words);
}

/* One whole message. */
static void obey(struct client *client, char type, struct message message)
{
    struct admin_session *session = client->console;
    session->is_extended = type != 'Q';
    if (session->skips && type != 'S' && type != 'Q')
        return;
    switch (type) {
    case 'Q':
        session->skips = false;
        queried(client, message);
        return;
    case 'P':
        parsed(client, message);
        return;
    case 'B':
        bound(client, message);
        return;
    case 'D':
        described(client, message);
        return;
    case 'E':
        executed(client, message);
        return;
    case 'C':
        closed(client, message);
        return;
    case 'S':
        session->skips = false;
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
    while (client->state == CLIENT_ADMIN && say_flush(client)) {
        struct admin_session *session = client->console;
        if (session->parked != NULL) {
            struct gather *gather = session->parked;
            session->parked = NULL;
            gather_go_on(gather);
        }
        if (session->is_asking)
            return;
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

void admin_gathered(struct client *client, struct gather *gather)
{
    struct mem *mem = client->worker->proxy->mem;
    bool is_over = gather->is_over;
    say_rows(client, gather); /* without memory, the end of the console */
    if (is_over && client->state == CLIENT_ADMIN && gather->done != NULL)
        gather->done(client, gather);
    if (is_over || client->console == NULL)
        gather_free(gather, mem);
    else
        client->console->parked = gather;
    admin_event(client);
    if (client->state == CLIENT_ADMIN)
        client_enter(client, CLIENT_ADMIN); /* its timer, if it waits now */
}

/* ---- waiting ---- */

int64_t admin_deadline(const struct client *client)
{
    const struct admin_session *session = client->console;
    return session != NULL && session->wait != ADMIN_WAIT_NONE ? session->poll_at_ns : HF_NEVER;
}

void admin_timeout(struct client *client)
{
    admin_command_poll(client);
    admin_event(client);
    if (client->state == CLIENT_ADMIN)
        client_enter(client, CLIENT_ADMIN);
}

void admin_cancel(struct client *client)
{
    admin_command_give_up(client, false);
    admin_event(client);
}

bool admin_is_busy(const struct client *client)
{
    return client->console->is_asking && client->console->wait == ADMIN_WAIT_NONE;
}

/* ---- life ---- */

bool admin_is_console(struct sv database)
{
    return sv_eq(database, SV(PROXY_CONSOLE)) || sv_eq(database, SV(PROXY_CONSOLE_PGBOUNCER));
}

bool admin_is_owner(const struct client *client, struct sv role)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return client->peer.family == AF_UNIX && sv_eq(role, SV(PROXY_CONSOLE_PGBOUNCER)) &&
           getsockopt(client->stream.fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           peer.uid == geteuid();
}

bool admin_has_place(const struct client *client, struct sv database, struct hf_err *err)
{
    struct proxy *proxy = client->worker->proxy;
    int64_t most = client->worker->config->limits.clients_max;
    uint32_t consoles = atomic_load(&proxy->console_count);
    if (admin_is_console(database) ||
        atomic_load(&proxy->client_count) <= (uint64_t)most + consoles)
        return true;
    err_set(err, HF_RC_LIMIT, "53300", "sorry, too many clients already");
    err_detail(err, "The limit is limits.clients_max = %lld.", (long long)most);
    return false;
}

static void open_session(struct client *client, bool is_admin)
{
    const struct admission *admission = client->admission;
    struct admin_session *session = mem_alloc(client->worker->proxy->mem, sizeof *session);
    struct hf_err err;
    if (session == NULL) {
        err_set(&err, HF_RC_LIMIT, "53200", "out of memory for the console");
        client_fail(client, &err);
        return;
    }
    list_init(&session->named);
    session->is_admin = is_admin;
    session->is_pgbouncer = sv_eq(sv_from_cstr(admission->database), SV(PROXY_CONSOLE_PGBOUNCER));
    session->poll_at_ns = HF_NEVER;
    sv_copy(sv_from_cstr(admission->role), session->role, sizeof session->role);
    sv_copy(sv_from_cstr(admission->database), session->database, sizeof session->database);
    client->console = session;
    atomic_fetch_add(&client->worker->proxy->console_count, 1);
    if (!admission_greet(client, NULL))
        return;
    client->is_logged_in = true;
    client_enter(client, CLIENT_ADMIN);
}

void admin_enter(struct client *client)
{
    const struct admission *admission = client->admission;
    const struct proxy_settings *settings = &client->worker->config->proxy;
    struct sv role = sv_from_cstr(admission->role);
    struct hf_err err;
    bool is_admin = proxy_list_has(settings->admin_users, role) || admin_is_owner(client, role);
    if (is_admin || proxy_list_has(settings->stats_users, role)) {
        open_session(client, is_admin);
        return;
    }
    err_set(&err, HF_RC_DENIED, "42501", "not allowed");
    err_detail(&err, "The console is for the users in proxy.admin_users and proxy.stats_users.");
    err_hint(&err, "Come as one of them, or name the user there and reload.");
    client_fail(client, &err);
}

void admin_end(struct client *client)
{
    struct mem *mem = client->worker->proxy->mem;
    struct admin_session *session = client->console;
    if (session == NULL)
        return;
    admin_command_give_up(client, true);
    client->console = NULL;
    atomic_fetch_sub(&client->worker->proxy->console_count, 1);
    struct list_node *node;
    while ((node = list_pop_front(&session->named)) != NULL)
        mem_free(mem, container_of(node, struct admin_named, link));
    if (session->parked != NULL)
        gather_free(session->parked, mem);
    mem_free(mem, session->output);
    mem_free(mem, session);
}

void admin_place_of(const struct client *client, struct admin_place *place)
{
    const struct pool *pool = client->part != NULL ? client->part->pool : NULL;
    *place = (struct admin_place){"(nouser)", "(nodb)"};
    if (pool != NULL)
        *place = (struct admin_place){pool->role, pool->name};
    else if (client->console != NULL)
        *place = (struct admin_place){client->console->role, client->console->database};
    else if (client->admission != NULL && client->admission->role[0] != '\0')
        *place = (struct admin_place){client->admission->role, client->admission->database};
}
