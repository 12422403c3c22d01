#include "pg/errand.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/ns.h"
#include "os/sys.h"
#include "pg/patroni.h"

#define STOP_NS_MAX HF_MS(50) /* a thread that has not ended by then is inside of a lookup */

enum job_state {
    JOB_FREE,
    JOB_ASKED,
    JOB_RUNNING,
    JOB_ANSWERED,
};

struct job {
    enum job_state state;
    uint64_t order;
    char text[ERRAND_TEXT_SIZE];
    struct errand_answer answer;
};

struct errands {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    _Atomic bool is_stopping; /* read without the lock by what runs */
    bool has_ended, is_left;  /* who comes second frees */
    int wake_fd;
    uint64_t asked;
    struct job jobs[ERRAND_JOBS_MAX];
};

/* ---- what is done ---- */

static void resolve(const char *host, struct errand_answer *answer)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *found = NULL;
    const int failed = getaddrinfo(host, NULL, &hints, &found);
    if (failed != 0) {
        answer->rc = err_set(&answer->err, HF_RC_AGAIN, "08001", "could not look up \"%s\": %s",
                             host, gai_strerror(failed));
        return;
    }
    for (struct addrinfo *a = found; a != NULL && answer->count < ERRAND_PLACES_MAX;
         a = a->ai_next) {
        struct errand_place *place = &answer->places[answer->count];
        if (getnameinfo(a->ai_addr, a->ai_addrlen, place->host, sizeof place->host, NULL, 0,
                        NI_NUMERICHOST) == 0)
            ++answer->count;
    }
    freeaddrinfo(found);
    answer->rc = HF_OK;
    if (answer->count == 0)
        answer->rc = err_set(&answer->err, HF_RC_AGAIN, "08001", "\"%s\" has no address", host);
}

static void run(const struct errands *e, const char *text, struct errand_answer *answer)
{
    if (answer->kind == ERRAND_RESOLVE)
        resolve(text, answer);
    else
        patroni_ask(text, &e->is_stopping, answer);
}

/* ---- the thread ---- */

static struct job *oldest(struct errands *e, enum job_state state)
{
    struct job *found = NULL;
    for (size_t i = 0; i < ERRAND_JOBS_MAX; i++) {
        struct job *job = &e->jobs[i];
        if (job->state == state && (found == NULL || job->order < found->order))
            found = job;
    }
    return found;
}

static void destroy(struct errands *e)
{
    pthread_cond_destroy(&e->changed);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

/* With the lock held, but for what may block. */
static void do_job(struct errands *e, struct job *job)
{
    const uint64_t one = 1;
    job->state = JOB_RUNNING;
    pthread_mutex_unlock(&e->lock);
    run(e, job->text, &job->answer); /* a running job is the thread's alone */
    pthread_mutex_lock(&e->lock);
    job->state = JOB_ANSWERED;
    if (!e->is_left && write(e->wake_fd, &one, sizeof one) < 0)
        return; /* the counter is full, so the watcher is being woken already */
}

static void *serve(void *argument)
{
    struct errands *e = argument;
    pthread_mutex_lock(&e->lock);
    while (!e->is_stopping) {
        struct job *job = oldest(e, JOB_ASKED);
        if (job != NULL)
            do_job(e, job);
        else
            pthread_cond_wait(&e->changed, &e->lock);
    }
    e->has_ended = true;
    pthread_cond_broadcast(&e->changed);
    const bool is_last = e->is_left;
    pthread_mutex_unlock(&e->lock);
    if (is_last)
        destroy(e);
    return NULL;
}

/* ---- the watcher's side ---- */

static int start_thread(struct errands *e)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&e->thread, NULL, serve, e);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

enum hf_rc errands_new(struct errands **errands, int wake_fd, struct hf_err *err)
{
    pthread_condattr_t monotonic;
    struct errands *e = calloc(1, sizeof *e);
    *errands = NULL;
    if (e == NULL)
        return err_set(err, HF_RC_LIMIT, "53200", "out of memory");
    e->wake_fd = wake_fd;
    pthread_mutex_init(&e->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&e->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    const int failed = start_thread(e);
    if (failed != 0) {
        destroy(e);
        return sys_fail(err, failed, "could not start a thread");
    }
    *errands = e;
    return HF_OK;
}

void errands_free(struct errands *e)
{
    if (e == NULL)
        return;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += STOP_NS_MAX;
    until.tv_sec += until.tv_nsec / HF_SEC(1);
    until.tv_nsec %= HF_SEC(1);
    pthread_mutex_lock(&e->lock);
    e->is_stopping = true;
    pthread_cond_broadcast(&e->changed);
    while (!e->has_ended && pthread_cond_timedwait(&e->changed, &e->lock, &until) == 0)
        continue;
    const bool has_ended = e->has_ended;
    const pthread_t thread = e->thread;
    e->is_left = true;
    pthread_mutex_unlock(&e->lock);
    if (!has_ended) {
        pthread_detach(thread);
        return;
    }
    pthread_join(thread, NULL);
    destroy(e);
}

bool errand_ask(struct errands *e, uint32_t id, enum errand_kind kind, const char *text)
{
    struct job *place = NULL;
    pthread_mutex_lock(&e->lock);
    for (size_t i = 0; i < ERRAND_JOBS_MAX; i++) {
        struct job *job = &e->jobs[i];
        if (job->state == JOB_FREE) {
            place = job;
        } else if (job->answer.id == id && job->answer.kind == kind) {
            place = NULL;
            break;
        }
    }
    if (place != NULL) {
        memset(place, 0, sizeof *place);
        place->state = JOB_ASKED;
        place->order = ++e->asked;
        place->answer.id = id;
        place->answer.kind = kind;
        snprintf(place->text, sizeof place->text, "%s", text);
        pthread_cond_broadcast(&e->changed);
    }
    pthread_mutex_unlock(&e->lock);
    return place != NULL;
}

bool errand_take(struct errands *e, struct errand_answer *answer)
{
    pthread_mutex_lock(&e->lock);
    struct job *job = oldest(e, JOB_ANSWERED);
    if (job != NULL) {
        *answer = job->answer;
        job->state = JOB_FREE;
    }
    pthread_mutex_unlock(&e->lock);
    return job != NULL;
}
