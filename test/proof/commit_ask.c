/*
 * Drives core/commit over libpq against real servers; test/integration/test_commit_truth.py runs
 * it.
 *
 *     commit_ask CONNINFO...                      one for each endpoint
 *
 * A thread for each endpoint looks at it every LOOK_MS over a connection that it keeps, as a watcher
 * does, and so sees promotions from within. Orders come line by line, answers go the same way:
 *
 *     probe MARK                                  -> the text of the probe, on one line
 *     lost ENDPOINT MS COLUMN|COLUMN...           -> committed, aborted or unresolved; why
 *     lost ENDPOINT MS                            the same without an answer of the probe
 *
 * "-" stands for SQL's NULL. Each question of the machine runs on a thread and a connection of its
 * own; what comes too late is inert by its number, which is part of what is tested.
 */
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/ns.h"
#include "core/commit.h"

#define LOOK_MS     30
#define DOWN_NS     HF_SEC(1)
#define SERVER_15   150000
#define VALUE_BYTES 4096

/* What a watcher learns of one endpoint; under `lock`. */
struct place {
    const char *conninfo;
    bool is_primary, is_known;
    uint32_t timeline, left_timeline;
    uint64_t left_lsn, system_id;
    int64_t looked_ns, alive_ns; /* last look begun, last one answered: when it was asked */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct place places[SNAPSHOT_ENDPOINTS_MAX];
static uint32_t place_count;
static int wake[2]; /* results of questions: pointers to struct question */

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return HF_SEC(now.tv_sec) + now.tv_nsec;
}

/* ---- the watcher ---- */

static const char *const look_sql =
    "SELECT r, CASE WHEN r THEN NULL ELSE"
    " ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int8 END,"
    " pg_last_wal_replay_lsn() - '0/0'::pg_lsn,"
    " (SELECT system_identifier FROM pg_control_system()),"
    " (SELECT min_recovery_end_timeline FROM pg_control_recovery()),"
    " (SELECT timeline_id FROM pg_control_checkpoint())"
    " FROM pg_is_in_recovery() AS r";

static uint64_t number_in(const PGresult *result, int column)
{
    return strtoull(PQgetvalue(result, 0, column), NULL, 10);
}

/* `followed` is what this connection saw last: the timeline of a standby, 0 of anybody else. */
static void learn(struct place *place, const PGresult *result, uint32_t *followed, int64_t asked_ns)
{
    bool is_primary = *PQgetvalue(result, 0, 0) == 'f';
    pthread_mutex_lock(&lock);
    place->is_known = true;
    place->system_id = number_in(result, 3);
    if (is_primary) {
        place->timeline = (uint32_t)number_in(result, 1);
        if (*followed != 0) {
            place->left_timeline = *followed;
            place->left_lsn = number_in(result, 2);
        }
        *followed = 0;
    } else {
        uint32_t recovering = (uint32_t)number_in(result, 4);
        *followed = recovering != 0 ? recovering : (uint32_t)number_in(result, 5);
        place->timeline = *followed;
        place->left_timeline = 0;
    }
    place->is_primary = is_primary;
    place->alive_ns = asked_ns;
    pthread_mutex_unlock(&lock);
}

static void *watch(void *argument)
{
    struct place *place = argument;
    PGconn *conn = NULL;
    uint32_t followed = 0;
    for (;;) {
        int64_t asked_ns = now_ns();
        if (conn == NULL) {
            followed = 0;
            conn = PQconnectdb(place->conninfo);
        }
        PGresult *result = PQexec(conn, look_sql);
        if (PQresultStatus(result) == PGRES_TUPLES_OK)
            learn(place, result, &followed, asked_ns);
        PQclear(result);
        pthread_mutex_lock(&lock);
        place->looked_ns = asked_ns;
        pthread_mutex_unlock(&lock);
        if (PQstatus(conn) != CONNECTION_OK) {
            PQfinish(conn);
            conn = NULL;
        }
        usleep(LOOK_MS * 1000);
    }
    return NULL;
}

static void fill(struct snapshot *view)
{
    static uint64_t epoch;
    snapshot_init(view);
    view->made_at_ns = now_ns();
    view->epoch = ++epoch;
    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i < place_count; i++)
        if (places[i].is_primary && places[i].timeline > view->timeline)
            view->timeline = places[i].timeline;
    for (uint32_t i = 0; i < place_count; i++) {
        const struct place *place = &places[i];
        char name[8];
        snprintf(name, sizeof name, "e%u", i);
        struct snapshot_endpoint *at = snapshot_add(view, name);
        bool is_dead = view->made_at_ns - place->alive_ns > DOWN_NS;
        bool is_fenced = place->is_primary && place->timeline < view->timeline;
        at->role = !place->is_known || is_fenced ? ENDPOINT_UNKNOWN
                   : place->is_primary           ? ENDPOINT_PRIMARY
                                                 : ENDPOINT_REPLICA;
        at->health = is_dead ? ENDPOINT_DOWN : ENDPOINT_UP;
        at->accepts_reads = at->accepts_writes = true;
        at->timeline = place->timeline;
        at->sampled_at_ns = place->alive_ns;
        at->left_timeline = place->left_timeline;
        at->left_lsn = place->left_lsn;
        at->role_generation = at->role == ENDPOINT_PRIMARY ? place->timeline : 0;
    }
    pthread_mutex_unlock(&lock);
    snapshot_seal(view);
}

/* ---- questions ---- */

struct question {
    uint32_t number;
    const char *conninfo;
    char sql[COMMIT_SQL_BYTES];
    bool is_answered;
    bool is_null[COMMIT_COLUMNS_MAX];
    char values[COMMIT_COLUMNS_MAX][VALUE_BYTES];
};

static void *ask(void *argument)
{
    struct question *question = argument;
    PGconn *conn = PQconnectdb(question->conninfo);
    PGresult *result = PQexec(conn, question->sql);
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1) {
        question->is_answered = true;
        for (int i = 0; i < PQnfields(result) && i < COMMIT_COLUMNS_MAX; i++) {
            question->is_null[i] = PQgetisnull(result, 0, i) != 0;
            snprintf(question->values[i], VALUE_BYTES, "%s", PQgetvalue(result, 0, i));
        }
    } else if (getenv("COMMIT_ASK_VERBOSE") != NULL) {
        fprintf(stderr, "%s -> %s", question->sql, PQerrorMessage(conn));
    }
    PQclear(result);
    PQfinish(conn);
    if (write(wake[1], &question, sizeof question) != sizeof question)
        abort();
    return NULL;
}

static void start(const struct commit *commit, const struct commit_action *action)
{
    struct question *question = calloc(1, sizeof *question);
    pthread_t thread;
    hf_assert(question != NULL);
    question->number = action->number;
    question->conninfo = places[action->endpoint].conninfo;
    commit_sql(commit, action->query, SERVER_15, question->sql);
    if (pthread_create(&thread, NULL, ask, question) != 0 || pthread_detach(thread) != 0)
        abort();
}

static void take_result(struct commit_event *event, const char **values)
{
    struct question *question;
    if (read(wake[0], &question, sizeof question) != sizeof question)
        abort();
    static char kept[COMMIT_COLUMNS_MAX][VALUE_BYTES];
    event->kind = question->is_answered ? COMMIT_EV_RESULT : COMMIT_EV_FAILED;
    event->number = question->number;
    memcpy(kept, question->values, sizeof kept);
    for (int i = 0; i < COMMIT_COLUMNS_MAX; i++)
        values[i] = question->is_null[i] ? NULL : kept[i];
    free(question);
}

/* ---- the search ---- */

static void tell(const struct commit *commit, const struct commit_action *action)
{
    static const char *const words[] = {"committed", "aborted", "unresolved"};
    const struct commit_reason *reason = commit_reason(commit);
    printf("%s; %s; %u questions; %lld ms\n", words[action->resolution],
           commit_why_name(reason->why), reason->queries,
           (long long)(reason->searched_ns / HF_MS(1)));
    fflush(stdout);
}

/* The loop of the header: actions out, then whatever comes first. */
static void search(struct commit *commit, struct commit_event *event)
{
    static struct snapshot view;
    const char *values[COMMIT_COLUMNS_MAX];
    for (;;) {
        struct commit_action action;
        fill(&view);
        event->view = &view;
        event->values = values;
        event->now_ns = now_ns();
        commit_feed(commit, event);
        while (commit_next(commit, &action)) {
            if (action.kind == COMMIT_ACT_DONE) {
                tell(commit, &action);
                return;
            }
            start(commit, &action);
        }
        int64_t wait_ns = ns_min(commit_deadline(commit) - now_ns(), HF_MS(LOOK_MS));
        struct pollfd fd = {.fd = wake[0], .events = POLLIN};
        if (poll(&fd, 1, wait_ns > 0 ? (int)(wait_ns / HF_MS(1)) + 1 : 0) > 0)
            take_result(event, values);
        else
            event->kind = commit_deadline(commit) <= now_ns() ? COMMIT_EV_TICK : COMMIT_EV_VIEW;
    }
}

static void lost(char *text)
{
    struct commit commit;
    struct commit_probe probe;
    struct hf_err err;
    const char *columns[COMMIT_PROBE_COLUMNS] = {0};
    unsigned endpoint = 0;
    long ms = 0;
    int used = 0, count = 0;
    if (sscanf(text, "%u %ld%n", &endpoint, &ms, &used) < 2 || endpoint >= place_count)
        abort();
    char *rest = text + used + strspn(text + used, " \n");
    while (*rest != '\0' && count < COMMIT_PROBE_COLUMNS) {
        char *end = rest + strcspn(rest, "|\n");
        bool is_last = *end != '|';
        *end = '\0';
        columns[count++] = strcmp(rest, "-") == 0 ? NULL : rest;
        rest = is_last ? end : end + 1;
    }
    if (count != 0 && commit_probe_read(&probe, columns, &err) != HF_OK) {
        fprintf(stderr, "%s: %s\n", err.message, err.detail);
        abort();
    }
    struct commit_begin begin = {
        .probe = count != 0 ? &probe : NULL,
        .endpoint = endpoint,
        .system_id = places[endpoint].system_id,
        .deadline_ns = now_ns() + HF_MS(ms),
    };
    commit_init(&commit, NULL);
    search(&commit, &(struct commit_event){.kind = COMMIT_EV_BEGIN, .begin = &begin});
}

int main(int argc, char **argv)
{
    char line[1024];
    if (pipe(wake) != 0)
        return 1;
    place_count = (uint32_t)argc - 1;
    for (uint32_t i = 0; i < place_count; i++) {
        pthread_t thread;
        places[i].conninfo = argv[i + 1];
        if (pthread_create(&thread, NULL, watch, &places[i]) != 0)
            return 1;
    }
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (strncmp(line, "probe ", 6) == 0) {
            printf("%s\n",
                   commit_probe_sql(SERVER_15, (enum commit_mark)strtol(line + 6, NULL, 10)));
            fflush(stdout);
        } else if (strncmp(line, "setup", 5) == 0) {
            printf("%s\n", COMMIT_SETUP_SQL);
            fflush(stdout);
        } else if (strncmp(line, "lost ", 5) == 0) {
            lost(line + 5);
        }
    }
    return 0;
}
