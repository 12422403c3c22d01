/*
 * Drives core/commit over libpq against real servers, with the watcher of pg/ beside it;
 * test/integration/test_commit_truth.py runs it.
 *
 *     commit_ask CONNINFO          with all hosts and ports, which are the endpoints in their order
 *
 * Orders come line by line, answers go the same way:
 *
 *     probe MARK                                  -> the text of the probe, on one line
 *     check                                       -> the query whether a role may run it
 *     setup                                       -> what lets a role read timeline histories
 *     lost ENDPOINT MS COLUMN|COLUMN...           -> committed, aborted or unresolved; why
 *     lost ENDPOINT MS                            the same without an answer of the probe
 *
 * "-" stands for SQL's NULL. COMMIT_ASK_VERSION names the server_version_num whose words are used:
 * those of versions before 13 are understood by later ones as well.
 *
 * Each question of the machine runs on a thread and a connection of its own; what comes too late is
 * inert by its number, which is part of what is tested.
 */
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/ns.h"
#include "core/commit.h"
#include "os/clock.h"
#include "pg/watcher.h"

#define VALUE_BYTES 4096
#define LOOK_NS     HF_MS(10)

struct tool {
    struct mem mem;
    struct watcher *watcher;
    const char *conninfo;
    uint64_t seen;
    struct snapshot view;
};

static int server_version = 150000;
static int wake[2]; /* results of questions: pointers to struct question */

/* ---- questions ---- */

struct question {
    uint32_t number;
    const char *conninfo;
    struct watcher_target target;
    char sql[COMMIT_SQL_BYTES];
    bool is_answered;
    bool is_null[COMMIT_COLUMNS_MAX];
    char values[COMMIT_COLUMNS_MAX][VALUE_BYTES];
};

static void *ask(void *argument)
{
    struct question *question = argument;
    const char *const keys[] = {"dbname", "host", "port", NULL};
    const char *const values[] = {question->conninfo, question->target.host, question->target.port,
                                  NULL};
    PGconn *conn = PQconnectdbParams(keys, values, 1);
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
    if (write(wake[1], &question, sizeof(void *)) != sizeof(void *))
        abort();
    return NULL;
}

static void start(struct tool *tool, const struct commit *commit,
                  const struct commit_action *action)
{
    struct question *question = calloc(1, sizeof *question);
    pthread_t thread;
    hf_assert(question != NULL);
    question->number = action->number;
    question->conninfo = tool->conninfo;
    if (!watcher_target(tool->watcher, action->endpoint, &question->target))
        abort();
    commit_sql(commit, action->query, server_version, question->sql);
    if (pthread_create(&thread, NULL, ask, question) != 0 || pthread_detach(thread) != 0)
        abort();
}

static void take_result(struct commit_event *event, const char **values)
{
    struct question *question;
    if (read(wake[0], &question, sizeof(void *)) != sizeof(void *))
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
static void search(struct tool *tool, struct commit *commit, struct commit_event *event)
{
    const char *values[COMMIT_COLUMNS_MAX];
    for (;;) {
        struct commit_action action;
        watcher_refresh(tool->watcher, &tool->seen, &tool->view);
        event->view = &tool->view;
        event->values = values;
        event->now_ns = clock_now();
        commit_feed(commit, event);
        while (commit_next(commit, &action)) {
            if (action.kind == COMMIT_ACT_DONE) {
                tell(commit, &action);
                return;
            }
            start(tool, commit, &action);
        }
        int64_t wait_ns = ns_min(commit_deadline(commit) - clock_now(), LOOK_NS);
        struct pollfd fd = {.fd = wake[0], .events = POLLIN};
        if (poll(&fd, 1, wait_ns > 0 ? (int)(wait_ns / HF_MS(1)) + 1 : 0) > 0)
            take_result(event, values);
        else
            event->kind = commit_deadline(commit) <= clock_now() ? COMMIT_EV_TICK : COMMIT_EV_VIEW;
    }
}

static void lost(struct tool *tool, char *text)
{
    struct commit commit;
    struct commit_probe probe;
    struct hf_err err;
    const char *columns[COMMIT_PROBE_COLUMNS] = {0};
    int count = 0;
    char *rest = text;
    uint32_t endpoint = (uint32_t)strtoul(rest, &rest, 10);
    long ms = strtol(rest, &rest, 10);
    if (endpoint >= tool->view.count)
        abort();
    rest += strspn(rest, " \n");
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
    struct topology_endpoint known;
    if (!watcher_describe(tool->watcher, endpoint, &known))
        abort();
    struct commit_begin begin = {
        .probe = count != 0 ? &probe : NULL,
        .endpoint = endpoint,
        .system_id = known.answer.system_identifier,
        .deadline_ns = clock_now() + HF_MS(ms),
    };
    commit_init(&commit, NULL);
    search(tool, &commit, &(struct commit_event){.kind = COMMIT_EV_BEGIN, .begin = &begin});
}

static void obey(struct tool *tool, char *line)
{
    if (strncmp(line, "probe ", 6) == 0) {
        printf("%s\n",
               commit_probe_sql(server_version, (enum commit_mark)strtol(line + 6, NULL, 10)));
        fflush(stdout);
    } else if (strncmp(line, "check", 5) == 0) {
        printf("%s\n", commit_probe_check_sql(server_version));
        fflush(stdout);
    } else if (strncmp(line, "setup", 5) == 0) {
        printf("%s\n", COMMIT_SETUP_SQL);
        fflush(stdout);
    } else if (strncmp(line, "lost ", 5) == 0) {
        lost(tool, line + 5);
    }
}

int main(int argc, char **argv)
{
    static struct tool tool;
    char line[1024];
    struct hf_err err;
    if (argc != 2 || pipe(wake) != 0)
        return 2;
    const char *version = getenv("COMMIT_ASK_VERSION");
    if (version != NULL)
        server_version = (int)strtol(version, NULL, 10);
    tool.conninfo = argv[1];
    mem_init(&tool.mem, 0);
    const struct watcher_config config = {.conninfo = argv[1]};
    if (watcher_new(&tool.watcher, &config, &tool.mem, &err) != HF_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    while (!watcher_refresh(tool.watcher, &tool.seen, &tool.view))
        watcher_wait(tool.watcher, tool.seen, clock_now() + HF_SEC(1));
    while (fgets(line, sizeof line, stdin) != NULL)
        obey(&tool, line);
    return 0;
}
