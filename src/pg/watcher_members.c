/*
 * Where the endpoints come from, and where they are. All in the watcher's thread, with the lock
 * held: nothing here waits, what may wait is an errand.
 */
#include <arpa/inet.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ns.h"
#include "pg/watcher_int.h"

#define RESOLVE_NS      HF_SEC(15)
#define RESOLVE_SOON_NS HF_SEC(1) /* where the last lookup, or the address that it gave, failed */
#define PATRONI_NS      HF_SEC(2)
#define LIST_NS         HF_SEC(5)
#define UNLISTED_NS     HF_SEC(60) /* a replica that is down and on no list any more is dropped */
#define ID_PATRONI      UINT32_C(1000)
#define ID_SEED         UINT32_C(2000) /* and up: the seed */
#define PORT_DEFAULT    "5432"

/* Cut if it is too long. */
static void copy(char *out, size_t size, const char *text)
{
    const size_t used = strnlen(text, size - 1);
    memmove(out, text, used);
    out[used] = '\0';
}

/* ---- reading the configuration ---- */

/* Item number `n` of a list with commas; the only one, where it is for all; "" beyond the end. */
static void list_item(const char *list, size_t n, char *out, size_t size)
{
    const char *at = list;
    if (strchr(list, ',') != NULL)
        for (; n > 0 && at != NULL; n--) {
            at = strchr(at, ',');
            at = at != NULL ? at + 1 : NULL;
        }
    snprintf(out, size, "%.*s", at != NULL ? (int)strcspn(at, ",") : 0, at != NULL ? at : "");
}

static size_t list_count(const char *list)
{
    size_t count = 1;
    for (; *list != '\0'; list++)
        count += *list == ',';
    return count;
}

/* Appends " key='value'" as libpq reads it back. */
static bool append_setting(char *out, size_t size, const char *key, const char *value)
{
    size_t used = strlen(out);
    const int start = snprintf(out + used, size - used, "%s%s='", used > 0 ? " " : "", key);
    if (start < 0 || (size_t)start >= size - used)
        return false;
    used += (size_t)start;
    for (; *value != '\0'; value++) {
        if (used + 4 > size)
            return false;
        if (*value == '\'' || *value == '\\')
            out[used++] = '\\';
        out[used++] = *value;
    }
    if (used + 2 > size)
        return false;
    memcpy(out + used, "'", 2);
    return true;
}

/* What the watcher says itself for each endpoint. */
static bool is_own(const char *keyword)
{
    static const char *const own[] = {
        "host", "hostaddr", "port", "target_session_attrs", "application_name", "connect_timeout"};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (strcmp(keyword, own[i]) == 0)
            return true;
    return false;
}

static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword != NULL; options++)
        if (strcmp(options->keyword, keyword) == 0 && options->val != NULL)
            return options->val;
    return "";
}

static enum hf_rc add_seeds_of_string(struct watcher *w, const PQconninfoOption *options,
                                      const PQconninfoOption *defaults, struct hf_err *err)
{
    const char *hosts = value_of(options, "host");
    const char *addresses = value_of(options, "hostaddr");
    const char *ports = value_of(options, "port");
    if (hosts[0] == '\0' && addresses[0] == '\0') {
        hosts = value_of(defaults, "host");
        addresses = value_of(defaults, "hostaddr");
    }
    if (ports[0] == '\0')
        ports = value_of(defaults, "port");
    const size_t count = list_count(addresses[0] != '\0' ? addresses : hosts);
    if (count > SNAPSHOT_ENDPOINTS_MAX) {
        err_set(err, HF_RC_LIMIT, "54000", "the connection string names too many hosts");
        return err_detail(err, "%zu were given, %d is the most.", count, SNAPSHOT_ENDPOINTS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        struct watcher_seed *seed = &w->seeds[w->seed_count++];
        if (hosts[0] != '\0')
            list_item(hosts, i, seed->host, sizeof seed->host);
        list_item(addresses, i, seed->hostaddr, sizeof seed->hostaddr);
        list_item(ports, i, seed->port, sizeof seed->port);
        if (seed->host[0] == '\0')
            copy(seed->host, sizeof seed->host, seed->hostaddr);
        if (seed->port[0] == '\0')
            copy(seed->port, sizeof seed->port, PORT_DEFAULT);
    }
    return HF_OK;
}

static enum hf_rc add_seeds_of_endpoints(struct watcher *w, struct hf_err *err)
{
    if (w->config.endpoint_count > SNAPSHOT_ENDPOINTS_MAX)
        return err_set(err, HF_RC_LIMIT, "54000", "there are too many endpoints: %zu",
                       w->config.endpoint_count);
    for (size_t i = 0; i < w->config.endpoint_count; i++) {
        const struct watcher_endpoint *given = &w->config.endpoints[i];
        struct watcher_seed *seed = &w->seeds[w->seed_count++];
        copy(seed->name, sizeof seed->name, given->name != NULL ? given->name : "");
        copy(seed->host, sizeof seed->host, given->host != NULL ? given->host : "");
        copy(seed->hostaddr, sizeof seed->hostaddr, given->hostaddr != NULL ? given->hostaddr : "");
        snprintf(seed->port, sizeof seed->port, "%u",
                 given->port != 0 ? (unsigned)given->port : 5432U);
        seed->weight = given->weight;
        seed->tier = given->tier;
        seed->zone = given->zone;
        seed->refuses_reads = given->refuses_reads;
        seed->refuses_writes = given->refuses_writes;
    }
    return HF_OK;
}

static enum hf_rc read_options(struct watcher *w, const PQconninfoOption *options,
                               struct hf_err *err)
{
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++)
        if (o->val != NULL && o->val[0] != '\0' && !is_own(o->keyword) &&
            !append_setting(w->conninfo, sizeof w->conninfo, o->keyword, o->val))
            return err_set(err, HF_RC_LIMIT, "54000", "the connection string is too long");
    return HF_OK;
}

enum hf_rc watcher_members_read(struct watcher *w, struct hf_err *err)
{
    /* The text of libpq's own message quotes the string, of which any part may be a password. */
    char *unused = NULL;
    const char *text = w->config.conninfo != NULL ? w->config.conninfo : "";
    PQconninfoOption *options = PQconninfoParse(text, &unused);
    PQconninfoOption *defaults = PQconndefaults();
    PQfreemem(unused);
    if (options == NULL || defaults == NULL) {
        PQconninfoFree(options);
        PQconninfoFree(defaults);
        return err_set(err, HF_RC_INVALID, "22023", "the connection string cannot be read");
    }
    enum hf_rc rc = read_options(w, options, err);
    if (rc == HF_OK)
        rc = w->config.endpoints != NULL ? add_seeds_of_endpoints(w, err)
                                         : add_seeds_of_string(w, options, defaults, err);
    PQconninfoFree(options);
    PQconninfoFree(defaults);
    return rc;
}

/* ---- members ---- */

static bool is_address(const char *host)
{
    struct in6_addr unused;
    return inet_pton(AF_INET, host, &unused) == 1 || inet_pton(AF_INET6, host, &unused) == 1;
}

/* A unix socket, or whatever libpq takes where nothing is given, has no address. */
static bool is_local(const char *host)
{
    return host[0] == '\0' || host[0] == '/' || host[0] == '@';
}

/* "db1:5432", "[::1]:5432", "/run/postgresql:5432"; a name that is too long keeps its end, which
 * tells more of it apart. */
static void make_name(const char *host, const char *port, char out[SNAPSHOT_NAME_BYTES])
{
    char full[300];
    const char *shown = host[0] != '\0' ? host : "local";
    snprintf(full, sizeof full, strchr(shown, ':') != NULL ? "[%s]:%s" : "%s:%s", shown, port);
    const size_t size = strlen(full);
    const size_t skip = size >= SNAPSHOT_NAME_BYTES ? size - SNAPSHOT_NAME_BYTES + 1 : 0;
    copy(out, SNAPSHOT_NAME_BYTES, full + skip);
}

static void connect_slot(struct watcher *w, uint32_t at, const char *hostaddr, int64_t when_ns)
{
    struct watcher_slot *slot = &w->slots[at];
    copy(slot->hostaddr, sizeof slot->hostaddr, hostaddr);
    const struct sampler_place place = {
        .conninfo = w->conninfo,
        .host = slot->host,
        .hostaddr = slot->hostaddr,
        .port = slot->port,
    };
    sampler_move(&slot->sampler, &place, when_ns);
}

/* The member's place; TOPOLOGY_NO_ENDPOINT if there is none left. One that is there already stays
 * whose it is. */
static uint32_t add_member(struct watcher *w, const struct watcher_seed *from,
                           enum watcher_source source, int64_t now_ns)
{
    struct topology_member member = {
        .weight = from->weight,
        .tier = from->tier,
        .zone = from->zone,
        .refuses_reads = from->refuses_reads,
        .refuses_writes = from->refuses_writes,
    };
    if (from->name[0] != '\0')
        copy(member.name, sizeof member.name, from->name);
    else
        make_name(from->host, from->port, member.name);
    uint32_t at = topology_find(&w->topology, member.name);
    if (at != TOPOLOGY_NO_ENDPOINT)
        return at;
    topology_feed(&w->topology, &(struct topology_event){
                                    .kind = TOPOLOGY_EV_ADD, .now_ns = now_ns, .member = &member});
    at = topology_find(&w->topology, member.name);
    if (at == TOPOLOGY_NO_ENDPOINT)
        return at;
    struct watcher_slot *slot = &w->slots[at];
    *slot = (struct watcher_slot){.is_used = true, .source = source};
    copy(slot->host, sizeof slot->host, from->host);
    copy(slot->port, sizeof slot->port, from->port);
    slot->is_named = from->hostaddr[0] == '\0' && !is_local(from->host) && !is_address(from->host);
    slot->resolve_at_ns = slot->is_named ? now_ns : HF_NEVER;
    atomic_store(&w->evidence[at], 0);
    sampler_init(&slot->sampler, &w->config.sampler, rng_u64(&w->rng), now_ns);
    if (!slot->is_named)
        connect_slot(w, at,
                     from->hostaddr[0] != '\0' ? from->hostaddr
                     : is_local(from->host)    ? ""
                                               : from->host,
                     now_ns);
    return at;
}

static void remove_member(struct watcher *w, uint32_t at, int64_t now_ns)
{
    struct watcher_slot *slot = &w->slots[at];
    sampler_deinit(&slot->sampler);
    slot->is_used = false;
    topology_feed(&w->topology, &(struct topology_event){
                                    .kind = TOPOLOGY_EV_REMOVE, .now_ns = now_ns, .endpoint = at});
}

void watcher_members_begin(struct watcher *w, int64_t now_ns)
{
    for (uint32_t i = 0; i < w->seed_count; i++) {
        const struct watcher_seed *seed = &w->seeds[i];
        const bool is_named =
            seed->hostaddr[0] == '\0' && !is_local(seed->host) && !is_address(seed->host);
        w->resolve_at_ns[i] = HF_NEVER;
        if (w->config.expand_names && is_named)
            w->resolve_at_ns[i] = now_ns;
        else
            add_member(w, seed, WATCHER_BY_CONFIG, now_ns);
    }
    w->patroni_at_ns = w->config.patroni_url != NULL ? now_ns : HF_NEVER;
}

/* ---- names ---- */

static bool has_address(const struct watcher_slot *slot, const char *address)
{
    for (uint32_t i = 0; i < slot->address_count; i++)
        if (strcmp(slot->addresses[i], address) == 0)
            return true;
    return false;
}

static void silence(struct watcher *w, uint32_t at, enum outcome_code code, int64_t now_ns)
{
    topology_feed(&w->topology, &(struct topology_event){.kind = TOPOLOGY_EV_SILENCE,
                                                         .now_ns = now_ns,
                                                         .endpoint = at,
                                                         .outcome = {.code = code}});
}

/* A server is likelier to be where it was than to be gone with its name, so a failed lookup changes
 * nothing; and an address that is still one of the name's is kept. */
static void take_addresses(struct watcher *w, uint32_t at, const struct errand_answer *answer,
                           int64_t now_ns)
{
    struct watcher_slot *slot = &w->slots[at];
    if (at >= SNAPSHOT_ENDPOINTS_MAX || !slot->is_used || !slot->is_named)
        return;
    if (answer->rc != HF_OK) {
        slot->resolve_at_ns = ns_add(now_ns, RESOLVE_SOON_NS);
        if (slot->address_count == 0)
            silence(w, at, OUTCOME_RESOLVE_FAILED, now_ns);
        return;
    }
    slot->resolve_at_ns = ns_add(now_ns, w->config.resolve_ns);
    slot->address_count = 0;
    for (uint32_t i = 0; i < answer->count && i < WATCHER_ADDRESSES_MAX; i++)
        copy(slot->addresses[slot->address_count++], sizeof slot->addresses[0],
             answer->places[i].host);
    if (!has_address(slot, slot->hostaddr))
        connect_slot(w, at, slot->addresses[0], now_ns);
}

void watcher_members_failed(struct watcher *w, uint32_t at, struct outcome outcome, int64_t now_ns)
{
    struct watcher_slot *slot = &w->slots[at];
    const bool is_elsewhere = outcome.code == OUTCOME_CONNECT_REFUSED ||
                              outcome.code == OUTCOME_CONNECT_TIMEOUT ||
                              outcome.code == OUTCOME_UNREACHABLE;
    if (!slot->is_named || !is_elsewhere || w->config.resolve_ns == HF_NEVER)
        return;
    slot->resolve_at_ns = ns_min(slot->resolve_at_ns, ns_add(now_ns, RESOLVE_SOON_NS));
    for (uint32_t i = 0; i < slot->address_count && slot->address_count > 1; i++)
        if (strcmp(slot->addresses[i], slot->hostaddr) == 0) {
            const int64_t due_ns = sampler_deadline(&slot->sampler);
            connect_slot(w, at, slot->addresses[(i + 1) % slot->address_count],
                         ns_max(now_ns, due_ns));
            return;
        }
}

/* ---- lists of members ---- */

static void begin_list(struct watcher *w)
{
    for (uint32_t i = 0; i < SNAPSHOT_ENDPOINTS_MAX; i++)
        w->slots[i].is_seen = false;
}

static void see(struct watcher *w, const struct watcher_seed *member, enum watcher_source source,
                int64_t now_ns)
{
    const uint32_t at = add_member(w, member, source, now_ns);
    if (at != TOPOLOGY_NO_ENDPOINT)
        w->slots[at].is_seen = true;
}

static void end_list(struct watcher *w, enum watcher_source source, uint32_t seed, int64_t now_ns)
{
    for (uint32_t i = 0; i < SNAPSHOT_ENDPOINTS_MAX; i++) {
        const struct watcher_slot *slot = &w->slots[i];
        if (slot->is_used && slot->source == source && slot->seed == seed && !slot->is_seen)
            remove_member(w, i, now_ns);
    }
}

static void take_patroni(struct watcher *w, const struct errand_answer *answer, int64_t now_ns)
{
    w->patroni_at_ns = ns_add(now_ns, w->config.patroni_ns);
    if (answer->rc != HF_OK || answer->count == 0)
        return; /* the members are who they were */
    begin_list(w);
    for (uint32_t i = 0; i < answer->count; i++) {
        struct watcher_seed member = {.weight = 0};
        copy(member.host, sizeof member.host, answer->places[i].host);
        snprintf(member.port, sizeof member.port, "%u", (unsigned)answer->places[i].port);
        see(w, &member, WATCHER_BY_PATRONI, now_ns);
    }
    end_list(w, WATCHER_BY_PATRONI, 0, now_ns);
}

static void take_expanded(struct watcher *w, uint32_t number, const struct errand_answer *answer,
                          int64_t now_ns)
{
    const struct watcher_seed *seed = &w->seeds[number];
    const bool is_known = answer->rc == HF_OK && answer->count > 0;
    w->resolve_at_ns[number] = ns_add(now_ns, is_known ? w->config.resolve_ns : RESOLVE_SOON_NS);
    if (!is_known)
        return;
    begin_list(w);
    for (uint32_t i = 0; i < answer->count; i++) {
        struct watcher_seed member = *seed;
        member.name[0] = '\0';
        copy(member.host, sizeof member.host, answer->places[i].host);
        const uint32_t at = add_member(w, &member, WATCHER_BY_NAME, now_ns);
        if (at == TOPOLOGY_NO_ENDPOINT)
            continue;
        w->slots[at].seed = number;
        w->slots[at].is_seen = true;
        /* Certificates are for the name. */
        copy(w->slots[at].host, sizeof w->slots[at].host, seed->host);
    }
    end_list(w, WATCHER_BY_NAME, number, now_ns);
}

/* The list has addresses and no ports: a replica that listens elsewhere than its primary does not
 * answer there, and stays down. */
static void take_replicas(struct watcher *w, uint32_t primary, int64_t now_ns)
{
    const char(*addresses)[SAMPLER_ADDRESS_SIZE];
    uint32_t count;
    if (!sampler_take_replicas(&w->slots[primary].sampler, &addresses, &count))
        return;
    begin_list(w);
    for (uint32_t i = 0; i < count; i++) {
        struct watcher_seed member = {.weight = 0};
        bool is_known = false;
        copy(member.host, sizeof member.host, addresses[i]);
        copy(member.port, sizeof member.port, w->slots[primary].port);
        for (uint32_t k = 0; k < SNAPSHOT_ENDPOINTS_MAX && !is_known; k++) {
            struct watcher_slot *slot = &w->slots[k];
            is_known = slot->is_used && strcmp(slot->hostaddr, member.host) == 0 &&
                       (k != primary || slot->source != WATCHER_BY_PRIMARY);
            slot->is_seen = slot->is_seen || is_known;
        }
        if (!is_known)
            see(w, &member, WATCHER_BY_PRIMARY, now_ns);
    }
    for (uint32_t i = 0; i < SNAPSHOT_ENDPOINTS_MAX; i++) {
        const struct watcher_slot *slot = &w->slots[i];
        const struct topology_endpoint *e = &w->topology.endpoints[i];
        if (slot->is_used && slot->source == WATCHER_BY_PRIMARY && !slot->is_seen &&
            e->health == ENDPOINT_DOWN && now_ns - e->alive_at_ns >= UNLISTED_NS)
            remove_member(w, i, now_ns);
    }
}

/* ---- turns ---- */

static void ask_what_is_due(struct watcher *w, int64_t now_ns)
{
    for (uint32_t i = 0; i < SNAPSHOT_ENDPOINTS_MAX; i++) {
        struct watcher_slot *slot = &w->slots[i];
        if (slot->is_used && slot->is_named && now_ns >= slot->resolve_at_ns &&
            errand_ask(w->errands, i, ERRAND_RESOLVE, slot->host))
            slot->resolve_at_ns = HF_NEVER; /* the answer sets it */
        if (i < w->seed_count && now_ns >= w->resolve_at_ns[i] &&
            errand_ask(w->errands, ID_SEED + i, ERRAND_RESOLVE, w->seeds[i].host))
            w->resolve_at_ns[i] = HF_NEVER;
    }
    if (now_ns >= w->patroni_at_ns &&
        errand_ask(w->errands, ID_PATRONI, ERRAND_PATRONI, w->config.patroni_url))
        w->patroni_at_ns = HF_NEVER;
}

void watcher_members_turn(struct watcher *w, int64_t now_ns)
{
    struct errand_answer answer;
    if (w->errands != NULL) {
        ask_what_is_due(w, now_ns);
        while (errand_take(w->errands, &answer)) {
            if (answer.id == ID_PATRONI)
                take_patroni(w, &answer, now_ns);
            else if (answer.id >= ID_SEED)
                take_expanded(w, answer.id - ID_SEED, &answer, now_ns);
            else
                take_addresses(w, answer.id, &answer, now_ns);
        }
    }
    const uint32_t primary = w->topology.primary;
    if (w->config.follow_replicas && primary != TOPOLOGY_NO_ENDPOINT && w->slots[primary].is_used)
        take_replicas(w, primary, now_ns);
}

int64_t watcher_members_deadline(const struct watcher *w)
{
    int64_t due_ns = w->patroni_at_ns;
    for (uint32_t i = 0; i < SNAPSHOT_ENDPOINTS_MAX; i++) {
        if (w->slots[i].is_used && w->slots[i].is_named)
            due_ns = ns_min(due_ns, w->slots[i].resolve_at_ns);
        if (i < w->seed_count)
            due_ns = ns_min(due_ns, w->resolve_at_ns[i]);
    }
    return due_ns;
}
