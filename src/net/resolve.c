#include "net/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "base/bug.h"
#include "os/clock.h"

#define TTL_NS         HF_SEC(15)
#define FAILURE_TTL_NS HF_SEC(1)
#define STALE_NS_MAX   HF_SEC(600)
#define NAMES_MAX      128

#define REASON_SIZE 128

enum name_state {
    NAME_RESTS,
    NAME_QUEUED,
    NAME_RUNS, /* the thread is at it */
};

/* What is known of a name. */
struct name {
    char host[RESOLVE_HOST_SIZE];
    enum name_state state;
    struct name *next_queued;
    struct resolve_request *waiting; /* oldest first */
    int64_t used_ns;

    /* The last lookup that found something; count 0: none yet. */
    uint32_t count;
    int64_t expires_ns;
    int64_t forgotten_ns; /* not even a failure makes it an answer from then on */

    /* The last lookup of all, if it failed. */
    bool has_failed;
    int64_t failed_until_ns; /* not tried again before */
    struct hf_err err;

    struct address addresses[RESOLVE_ADDRESSES];
};

struct resolver {
    struct resolver_config config;
    struct mem *mem; /* borrowed */
    pthread_t thread;
    pthread_mutex_t lock; /* of everything below */
    pthread_cond_t news;  /* for the thread: something is queued, or is_stopping */
    bool is_stopping;
    struct name *queued;
    struct name **queued_tail;
    uint32_t name_count; /* of `names` that were ever used */
    struct name names[];
};

/* ---- names; under the lock ---- */

static struct name *name_find(struct resolver *resolver, const char *host)
{
    for (uint32_t i = 0; i < resolver->name_count; i++) {
        if (strcmp(resolver->names[i].host, host) == 0)
            return &resolver->names[i];
    }
    return NULL;
}

/* A place for a name that is not known yet; NULL: somebody waits for every one there is. */
static struct name *name_place(struct resolver *resolver)
{
    if (resolver->name_count < resolver->config.names_max)
        return &resolver->names[resolver->name_count++];
    struct name *oldest = NULL;
    for (uint32_t i = 0; i < resolver->name_count; i++) {
        struct name *name = &resolver->names[i];
        if (name->state == NAME_RESTS && (oldest == NULL || name->used_ns < oldest->used_ns))
            oldest = name;
    }
    return oldest;
}

static struct name *name_get(struct resolver *resolver, const char *host)
{
    struct name *name = name_find(resolver, host);
    if (name == NULL) {
        name = name_place(resolver);
        if (name == NULL)
            return NULL;
        memset(name, 0, sizeof *name);
        memcpy(name->host, host, sizeof name->host);
    }
    return name;
}

static void name_queue(struct resolver *resolver, struct name *name)
{
    if (name->state != NAME_RESTS)
        return;
    name->state = NAME_QUEUED;
    name->next_queued = NULL;
    *resolver->queued_tail = name;
    resolver->queued_tail = &name->next_queued;
    pthread_cond_signal(&resolver->news);
}

static bool is_known(const struct name *name, int64_t now_ns)
{
    return name->count > 0 && now_ns < name->expires_ns;
}

/* There is an old answer that may stand in for the new one that could not be had. */
static bool is_stale(const struct name *name, int64_t now_ns)
{
    return name->count > 0 && name->has_failed && !is_known(name, now_ns) &&
           now_ns < name->forgotten_ns;
}

static void answer(struct resolve_request *request, const struct name *name, int64_t now_ns)
{
    request->is_stale = is_stale(name, now_ns);
    err_clear(&request->err);
    if (is_known(name, now_ns) || request->is_stale) {
        request->rc = HF_OK;
        request->count = name->count;
        memcpy(request->addresses, name->addresses, name->count * sizeof name->addresses[0]);
        for (uint32_t i = 0; i < request->count; i++)
            address_set_port(&request->addresses[i], request->port);
    } else {
        request->rc = name->err.rc;
        request->count = 0;
    }
    if (request->is_stale || request->rc != HF_OK)
        request->err = name->err;
}

/* ---- asking ---- */

bool resolve_request_init(struct resolve_request *request, struct loop *loop, uint32_t kind,
                          struct sv host, uint16_t port)
{
    memset(request, 0, sizeof *request);
    request->loop = loop;
    request->message.kind = kind;
    request->port = port;
    return host.size > 0 && sv_copy(host, request->host, sizeof request->host);
}

static enum resolve_now ask(struct resolver *resolver, struct resolve_request *request,
                            int64_t now_ns)
{
    struct name *name = name_get(resolver, request->host);
    if (name == NULL) {
        request->count = 0;
        request->rc =
            err_set(&request->err, HF_RC_LIMIT, "53000", "too many host names are being looked up");
        err_detail(&request->err, "There are %u already.", (unsigned)resolver->config.names_max);
        return RESOLVE_DONE;
    }
    name->used_ns = now_ns;
    bool may_try = !name->has_failed || now_ns >= name->failed_until_ns;
    if (may_try && now_ns >= name->expires_ns - resolver->config.ttl_ns / 4)
        name_queue(resolver, name);
    if (is_known(name, now_ns) || is_stale(name, now_ns) || !may_try) {
        answer(request, name, now_ns);
        return RESOLVE_DONE;
    }
    struct resolve_request **last = &name->waiting;
    while (*last != NULL)
        last = &(*last)->next;
    request->next = NULL;
    *last = request;
    return RESOLVE_WAITS;
}

enum resolve_now resolve_ask(struct resolver *resolver, struct resolve_request *request)
{
    pthread_mutex_lock(&resolver->lock);
    enum resolve_now now = ask(resolver, request, clock_now());
    pthread_mutex_unlock(&resolver->lock);
    return now;
}

bool resolve_cancel(struct resolver *resolver, struct resolve_request *request)
{
    bool is_found = false;
    pthread_mutex_lock(&resolver->lock);
    struct name *name = name_find(resolver, request->host);
    for (struct resolve_request **i = name != NULL ? &name->waiting : NULL; i != NULL && *i != NULL;
         i = &(*i)->next) {
        if (*i == request) {
            *i = request->next;
            is_found = true;
            break;
        }
    }
    pthread_mutex_unlock(&resolver->lock);
    return is_found;
}

bool resolve_look(struct resolver *resolver, uint32_t index, struct resolve_seen *seen)
{
    pthread_mutex_lock(&resolver->lock);
    bool is_there = index < resolver->name_count;
    if (is_there) {
        const struct name *name = &resolver->names[index];
        int64_t now_ns = clock_now();
        memcpy(seen->host, name->host, sizeof seen->host);
        seen->ttl_ns = is_known(name, now_ns) ? name->expires_ns - now_ns : 0;
        seen->is_pending = name->state != NAME_RESTS;
        seen->count = name->count;
        memcpy(seen->addresses, name->addresses, name->count * sizeof name->addresses[0]);
    }
    pthread_mutex_unlock(&resolver->lock);
    return is_there;
}

/* ---- the thread ---- */

/* What a lookup has found. */
struct found {
    uint32_t count;
    struct address addresses[RESOLVE_ADDRESSES];
    struct hf_err err;
};

static void explain(struct found *found, const char *host, int code, int error)
{
    char buffer[REASON_SIZE];
    const char *reason =
        code == EAI_SYSTEM ? strerror_r(error, buffer, sizeof buffer) : gai_strerror(code);
    enum hf_rc rc = code == EAI_NONAME ? HF_RC_MISSING : HF_RC_AGAIN;
    err_set(&found->err, rc, "08001", "could not translate host name \"%.100s\" to address: %s",
            host, reason);
    if (rc == HF_RC_AGAIN)
        err_hint(&found->err, "Look at the name servers in /etc/resolv.conf.");
}

static void found_add(struct found *found, const struct addrinfo *info)
{
    struct address *address = &found->addresses[found->count];
    address_from_sockaddr(address, info->ai_addr, info->ai_addrlen);
    if (!address_is_set(address))
        return;
    for (uint32_t i = 0; i < found->count; i++) {
        if (address_eq(&found->addresses[i], address))
            return;
    }
    found->count++;
}

/* Blocks. */
static void look_up(const char *host, struct found *found)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    found->count = 0;
    int code = getaddrinfo(host, NULL, &hints, &list);
    int error = errno;
    if (code != 0) {
        explain(found, host, code, error);
        return;
    }
    for (const struct addrinfo *i = list; i != NULL && found->count < RESOLVE_ADDRESSES;
         i = i->ai_next)
        found_add(found, i);
    freeaddrinfo(list);
    if (found->count == 0)
        explain(found, host, EAI_NONAME, 0);
}

/* Remembers what was found, and answers everybody who waits for it. */
static void settle(struct resolver *resolver, struct name *name, const struct found *found)
{
    const struct resolver_config *config = &resolver->config;
    int64_t now_ns = clock_now();
    name->state = NAME_RESTS;
    name->has_failed = found->count == 0;
    if (name->has_failed) {
        name->failed_until_ns = ns_add(now_ns, config->failure_ttl_ns);
        name->err = found->err;
    } else {
        name->count = found->count;
        memcpy(name->addresses, found->addresses, found->count * sizeof found->addresses[0]);
        name->expires_ns = ns_add(now_ns, config->ttl_ns);
        name->forgotten_ns = ns_add(name->expires_ns, config->stale_ns_max);
    }
    while (name->waiting != NULL) {
        struct resolve_request *request = name->waiting;
        name->waiting = request->next;
        answer(request, name, now_ns);
        /* From here on the memory may be gone at any moment. */
        loop_post(request->loop, &request->message);
    }
}

static void *run(void *argument)
{
    struct resolver *resolver = argument;
    pthread_mutex_lock(&resolver->lock);
    while (!resolver->is_stopping) {
        struct name *name = resolver->queued;
        if (name == NULL) {
            pthread_cond_wait(&resolver->news, &resolver->lock);
            continue;
        }
        resolver->queued = name->next_queued;
        if (resolver->queued == NULL)
            resolver->queued_tail = &resolver->queued;
        name->state = NAME_RUNS;
        /* The name keeps its place while it runs, so its text may be read without the lock. */
        struct found found;
        pthread_mutex_unlock(&resolver->lock);
        look_up(name->host, &found);
        pthread_mutex_lock(&resolver->lock);
        settle(resolver, name, &found);
    }
    pthread_mutex_unlock(&resolver->lock);
    return NULL;
}

/* ---- life ---- */

static struct resolver_config with_defaults(const struct resolver_config *config)
{
    return (struct resolver_config){
        .ttl_ns = config->ttl_ns > 0 ? config->ttl_ns : TTL_NS,
        .failure_ttl_ns = config->failure_ttl_ns > 0 ? config->failure_ttl_ns : FAILURE_TTL_NS,
        .stale_ns_max = config->stale_ns_max > 0 ? config->stale_ns_max : STALE_NS_MAX,
        .names_max = config->names_max > 0 ? config->names_max : NAMES_MAX,
    };
}

/* Signals are for the threads that expect them. */
static int start_thread(struct resolver *resolver)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int error = pthread_create(&resolver->thread, NULL, run, resolver);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error == 0)
        pthread_setname_np(resolver->thread, "resolver");
    return error;
}

enum hf_rc resolver_new(struct resolver **out, const struct resolver_config *config,
                        struct mem *mem, struct hf_err *err)
{
    *out = NULL;
    struct resolver_config full = with_defaults(config);
    size_t size = sizeof(struct resolver) + full.names_max * sizeof(struct name);
    struct resolver *resolver = mem_alloc(mem, size);
    if (resolver == NULL)
        return mem_refused(mem, size, err);
    resolver->config = full;
    resolver->mem = mem;
    resolver->queued_tail = &resolver->queued;
    /* With default attributes neither can fail in glibc. */
    pthread_mutex_init(&resolver->lock, NULL);
    pthread_cond_init(&resolver->news, NULL);
    int error = start_thread(resolver);
    if (error != 0) {
        char reason[REASON_SIZE];
        pthread_cond_destroy(&resolver->news);
        pthread_mutex_destroy(&resolver->lock);
        mem_free(mem, resolver);
        err_set(err, HF_RC_AGAIN, "53000", "could not start a thread to look up names: %s",
                strerror_r(error, reason, sizeof reason));
        return err_hint(err, "Look at the limit of processes, ulimit -u.");
    }
    *out = resolver;
    return HF_OK;
}

void resolver_free(struct resolver *resolver)
{
    if (resolver == NULL)
        return;
    pthread_mutex_lock(&resolver->lock);
    resolver->is_stopping = true;
    pthread_cond_signal(&resolver->news);
    pthread_mutex_unlock(&resolver->lock);
    pthread_join(resolver->thread, NULL);
    for (uint32_t i = 0; i < resolver->name_count; i++)
        hf_assert(resolver->names[i].waiting == NULL);
    pthread_cond_destroy(&resolver->news);
    pthread_mutex_destroy(&resolver->lock);
    mem_free(resolver->mem, resolver);
}
