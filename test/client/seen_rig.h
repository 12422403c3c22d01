/*
 * What the tests of seeing and of old results have in common: a server, a database with hooks that
 * write down what they hear, and questions of one value. For one test program each: it has data.
 */
#ifndef HF_TEST_CLIENT_SEEN_RIG_H
#define HF_TEST_CLIENT_SEEN_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../unit/prom_check.h"
#include "holdfast.h"
#include "pg_rig.h"

#define PASSWORD "s3cret-and-never-shown"

static struct rig rig;
static struct hf_error err;

/* ---- what the hooks heard ---- */

#define HEARD_MAX 400

static struct {
    pthread_mutex_t lock;
    size_t count;
    struct {
        int kind;
        char name[64], from[24], to[24];
    } list[HEARD_MAX];
    char all[200000]; /* every text that a hook was given */
    size_t used;
} heard = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline void keep_text(const char *text)
{
    const size_t size = strlen(text);
    if (heard.used + size + 2 < sizeof heard.all) {
        memcpy(heard.all + heard.used, text, size);
        heard.used += size;
        heard.all[heard.used++] = '\n';
    }
}

static inline void on_event(const struct hf_event *event, void *arg)
{
    (void)arg;
    pthread_mutex_lock(&heard.lock);
    if (heard.count < HEARD_MAX) {
        heard.list[heard.count].kind = event->kind;
        snprintf(heard.list[heard.count].name, 64, "%s", event->name);
        snprintf(heard.list[heard.count].from, 24, "%s", event->from);
        snprintf(heard.list[heard.count++].to, 24, "%s", event->to);
    }
    keep_text(event->detail);
    pthread_mutex_unlock(&heard.lock);
}

static inline void on_log(int level, const char *line, void *arg)
{
    (void)level;
    (void)arg;
    pthread_mutex_lock(&heard.lock);
    keep_text(line);
    pthread_mutex_unlock(&heard.lock);
}

/* The place of the first such event from `since` on, or -1. */
static inline int find_event(int kind, const char *to, int since)
{
    int found = -1;
    pthread_mutex_lock(&heard.lock);
    for (size_t i = (size_t)since; i < heard.count && found < 0; i++)
        if (heard.list[i].kind == kind && strcmp(heard.list[i].to, to) == 0)
            found = (int)i;
    pthread_mutex_unlock(&heard.lock);
    return found;
}

static inline int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline int wait_event(int kind, const char *to, int since)
{
    const int64_t until = now_ms() + 30000;
    int found;
    while ((found = find_event(kind, to, since)) < 0 && now_ms() < until)
        usleep(5000);
    if (found < 0)
        fail_msg("no event of kind %d to %s", kind, to);
    return found;
}

/* ---- a database ---- */

static inline struct rig_server *server(void)
{
    return &rig.servers[0];
}

static inline struct hf_db *open_db(struct hf_options options)
{
    char conninfo[200];
    struct hf_db *db;
    snprintf(conninfo, sizeof conninfo,
             "host=127.0.0.1 port=%d user=postgres dbname=postgres password=" PASSWORD,
             server()->port);
    options.conninfo = conninfo;
    heard.count = 0;
    if (hf_open_with(&db, &options, &err) != HF_SUCCESS)
        fail_msg("%s (%s)", err.message, err.detail);
    return db;
}

static inline struct hf_options with_hooks(void)
{
    return (struct hf_options){.deadline_ms = 5000,
                               .hooks = {.on_event = on_event, .on_log = on_log}};
}

/* One value, as text; NULL and `err` filled if there is none. */
static inline const char *ask(struct hf_db *db, const char *sql,
                              const struct hf_call_options *options, int64_t *age_ms,
                              bool *is_stale)
{
    static char value[200];
    struct hf_rows *rows;
    if (hf_query(db, sql, NULL, options, &rows, &err) != HF_SUCCESS)
        return NULL;
    assert_int_equal(hf_rows_next(rows, &err), 1);
    snprintf(value, sizeof value, "%s", hf_rows_text(rows, 0));
    if (age_ms != NULL)
        *age_ms = hf_rows_age_ms(rows, is_stale);
    hf_rows_free(rows);
    return value;
}

static inline void endpoint_name(char name[64])
{
    snprintf(name, 64, "127.0.0.1:%d", server()->port);
}

static inline void assert_success(int code)
{
    if (code != HF_SUCCESS)
        fail_msg("%s: %s (%s)", hf_code_name(code), err.message, err.detail);
}

static inline int seen_begin(void **state)
{
    (void)state;
    rig_begin(&rig, 0);
    return 0;
}

static inline int seen_end(void **state)
{
    (void)state;
    rig_end(&rig);
    return 0;
}

#endif
