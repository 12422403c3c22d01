#include "proxy/sockets.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/worker.h"

#define NOBODYS UINT32_MAX /* the kind of a listener that no address was found for yet */

enum hf_rc sockets_inherit(struct sockets *sockets, int fd, bool is_activated, struct hf_err *err)
{
    struct sockets_entry *entry = &sockets->entries[sockets->count];
    if (sockets->count == SOCKETS_MAX) {
        close(fd);
        return err_set(err, HF_RC_LIMIT, "53400", "too many listening sockets are handed over");
    }
    *entry = (struct sockets_entry){.is_inherited = true, .is_activated = is_activated};
    enum hf_rc rc = listener_adopt(&entry->listener, fd, err);
    if (rc != HF_OK) {
        close(fd);
        return rc;
    }
    entry->listener.kind = NOBODYS;
    entry->listener.keeps_path = is_activated; /* it is systemd's, and so is its file */
    sockets->count++;
    return HF_OK;
}

/* ---- which are there, which are missing ---- */

/* "[::]" for IPv6 alone, or for both families, as systemd opens it. */
static bool is_both_families(const struct listener *listener)
{
    int is_v6_only = 1;
    socklen_t size = sizeof is_v6_only;
    struct address any;
    address_any_v6(&any, address_port(&listener->address));
    return address_eq(&any, &listener->address) &&
           getsockopt(listener->fd, IPPROTO_IPV6, IPV6_V6ONLY, &is_v6_only, &size) == 0 &&
           is_v6_only == 0;
}

static bool serves(const struct sockets_entry *entry, const struct address *address)
{
    struct address any;
    if (entry->is_inherited && address_eq(&entry->listener.address, address))
        return true;
    address_any_v4(&any, address_port(address));
    return entry->is_inherited && address_eq(&any, address) &&
           address_port(&entry->listener.address) == address_port(address) &&
           is_both_families(&entry->listener);
}

/* Numbers those of one address, for sockets_share(). */
static void number_group(struct sockets *sockets, const uint32_t *members, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        sockets->entries[members[i]].ordinal = i;
        sockets->entries[members[i]].group_size = count;
    }
}

static enum hf_rc open_one(struct sockets *sockets, const struct address *address, uint32_t kind,
                           mode_t unix_mode, struct hf_err *err)
{
    struct sockets_entry *entry = &sockets->entries[sockets->count];
    bool is_unix = address_is_unix(address);
    if (sockets->count == SOCKETS_MAX) {
        err_set(err, HF_RC_LIMIT, "53400", "too many addresses to listen on");
        return err_detail(err, "%d sockets are the most, one for each address and worker.",
                          SOCKETS_MAX);
    }
    *entry = (struct sockets_entry){0};
    enum hf_rc rc = listener_open(&entry->listener, address, !is_unix, err);
    if (rc != HF_OK)
        return rc;
    if (is_unix && address->sa.path.sun_path[0] == '/')
        (void)!chmod(address->sa.path.sun_path, unix_mode);
    entry->listener.kind = kind;
    sockets->count++;
    return HF_OK;
}

/* A socket of ours is there with this port: the same address again, or "*" beside one address. */
static bool has_port(const struct sockets *sockets, uint16_t port)
{
    for (uint32_t i = 0; i < sockets->count; i++) {
        if (address_port(&sockets->entries[i].listener.address) == port)
            return true;
    }
    return false;
}

/* Instances may share a port, and say so by their number. Without it, a second process that
 * somebody has started by mistake would get half of the clients, and nobody would know. */
static enum hf_rc claim(const struct sockets *sockets, const struct proxy_config *config,
                        const struct address *address, struct hf_err *err)
{
    const uint16_t port = address_port(address);
    if (config->proxy.instance_id != 0 || address_is_unix(address) || port == 0 ||
        has_port(sockets, port))
        return HF_OK;
    const enum hf_rc rc = listener_find_free(address, err);
    if (rc == HF_RC_AGAIN)
        return err_hint(err, "Another process listens there: end it, or take over from it "
                             "(proxy.run_dir and --takeover), or give each of them a "
                             "proxy.instance_id if they are to share the port.");
    return rc;
}

/* One address of the host `kind`: those that were inherited for it, and the rest for `workers`. */
static enum hf_rc open_address(struct sockets *sockets, const struct proxy_config *config,
                               const struct address *address, uint32_t kind, uint32_t workers,
                               struct hf_err *err)
{
    const mode_t unix_mode = (mode_t)config->proxy.unix_socket_mode;
    uint32_t members[SOCKETS_MAX];
    uint32_t count = 0;
    uint32_t wanted = address_is_unix(address) ? 1 : workers;
    enum hf_rc rc = HF_OK;
    for (uint32_t i = 0; i < sockets->count; i++) {
        struct sockets_entry *entry = &sockets->entries[i];
        if (!serves(entry, address))
            continue;
        if (entry->is_activated)
            wanted = 1;
        entry->listener.kind = kind;
        members[count++] = i;
    }
    if (count == 0)
        rc = claim(sockets, config, address, err);
    while (rc == HF_OK && count < wanted) {
        rc = open_one(sockets, address, kind, unix_mode, err);
        if (rc == HF_OK)
            members[count++] = sockets->count - 1;
    }
    number_group(sockets, members, count);
    return rc;
}

static enum hf_rc open_host(struct sockets *sockets, const struct proxy_config *config,
                            uint32_t kind, uint32_t workers, struct hf_err *err)
{
    const struct proxy_host *host = &config->proxy.listeners[kind];
    struct sv name = sv_from_cstr(host->name);
    struct address address;
    if (host->is_unix) {
        enum hf_rc rc = address_unix(&address, name, host->port, err);
        return rc == HF_OK ? open_address(sockets, config, &address, kind, workers, err) : rc;
    }
    if (sv_eq(name, SV("*"))) {
        struct hf_err no_v6;
        address_any_v4(&address, host->port);
        enum hf_rc rc = open_address(sockets, config, &address, kind, workers, err);
        address_any_v6(&address, host->port);
        if (rc == HF_OK) /* a machine without IPv6 is fine */
            (void)!open_address(sockets, config, &address, kind, workers, &no_v6);
        return rc;
    }
    if (!address_literal(&address, sv_eq(name, SV("localhost")) ? SV("127.0.0.1") : name,
                         host->port))
        return err_set(err, HF_RC_INVALID, "22023", "cannot listen on \"%s\": not an address",
                       host->name);
    return open_address(sockets, config, &address, kind, workers, err);
}

/* Those that no address of the configuration is for. What systemd has opened is meant to be used:
 * it is a mistake in one of the two files. */
static enum hf_rc drop_strangers(struct sockets *sockets, struct hf_err *err)
{
    char text[ADDRESS_TEXT_SIZE];
    for (uint32_t i = 0; i < sockets->count; i++) {
        struct sockets_entry *entry = &sockets->entries[i];
        if (entry->listener.kind != NOBODYS)
            continue;
        if (!entry->is_activated) {
            listener_close(&entry->listener);
            continue;
        }
        err_set(err, HF_RC_INVALID, "22023", "systemd listens on %s for us, and we are not to",
                address_text(&entry->listener.address, text));
        return err_hint(err, "Name it in proxy.listen, proxy.unix_socket_dir or listeners, or "
                             "remove it from the socket unit.");
    }
    return HF_OK;
}

enum hf_rc sockets_open(struct sockets *sockets, const struct proxy_config *config,
                        uint32_t workers, struct hf_err *err)
{
    enum hf_rc rc = HF_OK;
    sockets->inherited = sockets->count;
    for (uint32_t i = 0; rc == HF_OK && i < config->proxy.listener_count; i++)
        rc = open_host(sockets, config, i, workers, err);
    return rc == HF_OK ? drop_strangers(sockets, err) : rc;
}

/* ---- workers ---- */

/* Every socket has a worker, and every worker a socket of each address. */
static bool is_for(const struct sockets_entry *entry, uint32_t index, uint32_t workers)
{
    if (entry->group_size >= workers)
        return entry->ordinal % workers == index;
    return entry->ordinal == index % entry->group_size;
}

enum hf_rc sockets_share(struct sockets *sockets, struct worker *worker, uint32_t workers,
                         struct hf_err *err)
{
    for (uint32_t i = 0; i < sockets->count; i++) {
        struct sockets_entry *entry = &sockets->entries[i];
        if (entry->listener.fd < 0 || !is_for(entry, worker->index, workers))
            continue;
        if (worker->listener_count == WORKER_LISTENERS_MAX) {
            err_set(err, HF_RC_LIMIT, "53400", "too many sockets to listen on in one worker");
            return err_hint(err, "Give proxy.workers the number that the process before had.");
        }
        struct listener *listener = &worker->listeners[worker->listener_count];
        *listener = entry->listener;
        enum hf_rc rc = loop_listen(worker->loop, listener, err);
        if (rc != HF_OK)
            return rc;
        worker->entries[worker->listener_count++] = i;
        atomic_fetch_add(&entry->users, 1);
    }
    return HF_OK;
}

void sockets_leave(struct sockets *sockets, struct worker *worker, bool gently)
{
    for (uint32_t i = 0; i < worker->listener_count; i++) {
        struct sockets_entry *entry = &sockets->entries[worker->entries[i]];
        if (gently)
            loop_retire(worker->loop, &worker->listeners[i]);
        else
            loop_unlisten(worker->loop, &worker->listeners[i]);
        if (!worker->has_left && atomic_fetch_sub(&entry->users, 1) == 1)
            listener_close(&entry->listener);
    }
    worker->has_left = true;
}

void sockets_keep(struct sockets *sockets)
{
    for (uint32_t i = 0; i < sockets->count; i++)
        sockets->entries[i].listener.keeps_path = true;
}

void sockets_close(struct sockets *sockets)
{
    for (uint32_t i = 0; i < sockets->count; i++)
        listener_close(&sockets->entries[i].listener);
    sockets->count = 0;
}
