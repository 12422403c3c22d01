/* SHOW CLIENTS, SERVERS, SOCKETS, ACTIVE_SOCKETS, FDS: connections, one row each. */
#include "proxy/admin_show.h"

#include <stdio.h>
#include <string.h>

#include "net/tls.h"
#include "proxy/admin.h"
#include "proxy/client.h"
#include "proxy/pool.h"
#include "proxy/server.h"
#include "proxy/session_state.h"
#include "proxy/worker.h"
#include "wire/prepared.h"

#define SLOTS_AT_ONCE 4096 /* places of clients that are looked at in one visit */

/* What PgBouncer shows of a connection. */
#define SOCKET_COLUMNS                                                                             \
    {"type", ADMIN_TEXT}, {"user", ADMIN_TEXT}, {"database", ADMIN_TEXT},                          \
        {"replication", ADMIN_TEXT}, {"state", ADMIN_TEXT}, {"addr", ADMIN_TEXT},                  \
        {"port", ADMIN_INT4}, {"local_addr", ADMIN_TEXT}, {"local_port", ADMIN_INT4},              \
        {"connect_time", ADMIN_TEXT}, {"request_time", ADMIN_TEXT}, {"wait", ADMIN_INT4},          \
        {"wait_us", ADMIN_INT4}, {"close_needed", ADMIN_INT4}, {"ptr", ADMIN_TEXT},                \
        {"link", ADMIN_TEXT}, {"remote_pid", ADMIN_INT4}, {"tls", ADMIN_TEXT},                     \
        {"application_name", ADMIN_TEXT}, {"prepared_statements", ADMIN_INT4},                     \
    {                                                                                              \
        "id", ADMIN_INT8                                                                           \
    }

/* Its buffers, by PgBouncer's names: of ours only what is on its way can be told. */
#define BUFFER_COLUMNS                                                                             \
    {"recv_pos", ADMIN_INT4}, {"pkt_pos", ADMIN_INT4}, {"pkt_remain", ADMIN_INT4},                 \
        {"send_pos", ADMIN_INT4}, {"send_remain", ADMIN_INT4}, {"pkt_avail", ADMIN_INT4},          \
    {                                                                                              \
        "send_avail", ADMIN_INT4                                                                   \
    }

/* What we add. */
#define OUR_COLUMNS                                                                                \
    {"activity", ADMIN_TEXT}, {"state_age", ADMIN_INT8}, {"pid", ADMIN_INT8},                      \
        {"linked_pid", ADMIN_INT8}, {"worker", ADMIN_INT4},                                        \
    {                                                                                              \
        "pins", ADMIN_TEXT                                                                         \
    }

static const struct admin_column socket_columns[] = {SOCKET_COLUMNS, OUR_COLUMNS, {NULL, 0}};
static const struct admin_column buffer_columns[] = {
    SOCKET_COLUMNS, BUFFER_COLUMNS, OUR_COLUMNS, {NULL, 0}};

/* Which SHOW it is for. */
enum form {
    FORM_PLAIN,
    FORM_SOCKETS, /* the states have cl_ and sv_ before them, and buffers are shown */
};

/* Texts of a row that the cells borrow. */
struct socket_texts {
    char local[PEER_TEXT_SIZE], remote[PEER_TEXT_SIZE];
    uint16_t local_port;
    char state[32], ptr[24], link[24], tls[96], application[64], pins[SESSION_PINS_SIZE];
};

/* ---- words ---- */

static const char *client_state(const struct client *client)
{
    switch ((enum client_state)client->state) {
    case CLIENT_IDLE:
        return "idle";
    case CLIENT_WAITING:
    case CLIENT_ENTERING:
        return "waiting";
    case CLIENT_ACTIVE:
    case CLIENT_REFUSED:
    case CLIENT_ADMIN:
        return "active";
    case CLIENT_CLOSING:
        return "closing";
    case CLIENT_STARTUP:
    case CLIENT_SECURING:
    case CLIENT_AUTHENTICATING:
    case CLIENT_DELAYED:
    default:
        return "login";
    }
}

static const char *client_activity(const struct client *client)
{
    if (client->state == CLIENT_ACTIVE && client->request_ns == 0)
        return client->transaction_ns != 0 ? "idle in transaction" : "idle";
    if (client->state == CLIENT_ADMIN)
        return "console";
    if (client->state == CLIENT_REFUSED)
        return "refused";
    return client_state(client);
}

static const char *server_state(const struct server *server)
{
    switch ((enum server_state)server->state) {
    case SERVER_CONNECTING:
    case SERVER_LOGIN:
        return "new";
    case SERVER_IDLE:
    case SERVER_LEAVING:
        return "idle";
    case SERVER_ACTIVE:
        return "active";
    case SERVER_CLEANING:
        return server->cancels > 0 ? "being_canceled" : "tested";
    case SERVER_CLOSING:
    default:
        return "closing";
    }
}

static const char *server_activity(const struct server *server)
{
    static const char *const names[] = {
        [SERVER_CONNECTING] = "connecting",
        [SERVER_LOGIN] = "login",
        [SERVER_IDLE] = "idle",
        [SERVER_ACTIVE] = "active",
        [SERVER_CLEANING] = "cleaning",
        [SERVER_LEAVING] = "moving",
        [SERVER_CLOSING] = "closing",
    };
    return names[server->state];
}

/* ---- cells ---- */

static void find_local(const struct stream *stream, struct socket_texts *texts)
{
    struct sockaddr_storage storage;
    socklen_t size = sizeof storage;
    struct address address;
    texts->local[0] = '\0';
    texts->local_port = 0;
    if (getsockname(stream->fd, (struct sockaddr *)&storage, &size) != 0)
        return;
    address_from_sockaddr(&address, (struct sockaddr *)&storage, size);
    struct peer peer = peer_from_address(&address);
    peer_text(&peer, texts->local);
    texts->local_port = peer.port;
}

static void find_tls(const struct stream *stream, struct socket_texts *texts)
{
    struct tls_info info;
    texts->tls[0] = '\0';
    if (stream->tls == NULL)
        return;
    if (tls_state(stream->tls) != TLS_OPEN) {
        snprintf(texts->tls, sizeof texts->tls, "handshake");
        return;
    }
    tls_info(stream->tls, &info);
    snprintf(texts->tls, sizeof texts->tls, "%s/%s", info.version, info.cipher);
}

static void find_application(const struct worker *worker, uint32_t set, struct socket_texts *texts)
{
    struct proxy *proxy = worker->proxy;
    texts->application[0] = '\0';
    if (set == 0)
        return;
    pthread_mutex_lock(&proxy->lock);
    struct sv name = settings_find(&proxy->settings, set, SV("application_name"));
    sv_copy(sv_take(name, sizeof texts->application - 1), texts->application,
            sizeof texts->application);
    pthread_mutex_unlock(&proxy->lock);
}

/* "0x1f", by which rows of clients and of servers find each other; empty for 0. */
static void print_ptr(uint64_t id, char out[24])
{
    out[0] = '\0';
    if (id != 0)
        snprintf(out, 24, "0x%llx", (unsigned long long)id);
}

static void find_all(const struct worker *worker, const struct stream *stream, uint32_t settings,
                     struct socket_texts *texts)
{
    find_local(stream, texts);
    find_tls(stream, texts);
    find_application(worker, settings, texts);
}

static void cell_state(struct cells *cells, const char *prefix, const char *state, enum form form,
                       struct socket_texts *texts)
{
    snprintf(texts->state, sizeof texts->state, "%s%s", form == FORM_SOCKETS ? prefix : "", state);
    cell_text(cells, texts->state);
}

/* Bytes in view, and whether there are some to be sent. */
static void cell_buffers(struct cells *cells, const struct stream *stream, enum form form)
{
    if (form != FORM_SOCKETS)
        return;
    size_t view = stream_view(stream).size;
    cell_number(cells, (int64_t)view);
    for (int i = 0; i < 4; i++)
        cell_number(cells, 0);
    cell_number(cells, (int64_t)view);
    cell_number(cells, !stream_is_flushed(stream));
}

static void show_client(struct gather *gather, struct worker *worker, const struct client *client,
                        enum form form)
{
    struct cells cells;
    struct socket_texts texts;
    struct admin_place place;
    int64_t now_ns = worker_now(worker);
    admin_place_of(client, &place);
    find_all(worker, &client->stream, client->settings, &texts);
    print_ptr(admin_id(client->sequence), texts.ptr);
    print_ptr(client->server != NULL ? admin_id(client->server->sequence) : 0, texts.link);
    cells_begin(&cells);
    cell_text(&cells, "C");
    cell_text(&cells, place.role);
    cell_text(&cells, place.database);
    cell_text(&cells, client->is_replication ? "physical" : "none");
    cell_state(&cells, "cl_", client_state(client), form, &texts);
    cell_text(&cells, peer_text(&client->peer, texts.remote));
    cell_number(&cells, client->peer.port);
    cell_text(&cells, texts.local);
    cell_number(&cells, texts.local_port);
    cell_time(&cells, worker, client->connected_ns);
    cell_time(&cells, worker, client->request_ns != 0 ? client->request_ns : client->rested_ns);
    cell_wait(&cells, client->wait != NULL ? now_ns - client->wait->since_ns : 0);
    cell_number(&cells, 0);
    cell_text(&cells, texts.ptr);
    cell_text(&cells, texts.link);
    cell_number(&cells, 0);
    cell_text(&cells, texts.tls);
    cell_text(&cells, texts.application);
    cell_number(&cells, client->prepared != NULL ? client->prepared->count : 0);
    cell_number(&cells, (int64_t)admin_id(client->sequence));
    cell_buffers(&cells, &client->stream, form);
    cell_text(&cells, client_activity(client));
    cell_number(&cells, (now_ns - client->since_ns) / HF_SEC(1));
    cell_number(&cells, client->pid);
    cell_number(&cells, client->server != NULL ? client->server->pid : 0);
    cell_number(&cells, worker->index);
    cell_text(&cells, session_pins_text(client->pins, texts.pins));
    gather_add(gather, worker, &cells);
}

static void show_server(struct gather *gather, struct worker *worker, const struct server *server,
                        enum form form)
{
    struct cells cells;
    struct socket_texts texts;
    const struct pool *pool = server->part->pool;
    const struct client *client = server->client;
    int64_t now_ns = worker_now(worker);
    find_all(worker, &server->stream, server->settings, &texts);
    print_ptr(admin_id(server->sequence), texts.ptr);
    print_ptr(client != NULL ? admin_id(client->sequence) : 0, texts.link);
    cells_begin(&cells);
    cell_text(&cells, "S");
    cell_text(&cells, pool->role);
    cell_text(&cells, pool->name);
    cell_text(&cells, pool->is_replication ? "physical" : "none");
    cell_state(&cells, "sv_", server_state(server), form, &texts);
    cell_text(&cells, server->endpoint->host);
    cell_number(&cells, server->endpoint->port);
    cell_text(&cells, texts.local);
    cell_number(&cells, texts.local_port);
    cell_time(&cells, worker, server->connected_ns);
    cell_time(&cells, worker,
              client != NULL && client->request_ns != 0 ? client->request_ns : server->since_ns);
    cell_wait(&cells, client != NULL && client->request_ns != 0 ? now_ns - client->request_ns : 0);
    cell_number(&cells, server->is_tainted);
    cell_text(&cells, texts.ptr);
    cell_text(&cells, texts.link);
    cell_number(&cells, server->pid);
    cell_text(&cells, texts.tls);
    cell_text(&cells, texts.application);
    cell_number(&cells, server->prepared != NULL ? server->prepared->count : 0);
    cell_number(&cells, (int64_t)admin_id(server->sequence));
    cell_buffers(&cells, &server->stream, form);
    cell_text(&cells, server_activity(server));
    cell_number(&cells, (now_ns - server->since_ns) / HF_SEC(1));
    cell_number(&cells, server->pid);
    cell_number(&cells, client != NULL ? client->pid : 0);
    cell_number(&cells, worker->index);
    cell_text(&cells, session_pins_text(client != NULL ? client->pins : 0, texts.pins));
    gather_add(gather, worker, &cells);
}

/* ---- walks: they note in gather->cursor where they are ---- */

typedef void client_row(struct gather *gather, struct worker *worker, const struct client *client);
typedef void server_row(struct gather *gather, struct worker *worker, const struct server *server);

/* By their places, which stay where they are when clients come and go in between. */
static bool walk_clients(struct gather *gather, struct worker *worker, client_row *row)
{
    uint64_t end = gather->cursor + SLOTS_AT_ONCE;
    for (; gather->cursor < worker->clients.count; gather->cursor++) {
        if (gather->cursor == end || gather_is_full(gather))
            return false;
        const struct client *client = worker_client_at(worker, (uint32_t)gather->cursor);
        if (client != NULL)
            row(gather, worker, client);
    }
    return true;
}

/* By parts of pools, whose list only grows: one of them is shown whole. */
static bool walk_servers(struct gather *gather, struct worker *worker, uint64_t first,
                         server_row *row)
{
    uint64_t index = first;
    list_for_each(part_node, &worker->parts) {
        const struct pool_part *part = container_of(part_node, struct pool_part, link);
        if (index++ < gather->cursor)
            continue;
        if (gather_is_full(gather))
            return false;
        list_for_each(node, &part->idle)
            row(gather, worker, container_of(node, struct server, link));
        list_for_each(node, &part->servers)
            row(gather, worker, container_of(node, struct server, link));
        gather->cursor = index;
    }
    return true;
}

/* Clients first, then servers: the cursor of servers begins behind the last place of a client. */
static bool walk_both(struct gather *gather, struct worker *worker, client_row *of_client,
                      server_row *of_server)
{
    if (gather->cursor < worker->clients.count && !walk_clients(gather, worker, of_client))
        return false;
    return walk_servers(gather, worker, worker->clients.count, of_server);
}

static void plain_client(struct gather *gather, struct worker *worker, const struct client *client)
{
    show_client(gather, worker, client, FORM_PLAIN);
}

static void plain_server(struct gather *gather, struct worker *worker, const struct server *server)
{
    show_server(gather, worker, server, FORM_PLAIN);
}

static void socket_client(struct gather *gather, struct worker *worker, const struct client *client)
{
    show_client(gather, worker, client, FORM_SOCKETS);
}

static void socket_server(struct gather *gather, struct worker *worker, const struct server *server)
{
    show_server(gather, worker, server, FORM_SOCKETS);
}

static bool is_busy(const struct stream *stream)
{
    return stream_view(stream).size > 0 || !stream_is_flushed(stream);
}

static void busy_client(struct gather *gather, struct worker *worker, const struct client *client)
{
    if (is_busy(&client->stream))
        show_client(gather, worker, client, FORM_SOCKETS);
}

static void busy_server(struct gather *gather, struct worker *worker, const struct server *server)
{
    if (is_busy(&server->stream))
        show_server(gather, worker, server, FORM_SOCKETS);
}

static bool visit_clients(struct gather *gather, struct worker *worker)
{
    return walk_clients(gather, worker, plain_client);
}

static bool visit_servers(struct gather *gather, struct worker *worker)
{
    return walk_servers(gather, worker, 0, plain_server);
}

static bool visit_sockets(struct gather *gather, struct worker *worker)
{
    return walk_both(gather, worker, socket_client, socket_server);
}

static bool visit_active_sockets(struct gather *gather, struct worker *worker)
{
    return walk_both(gather, worker, busy_client, busy_server);
}

/* ---- SHOW FDS ---- */

static const struct admin_column fds_columns[] = {
    {"fd", ADMIN_INT4},
    {"task", ADMIN_TEXT},
    {"user", ADMIN_TEXT},
    {"database", ADMIN_TEXT},
    {"addr", ADMIN_TEXT},
    {"port", ADMIN_INT4},
    {"cancel", ADMIN_INT8},
    {"link", ADMIN_INT4},
    {"client_encoding", ADMIN_TEXT},
    {"std_strings", ADMIN_TEXT},
    {"datestyle", ADMIN_TEXT},
    {"timezone", ADMIN_TEXT},
    {"password", ADMIN_TEXT},
    {"scram_client_key", ADMIN_BYTEA},
    {"scram_server_key", ADMIN_BYTEA},
    {NULL, 0},
};

/* A row of it; the rest of the columns is null. */
struct fd_row {
    const char *task, *address;
    struct admin_place place;
    int fd, link;
    uint16_t port;
};

/* Keys of cancel requests and secrets are shown to nobody: PgBouncer's successor needs them, ours
 * takes over in another way. */
static void show_fd(struct gather *gather, struct worker *worker, const struct fd_row *row)
{
    struct cells cells;
    cells_begin(&cells);
    cell_number(&cells, row->fd);
    cell_text(&cells, row->task);
    cell_text(&cells, row->place.role);
    cell_text(&cells, row->place.database);
    cell_text(&cells, row->address);
    cell_number(&cells, row->port);
    cell_number(&cells, 0);
    cell_number(&cells, row->link);
    for (int i = 0; i < 7; i++)
        cell_null(&cells);
    gather_add(gather, worker, &cells);
}

static void client_fd(struct gather *gather, struct worker *worker, const struct client *client)
{
    char address[PEER_TEXT_SIZE];
    struct fd_row row = {.task = "client",
                         .address = peer_text(&client->peer, address),
                         .fd = client->stream.fd,
                         .link = client->server != NULL ? client->server->stream.fd : 0,
                         .port = client->peer.port};
    admin_place_of(client, &row.place);
    show_fd(gather, worker, &row);
}

static void server_fd(struct gather *gather, struct worker *worker, const struct server *server)
{
    const struct fd_row row = {
        .task = "server",
        .address = server->endpoint->host,
        .place = {.role = server->part->pool->role, .database = server->part->pool->name},
        .fd = server->stream.fd,
        .link = server->client != NULL ? server->client->stream.fd : 0,
        .port = server->endpoint->port};
    show_fd(gather, worker, &row);
}

static bool visit_fds(struct gather *gather, struct worker *worker)
{
    for (uint32_t i = 0; gather->cursor == 0 && i < worker->listener_count; i++) {
        const struct listener *listener = &worker->listeners[i];
        struct peer peer = peer_from_address(&listener->address);
        char address[PEER_TEXT_SIZE];
        const struct fd_row row = {.task = "pooler",
                                   .address = peer_text(&peer, address),
                                   .fd = listener->fd,
                                   .port = peer.port};
        show_fd(gather, worker, &row);
    }
    return walk_both(gather, worker, client_fd, server_fd);
}

/* ---- rows ---- */

ADMIN_SHOW(admin_show_clients, .name = "CLIENTS",
           .sentence = "Each client, what it does and what it waits for.",
           .columns = socket_columns, .visit = visit_clients)

ADMIN_SHOW(admin_show_servers, .name = "SERVERS",
           .sentence = "Each server connection, and which client has it.",
           .columns = socket_columns, .visit = visit_servers)

ADMIN_SHOW(admin_show_sockets, .name = "SOCKETS",
           .sentence = "Clients and server connections together, with what is in their buffers.",
           .columns = buffer_columns, .visit = visit_sockets)

ADMIN_SHOW(admin_show_active_sockets, .name = "ACTIVE_SOCKETS",
           .sentence = "Those of SHOW SOCKETS that have something in their buffers.",
           .columns = buffer_columns, .visit = visit_active_sockets)

ADMIN_SHOW(admin_show_fds, .name = "FDS",
           .sentence = "The file descriptors of all connections; keys and secrets are not shown.",
           .columns = fds_columns, .is_sensitive = true, .visit = visit_fds)
