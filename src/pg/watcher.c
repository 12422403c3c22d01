#include "pg/watcher.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/ns.h"
#include "os/clock.h"
#include "os/entropy.h"
#include "os/sys.h"
#include "pg/watcher_int.h"

_Static_assert(sizeof(struct snapshot) % sizeof(uint64_t) == 0, "it is published by whole words");

#define LOOK_NS_MAX HF_SEC(1) /* the thread looks around at least so often */

static void wake(int fd)
{
    const uint64_t one = 1;
    /* It fails only where the counter is full: then whoever is to be woken is awake already. */
    if (write(fd, &one, sizeof one) < 0)
        return;
}

static void empty(int fd)
{
    uint64_t count;
    if (read(fd, &count, sizeof count) < 0)
        return;
}

/* ---- what goes out ---- */

static void rouse_ears(struct watcher *w)
{
    pthread_mutex_lock(&w->ears_lock);
    for (struct watcher_ear *ear = w->ears; ear != NULL; ear = ear->next)
        if (atomic_exchange(&ear->armed, 0) != 0)
            wake(ear->fd);
    pthread_mutex_unlock(&w->ears_lock);
}

static void publish(struct watcher *w, int64_t now_ns)
{
    topology_fill(&w->topology, now_ns, &w->fresh);
    publish_put(w->publish, &w->fresh);
    pthread_cond_broadcast(&w->published);
}

static enum log_level level_of(enum topology_action_kind kind)
{
    switch (kind) {
    case TOPOLOGY_NEWS_DOWN:
    case TOPOLOGY_NEWS_FENCED:
    case TOPOLOGY_NEWS_LOST:
    case TOPOLOGY_NEWS_SUSPECT:
    case TOPOLOGY_NEWS_ALIAS:
    case TOPOLOGY_NEWS_LEVEL:
        return LOG_AT_WARNING;
    case TOPOLOGY_NEWS_RIVALS:
    case TOPOLOGY_NEWS_FOREIGN:
    case TOPOLOGY_NEWS_CORRUPT:
        return LOG_AT_ERROR;
    case TOPOLOGY_ACT_PUBLISH:
    case TOPOLOGY_ACT_ASK:
    case TOPOLOGY_NEWS_ADDED:
    case TOPOLOGY_NEWS_REMOVED:
    case TOPOLOGY_NEWS_UP:
    case TOPOLOGY_NEWS_ROLE:
        break;
    }
    return LOG_AT_INFO;
}

static void keep_news(struct watcher *w, const struct topology_action *action)
{
    struct watcher_news *news = &w->news[w->news_count++ % WATCHER_NEWS];
    *news = (struct watcher_news){.what = *action};
    if (action->endpoint != TOPOLOGY_NO_ENDPOINT)
        memcpy(news->name, w->topology.endpoints[action->endpoint].member.name, sizeof news->name);
    topology_text(&w->topology, action, news->text, sizeof news->text);
}

/* Without the lock: what is called may call us. */
static void tell_news(struct watcher *w)
{
    struct watcher_news news;
    while (watcher_news(w, &w->told, &news, NULL)) {
        if (w->config.log != NULL)
            log_emit(w->config.log, level_of(news.what.kind), "the cluster has changed",
                     log_text("endpoint", news.name), log_text("what", news.text));
        if (w->config.on_news != NULL)
            w->config.on_news(&news, w->config.on_news_arg);
    }
}

/* Carries out what the topology orders; true if something went out that callers may wait for. */
static bool drain(struct watcher *w, int64_t now_ns)
{
    struct topology_action action;
    bool has_news = false;
    while (topology_next(&w->topology, &action)) {
        if (action.kind == TOPOLOGY_ACT_PUBLISH) {
            publish(w, now_ns);
            has_news = true;
        } else if (action.kind == TOPOLOGY_ACT_ASK) {
            if (w->slots[action.endpoint].is_used)
                sampler_hurry(&w->slots[action.endpoint].sampler, now_ns);
        } else {
            keep_news(w, &action);
            has_news = true;
        }
    }
    return has_news;
}

/* ---- what comes in ---- */

static void feed_report(struct watcher *w, uint32_t at, const struct sampler_report *report,
                        int64_t now_ns)
{
    const struct topology_event event = {
        .kind = report->is_answer ? TOPOLOGY_EV_ANSWER : TOPOLOGY_EV_SILENCE,
        .now_ns = now_ns,
        .endpoint = at,
        .answer = &report->answer,
        .outcome = report->outcome,
    };
    topology_feed(&w->topology, &event);
    if (!report->is_answer)
        watcher_members_failed(w, at, report->outcome, now_ns);
}

static void feed_evidence(struct watcher *w, int64_t now_ns)
{
    for (uint32_t i = 0; i < SNAPSHOT_ENDPOINTS_MAX; i++) {
        if (atomic_load_explicit(&w->evidence[i], memory_order_relaxed) == 0)
            continue;
        const uint32_t mask = atomic_exchange(&w->evidence[i], 0);
        for (int kind = OUTCOME_EP_ALIVE; kind <= OUTCOME_EP_CORRUPT; kind++)
            if ((mask & (UINT32_C(1) << kind)) != 0)
                topology_feed(&w->topology,
                              &(struct topology_event){.kind = TOPOLOGY_EV_EVIDENCE,
                                                       .now_ns = now_ns,
                                                       .endpoint = i,
                                                       .evidence = (enum outcome_endpoint)kind});
    }
}

/* ---- the thread ---- */

struct round {
    struct pollfd files[SNAPSHOT_ENDPOINTS_MAX + 1];
    uint32_t slots[SNAPSHOT_ENDPOINTS_MAX + 1];
    nfds_t count;
};

/* The samplers are the thread's own and are turned without the lock. */
static void turn_samplers(struct watcher *w, const struct round *round, int64_t now_ns)
{
    short ready[SNAPSHOT_ENDPOINTS_MAX] = {0};
    for (nfds_t i = 1; i < round->count; i++)
        ready[round->slots[i]] = round->files[i].revents;
    for (uint32_t i = 0; i < SNAPSHOT_ENDPOINTS_MAX; i++) {
        struct sampler *sampler = &w->slots[i].sampler;
        if (w->slots[i].is_used && (ready[i] != 0 || now_ns >= sampler_deadline(sampler)))
            sampler_turn(sampler, now_ns, ready[i]);
    }
}

static void look_around(struct watcher *w)
{
    struct sampler_report report;
    const int64_t now_ns = clock_now();
    pthread_mutex_lock(&w->lock);
    for (uint32_t i = 0; i < SNAPSHOT_ENDPOINTS_MAX; i++)
        while (w->slots[i].is_used && sampler_take(&w->slots[i].sampler, &report))
            feed_report(w, i, &report, now_ns);
    feed_evidence(w, now_ns);
    watcher_members_turn(w, now_ns);
    if (now_ns >= topology_deadline(&w->topology))
        topology_feed(&w->topology,
                      &(struct topology_event){.kind = TOPOLOGY_EV_TICK, .now_ns = now_ns});
    const bool has_news = drain(w, now_ns);
    pthread_mutex_unlock(&w->lock);
    if (has_news) {
        rouse_ears(w);
        tell_news(w);
    }
}

static int64_t next_deadline(struct watcher *w)
{
    pthread_mutex_lock(&w->lock);
    int64_t due_ns = ns_min(topology_deadline(&w->topology), watcher_members_deadline(w));
    pthread_mutex_unlock(&w->lock);
    for (uint32_t i = 0; i < SNAPSHOT_ENDPOINTS_MAX; i++)
        if (w->slots[i].is_used)
            due_ns = ns_min(due_ns, sampler_deadline(&w->slots[i].sampler));
    return due_ns;
}

static void wait_for_something(struct watcher *w, struct round *round)
{
    round->count = 1;
    round->files[0] = (struct pollfd){.fd = w->wake_fd, .events = POLLIN};
    for (uint32_t i = 0; i < SNAPSHOT_ENDPOINTS_MAX; i++) {
        const struct sampler *sampler = &w->slots[i].sampler;
        if (!w->slots[i].is_used || sampler->fd < 0)
            continue;
        round->slots[round->count] = i;
        round->files[round->count++] = (struct pollfd){.fd = sampler->fd, .events = sampler->wants};
    }
    const int64_t wait_ns = ns_max(0, ns_min(next_deadline(w) - clock_now(), LOOK_NS_MAX));
    const struct timespec wait = {.tv_sec = wait_ns / HF_SEC(1), .tv_nsec = wait_ns % HF_SEC(1)};
    if (ppoll(round->files, round->count, &wait, NULL) <= 0)
        for (nfds_t i = 0; i < round->count; i++)
            round->files[i].revents = 0;
    if (round->files[0].revents != 0)
        empty(w->wake_fd);
}

static void *run(void *argument)
{
    struct watcher *w = argument;
    struct round round = {.count = 0};
    while (!w->is_stopping) {
        turn_samplers(w, &round, clock_now());
        look_around(w);
        wait_for_something(w, &round);
    }
    return NULL;
}

/* ---- life ---- */

static void let_go(struct watcher *w)
{
    const bool is_ours = watcher_is_alive(w);
    for (uint32_t i = 0; i < SNAPSHOT_ENDPOINTS_MAX; i++) {
        if (!w->slots[i].is_used)
            continue;
        if (is_ours)
            sampler_deinit(&w->slots[i].sampler);
        else
            sampler_abandon(&w->slots[i].sampler);
    }
    if (is_ours) {
        errands_free(w->errands);
        pthread_cond_destroy(&w->published);
        pthread_mutex_destroy(&w->lock);
        pthread_mutex_destroy(&w->ears_lock);
    }
    if (w->wake_fd >= 0)
        close(w->wake_fd);
    explicit_bzero(w->conninfo, sizeof w->conninfo);
    struct mem *mem = w->mem;
    mem_free(mem, (void *)(uintptr_t)w->config.patroni_url);
    mem_free(mem, w->publish_block);
    mem_free(mem, w);
}

static enum hf_rc init_locks(struct watcher *w, struct hf_err *err)
{
    pthread_condattr_t monotonic;
    pthread_mutex_init(&w->lock, NULL);
    pthread_mutex_init(&w->ears_lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->published, &monotonic);
    pthread_condattr_destroy(&monotonic);
    w->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return w->wake_fd >= 0 ? HF_OK : sys_fail(err, errno, "could not make an eventfd");
}

static enum hf_rc copy_config(struct watcher *w, const struct watcher_config *config,
                              struct hf_err *err)
{
    enum hf_rc rc = topology_config_check(&config->topology, err);
    if (rc != HF_OK)
        return rc;
    w->config = *config;
    if (w->config.sampler.interval_ns == 0)
        w->config.sampler.interval_ns = config->topology.interval_ns;
    w->config.topology.interval_ns = w->config.sampler.interval_ns;
    if (config->follow_replicas && w->config.sampler.list_ns == 0)
        w->config.sampler.list_ns = HF_SEC(5);
    if (w->config.resolve_ns == 0)
        w->config.resolve_ns = HF_SEC(15);
    if (w->config.patroni_ns == 0)
        w->config.patroni_ns = HF_SEC(2);
    rc = watcher_members_read(w, err);
    w->config.conninfo = NULL;
    w->config.endpoints = NULL;
    w->config.patroni_url = NULL;
    if (rc == HF_OK && config->patroni_url != NULL) {
        w->config.patroni_url = mem_copy_text(w->mem, config->patroni_url);
        if (w->config.patroni_url == NULL)
            return mem_refused(w->mem, strlen(config->patroni_url) + 1, err);
    }
    return rc;
}

static enum hf_rc make_publication(struct watcher *w, struct hf_err *err)
{
    const size_t size = publish_size(sizeof(struct snapshot)) + PUBLISH_ALIGN;
    w->publish_block = mem_alloc(w->mem, size);
    if (w->publish_block == NULL)
        return mem_refused(w->mem, size, err);
    const uintptr_t at = (uintptr_t)w->publish_block;
    w->publish = publish_init((char *)w->publish_block + (PUBLISH_ALIGN - at % PUBLISH_ALIGN),
                              sizeof(struct snapshot));
    return HF_OK;
}

static int start_thread(struct watcher *w)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&w->thread, NULL, run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

enum hf_rc watcher_new(struct watcher **watcher, const struct watcher_config *config,
                       struct mem *mem, struct hf_err *err)
{
    struct watcher *w = mem_alloc(mem, sizeof *w);
    *watcher = NULL;
    if (w == NULL)
        return mem_refused(mem, sizeof *w, err);
    w->mem = mem;
    w->pid = getpid();
    rng_init(&w->rng, entropy_seed());
    enum hf_rc rc = init_locks(w, err);
    if (rc == HF_OK)
        rc = copy_config(w, config, err);
    if (rc == HF_OK)
        rc = make_publication(w, err);
    if (rc == HF_OK)
        rc = errands_new(&w->errands, w->wake_fd, err);
    if (rc == HF_OK) {
        const int64_t now_ns = clock_now();
        topology_init(&w->topology, &w->config.topology, now_ns);
        watcher_members_begin(w, now_ns);
        const int failed = start_thread(w);
        if (failed != 0)
            rc = sys_fail(err, failed, "could not start a thread");
    }
    if (rc != HF_OK) {
        let_go(w);
        return err_while(err, "could not watch the servers");
    }
    *watcher = w;
    return HF_OK;
}

void watcher_free(struct watcher *w)
{
    if (w == NULL)
        return;
    if (watcher_is_alive(w)) {
        w->is_stopping = true;
        wake(w->wake_fd);
        pthread_join(w->thread, NULL);
    }
    let_go(w);
}

bool watcher_is_alive(const struct watcher *w)
{
    return w->pid == getpid();
}

/* ---- what others call ---- */

bool watcher_refresh(const struct watcher *w, uint64_t *seen, struct snapshot *view)
{
    return publish_get(w->publish, seen, view);
}

bool watcher_wait(struct watcher *w, uint64_t seen, int64_t deadline_ns)
{
    const struct timespec until = {.tv_sec = deadline_ns / HF_SEC(1),
                                   .tv_nsec = deadline_ns % HF_SEC(1)};
    if (!watcher_is_alive(w))
        return false;
    pthread_mutex_lock(&w->lock);
    int failed = 0;
    while (publish_version(w->publish) == seen && failed == 0)
        failed = pthread_cond_timedwait(&w->published, &w->lock, &until);
    pthread_mutex_unlock(&w->lock);
    return publish_version(w->publish) != seen;
}

bool watcher_target(struct watcher *w, uint32_t endpoint, struct watcher_target *target)
{
    bool is_there = false;
    if (endpoint >= SNAPSHOT_ENDPOINTS_MAX || !watcher_is_alive(w))
        return false;
    pthread_mutex_lock(&w->lock);
    const struct watcher_slot *slot = &w->slots[endpoint];
    if (slot->is_used) {
        is_there = true;
        *target = (struct watcher_target){
            .incarnation = w->topology.endpoints[endpoint].incarnation,
        };
        memcpy(target->name, w->topology.endpoints[endpoint].member.name, sizeof target->name);
        memcpy(target->host, slot->host, sizeof target->host);
        memcpy(target->hostaddr, slot->hostaddr, sizeof target->hostaddr);
        memcpy(target->port, slot->port, sizeof target->port);
    }
    pthread_mutex_unlock(&w->lock);
    return is_there;
}

bool watcher_describe(struct watcher *w, uint32_t endpoint, struct topology_endpoint *out)
{
    if (endpoint >= SNAPSHOT_ENDPOINTS_MAX || !watcher_is_alive(w))
        return false;
    pthread_mutex_lock(&w->lock);
    const bool is_there = endpoint < w->topology.count;
    if (is_there)
        *out = w->topology.endpoints[endpoint];
    pthread_mutex_unlock(&w->lock);
    return is_there;
}

/* ---- ears ---- */

enum hf_rc watcher_ear_open(struct watcher *w, struct watcher_ear *ear, struct hf_err *err)
{
    *ear = (struct watcher_ear){.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    if (ear->fd < 0)
        return sys_fail(err, errno, "could not make an eventfd");
    pthread_mutex_lock(&w->ears_lock);
    ear->next = w->ears;
    w->ears = ear;
    pthread_mutex_unlock(&w->ears_lock);
    return HF_OK;
}

void watcher_ear_close(struct watcher *w, struct watcher_ear *ear)
{
    if (watcher_is_alive(w)) {
        pthread_mutex_lock(&w->ears_lock);
        for (struct watcher_ear **at = &w->ears; *at != NULL; at = &(*at)->next)
            if (*at == ear) {
                *at = ear->next;
                break;
            }
        pthread_mutex_unlock(&w->ears_lock);
    }
    if (ear->fd >= 0)
        close(ear->fd);
    ear->fd = -1;
}

void watcher_listen(struct watcher_ear *ear)
{
    empty(ear->fd);
    atomic_store(&ear->armed, 1);
}

/* ---- what others know ---- */

void watcher_tell(struct watcher *w, uint32_t endpoint, enum outcome_endpoint evidence)
{
    const uint32_t bit = UINT32_C(1) << evidence;
    if (endpoint >= SNAPSHOT_ENDPOINTS_MAX || evidence == OUTCOME_EP_NOTHING)
        return;
    /* Each call that goes well says so; the line is written only the first time in a round. */
    if ((atomic_load_explicit(&w->evidence[endpoint], memory_order_relaxed) & bit) != 0)
        return;
    atomic_fetch_or(&w->evidence[endpoint], bit);
    if (evidence != OUTCOME_EP_ALIVE && watcher_is_alive(w))
        wake(w->wake_fd);
}

/* The topology is told at once, under the lock; the thread carries out what follows. */
static void tell(struct watcher *w, const struct topology_event *event)
{
    if (!watcher_is_alive(w))
        return;
    pthread_mutex_lock(&w->lock);
    topology_feed(&w->topology, event);
    pthread_mutex_unlock(&w->lock);
    wake(w->wake_fd);
}

void watcher_drain(struct watcher *w, uint32_t endpoint, bool is_on)
{
    tell(w, &(struct topology_event){.kind = TOPOLOGY_EV_DRAIN,
                                     .now_ns = clock_now(),
                                     .endpoint = endpoint,
                                     .is_on = is_on});
}

void watcher_pin(struct watcher *w, enum degrade_level level, int64_t until_ns)
{
    tell(w,
         &(struct topology_event){
             .kind = TOPOLOGY_EV_PIN, .now_ns = clock_now(), .level = level, .until_ns = until_ns});
}

void watcher_unpin(struct watcher *w)
{
    tell(w, &(struct topology_event){.kind = TOPOLOGY_EV_UNPIN, .now_ns = clock_now()});
}

/* ---- news ---- */

bool watcher_news(struct watcher *w, uint64_t *cursor, struct watcher_news *news, uint64_t *missed)
{
    if (!watcher_is_alive(w))
        return false;
    pthread_mutex_lock(&w->lock);
    const uint64_t oldest = w->news_count > WATCHER_NEWS ? w->news_count - WATCHER_NEWS : 0;
    if (missed != NULL)
        *missed = *cursor < oldest ? oldest - *cursor : 0;
    if (*cursor < oldest)
        *cursor = oldest;
    const bool is_there = *cursor < w->news_count;
    if (is_there)
        *news = w->news[(*cursor)++ % WATCHER_NEWS];
    pthread_mutex_unlock(&w->lock);
    return is_there;
}
