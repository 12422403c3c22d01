#include "cli/demo_cluster.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/ns.h"
#include "base/sv.h"
#include "cli/demo_data.h"
#include "cli/demo_screen.h"
#include "cli/ports.h"
#include "os/clock.h"
#include "os/file.h"

#define FOLLOW_NS_MAX HF_SEC(30) /* for the replicas to begin streaming */
#define PORT_TRIES    5

/* What a server's data and WAL take when new, and some room to work; measured: 40 MB of data, 16 to
 * 48 MB of WAL. */
#define SPACE_PER_SERVER ((int64_t)120 * 1024 * 1024)

/* ---- Ports ---- */

/* "primary 17432", a line each. What cannot be read is as if it were not there. */
static void load_ports(struct demo_cluster *cluster)
{
    char path[PATH_MAX];
    char text[1024];
    demo_folder_path(cluster->place.folder, "ports", path);
    if (file_read(path, text, sizeof text, NULL) != HF_OK)
        return;
    struct sv rest = sv_from_cstr(text);
    struct sv line;
    while (sv_split(&rest, '\n', &line)) {
        struct sv name;
        int64_t port;
        sv_split(&line, ' ', &name);
        if (line.data == NULL ||
            sv_to_int(line, cluster->port_base, DEMO_PORT_MAX, &port) != SV_NUMBER_OK)
            continue;
        for (size_t i = 0; i < cluster->count; i++) {
            if (sv_eq(name, sv_from_cstr(cluster->servers[i].name)) &&
                port < cluster->port_base + PORTS_REACH)
                cluster->servers[i].port = (int)port;
        }
    }
}

static enum hf_rc save_ports(const struct demo_cluster *cluster, struct hf_err *err)
{
    char path[PATH_MAX];
    char text[1024];
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < cluster->count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s %d\n",
                                 cluster->servers[i].name, cluster->servers[i].port);
    return file_write(demo_folder_path(cluster->place.folder, "ports", path), text, 0600, err);
}

/* Keeps the server's port if it is free, or finds another one. */
static enum hf_rc choose_port(struct demo_cluster *cluster, struct demo_server *server,
                              struct hf_err *err)
{
    int taken[1 + DEMO_REPLICAS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < cluster->count; i++) {
        if (&cluster->servers[i] != server)
            taken[count++] = cluster->servers[i].port;
    }
    if (server->port != 0 && ports_is_free(server->port))
        return HF_OK;
    const int before = server->port;
    server->port = ports_find(cluster->port_base, DEMO_PORT_MAX, taken, count);
    if (server->port == 0) {
        err_set(err, HF_RC_AGAIN, "55006", "could not find a free port for %s from %d on",
                server->name, cluster->port_base);
        return err_hint(err, "Try another range with --port-base, up to %d.", DEMO_PORT_MAX);
    }
    if (before != 0) {
        printf("  %-9s port %d is taken by another program; %d it is\n", server->name, before,
               server->port);
    }
    return HF_OK;
}

/* ---- Servers ---- */

void demo_cluster_init(struct demo_cluster *cluster, const struct demo_place *place,
                       const struct demo_cluster_config *config)
{
    hf_assert(config->replicas <= DEMO_REPLICAS_MAX);
    *cluster = (struct demo_cluster){
        .place = *place, .port_base = config->port_base, .count = 1 + config->replicas};
    for (size_t i = 0; i < cluster->count; i++) {
        struct demo_server *server = &cluster->servers[i];
        server->child.watch = -1;
        if (i == 0)
            snprintf(server->name, sizeof server->name, "primary");
        else
            snprintf(server->name, sizeof server->name, "replica%zu", i);
    }
}

enum hf_rc demo_cluster_stop_leftovers(const struct demo_cluster *cluster, struct hf_err *err)
{
    /* All that there can be, not only as many as are wanted today. */
    struct demo_cluster all;
    const struct demo_cluster_config most = {.replicas = DEMO_REPLICAS_MAX};
    demo_cluster_init(&all, &cluster->place, &most);
    for (size_t i = all.count; i > 0; i--) {
        const struct demo_server *server = &all.servers[i - 1];
        const int64_t begun_ns = clock_now();
        bool found;
        enum hf_rc rc = demo_server_stop_leftover(&all.place, server, &found, err);
        if (rc != HF_OK)
            return rc;
        if (found)
            printf("  %-9s of an earlier demo was still there: stopped in %.1f s\n", server->name,
                   (double)(clock_now() - begun_ns) / 1e9);
    }
    return HF_OK;
}

int demo_cluster_data_major(const struct demo_cluster *cluster)
{
    char path[PATH_MAX];
    char text[32];
    demo_folder_path(cluster->place.folder, "primary/PG_VERSION", path);
    if (file_read(path, text, sizeof text, NULL) != HF_OK)
        return 0;
    return (int)strtol(text, NULL, 10);
}

/* Starts it, with another port if somebody took this one between the look and the start. */
static enum hf_rc launch(struct demo_cluster *cluster, struct demo_server *server,
                         struct hf_err *err)
{
    enum hf_rc rc = HF_OK;
    for (int i = 0; i < PORT_TRIES; i++) {
        rc = choose_port(cluster, server, err);
        server->upstream = server == &cluster->servers[0] ? 0 : cluster->servers[0].port;
        if (rc == HF_OK)
            rc = demo_server_start(&cluster->place, server, err);
        if (rc == HF_OK)
            rc = demo_server_await(&cluster->place, server, err);
        if (rc != HF_RC_PEER || !demo_server_lost_its_port(&cluster->place, server))
            break;
    }
    return rc;
}

/* The steps in which a person sees a server come up. */
static enum hf_rc show_launch(struct demo_cluster *cluster, struct demo_server *server,
                              struct hf_err *err)
{
    const struct screen_step step = screen_step_begin(server->name, "starting");
    enum hf_rc rc = launch(cluster, server, err);
    if (rc == HF_OK) {
        screen_step_end(&step);
        return HF_OK;
    }
    screen_step_fail(&step);
    if (rc == HF_RC_PEER) {
        screen_log(&cluster->place, server, 6);
        err_hint(err, "Its log says more: %s/log/%s.log", cluster->place.folder->path,
                 server->name);
    }
    return rc;
}

static enum hf_rc check_space(const struct demo_cluster *cluster, struct hf_err *err)
{
    const int64_t free_bytes = file_space_free(cluster->place.folder->path);
    const int64_t needed_bytes = SPACE_PER_SERVER * (int64_t)cluster->count;
    if (free_bytes < 0 || free_bytes >= needed_bytes)
        return HF_OK;
    err_set(err, HF_RC_AGAIN, "53100", "the disk is too full: the demo needs %d MB, %d MB are free",
            (int)(needed_bytes >> 20), (int)(free_bytes >> 20));
    err_detail(err, "The data would go to \"%s\".", cluster->place.folder->path);
    return err_hint(err, "Free some space there, or choose another folder with --dir.");
}

static enum hf_rc make_primary(struct demo_cluster *cluster, struct hf_err *err)
{
    enum hf_rc rc = check_space(cluster, err);
    if (rc != HF_OK)
        return rc;
    const struct screen_step step = screen_step_begin("primary", "making its data folder");
    rc = demo_data_init(&cluster->place, &cluster->servers[0], err);
    if (rc == HF_OK)
        screen_step_end(&step);
    else
        screen_step_fail(&step);
    return rc;
}

static enum hf_rc fill_primary(struct demo_cluster *cluster, const struct secret *password,
                               bool is_new_password, struct hf_err *err)
{
    const bool is_shown = demo_data_is_bare(&cluster->place);
    struct screen_step step = {0};
    if (is_shown)
        step = screen_step_begin("primary", "filling the database");
    enum hf_rc rc =
        demo_data_fill(&cluster->place, &cluster->servers[0], password, is_new_password, err);
    if (is_shown && rc == HF_OK)
        screen_step_end(&step);
    else if (is_shown)
        screen_step_fail(&step);
    return rc;
}

static enum hf_rc make_slots(struct demo_cluster *cluster, struct hf_err *err)
{
    struct conn conn;
    enum hf_rc rc = demo_server_connect(&cluster->place, &cluster->servers[0], "postgres",
                                        ns_add(clock_now(), HF_SEC(10)), &conn, err);
    for (size_t i = 1; rc == HF_OK && i < cluster->count; i++)
        rc = demo_data_make_slot(&conn, cluster->servers[i].name, err);
    conn_close(&conn);
    return rc;
}

static enum hf_rc make_replica(struct demo_cluster *cluster, struct demo_server *replica,
                               struct hf_err *err)
{
    const struct screen_step step = screen_step_begin(replica->name, "copying the primary");
    enum hf_rc rc = demo_data_copy(&cluster->place, &cluster->servers[0], replica, err);
    if (rc == HF_OK)
        screen_step_end(&step);
    else
        screen_step_fail(&step);
    return rc;
}

/* How many of the replicas stream; -1 if the primary cannot be asked. */
static int count_streaming(struct conn *conn, struct hf_err *err)
{
    PGresult *rows;
    if (conn_query(conn,
                   "SELECT count(*) FROM pg_stat_replication"
                   " WHERE state = 'streaming' AND application_name LIKE 'replica%'",
                   NULL, ns_add(clock_now(), HF_SEC(10)), &rows, err) != HF_OK)
        return -1;
    const int count = (int)strtol(PQgetvalue(rows, 0, 0), NULL, 10);
    PQclear(rows);
    return count;
}

/* How many should stream; names those that cannot, because somebody has promoted them. */
static int count_followers(const struct demo_cluster *cluster)
{
    int count = 0;
    for (size_t i = 1; i < cluster->count; i++) {
        if (demo_server_is_replica(&cluster->place, &cluster->servers[i]))
            count++;
        else
            printf("  %-9s was promoted and follows nobody; --fresh makes a replica of it again\n",
                   cluster->servers[i].name);
    }
    return count;
}

/* Waits until all stream. That one does not is worth a warning and no end: it is there to be looked
 * at. */
static enum hf_rc await_streaming(struct demo_cluster *cluster, struct hf_err *err)
{
    struct conn conn;
    const int64_t deadline_ns = ns_add(clock_now(), FOLLOW_NS_MAX);
    enum hf_rc rc = demo_server_connect(&cluster->place, &cluster->servers[0], "postgres",
                                        ns_add(clock_now(), HF_SEC(10)), &conn, err);
    const int wanted = count_followers(cluster);
    int streaming = 0;
    while (rc == HF_OK && (streaming = count_streaming(&conn, err)) < wanted) {
        if (streaming < 0)
            rc = err->rc;
        else if (clock_now() >= deadline_ns)
            break;
        else
            clock_sleep_until(ns_add(clock_now(), HF_MS(20)));
    }
    conn_close(&conn);
    if (rc == HF_OK && streaming < wanted)
        printf("  Only %d of %d replicas follow the primary; look into the logs for the reason.\n",
               streaming, wanted);
    return rc;
}

static enum hf_rc start_replicas(struct demo_cluster *cluster, struct hf_err *err)
{
    enum hf_rc rc = make_slots(cluster, err);
    for (size_t i = 1; rc == HF_OK && i < cluster->count; i++) {
        struct demo_server *replica = &cluster->servers[i];
        if (!demo_server_exists(&cluster->place, replica))
            rc = make_replica(cluster, replica, err);
        if (rc == HF_OK)
            rc = show_launch(cluster, replica, err);
    }
    return rc == HF_OK ? await_streaming(cluster, err) : rc;
}

enum hf_rc demo_cluster_start(struct demo_cluster *cluster, const struct secret *password,
                              bool is_new_password, struct hf_err *err)
{
    char path[PATH_MAX];
    struct demo_server *primary = &cluster->servers[0];
    enum hf_rc rc =
        file_make_dirs(demo_folder_path(cluster->place.folder, "socket", path), 0700, err);
    /* Nobody runs here, so a socket or its lock file is what kill -9 left. PostgreSQL would ask
     * whether the number in it is alive, and take a zombie or a stranger for an answer. */
    if (rc == HF_OK)
        rc = file_empty_dir(path, NULL, err);
    if (rc == HF_OK)
        rc = file_make_dirs(demo_folder_path(cluster->place.folder, "log", path), 0700, err);
    load_ports(cluster);
    if (rc == HF_OK && !demo_server_exists(&cluster->place, primary))
        rc = make_primary(cluster, err);
    if (rc == HF_OK)
        rc = show_launch(cluster, primary, err);
    if (rc == HF_OK)
        rc = fill_primary(cluster, password, is_new_password, err);
    if (rc == HF_OK)
        rc = start_replicas(cluster, err);
    if (rc == HF_OK)
        rc = save_ports(cluster, err);
    return rc;
}

enum hf_rc demo_cluster_restart(struct demo_cluster *cluster, struct demo_server *server,
                                struct hf_err *err)
{
    enum hf_rc rc = demo_server_start(&cluster->place, server, err);
    return rc == HF_OK ? demo_server_await(&cluster->place, server, err) : rc;
}

bool demo_cluster_is_up(const struct demo_cluster *cluster)
{
    for (size_t i = 0; i < cluster->count; i++) {
        if (cluster->servers[i].child.is_running)
            return true;
    }
    return false;
}

static void stop_one(struct demo_cluster *cluster, struct demo_server *server)
{
    if (!server->child.is_running)
        return;
    const struct screen_step step = screen_step_begin(server->name, "stopping");
    if (demo_server_await_stop(&cluster->place, server))
        screen_step_end(&step);
    else
        screen_step_force(&step);
}

void demo_cluster_stop(struct demo_cluster *cluster)
{
    /* The replicas at once; then the primary, which by then has nobody to wait for. */
    for (size_t i = 1; i < cluster->count; i++)
        demo_server_ask_to_stop(&cluster->servers[i]);
    for (size_t i = 1; i < cluster->count; i++)
        stop_one(cluster, &cluster->servers[i]);
    demo_server_ask_to_stop(&cluster->servers[0]);
    stop_one(cluster, &cluster->servers[0]);
}
