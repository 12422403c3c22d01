#include "proxy/proxy_places.h"

#include <stdlib.h>
#include <string.h>

#include "base/bug.h"

/* ---- asking ---- */

const struct proxy_listener *proxy_listener_of(const struct proxy_config *config, uint32_t index,
                                               bool *is_gone)
{
    const char *name = config->proxy.places[index];
    *is_gone = name[0] != '\0';
    for (uint32_t i = 0; *is_gone && i < config->place_count; i++) {
        if (strcmp(config->places[i].name, name) != 0)
            continue;
        *is_gone = false;
        return &config->places[i];
    }
    return NULL;
}

const struct proxy_peer *proxy_peer_find(const struct proxy_config *config, uint32_t id)
{
    for (uint32_t i = 0; i < config->peer_count; i++) {
        if (config->peers[i].id == id)
            return &config->peers[i];
    }
    return NULL;
}

/* ---- making ---- */

/* Room for one more entry of a section; NULL: there is none. */
static void *add_entry(struct mem *mem, void **entries, uint32_t count, uint32_t max, size_t size,
                       struct hf_err *err)
{
    if (*entries == NULL)
        *entries = mem_alloc_array(mem, max, size);
    if (*entries == NULL)
        mem_refused(mem, max * size, err);
    else if (count == max)
        err_set(err, HF_RC_LIMIT, "54000", "there are more than %u", (unsigned)max);
    else
        return (char *)*entries + count * size;
    return NULL;
}

enum hf_rc proxy_config_add_listener(struct proxy_config *config, struct sv name,
                                     struct proxy_listener **out, struct hf_err *err)
{
    void *entries = config->places;
    *out = add_entry(config->mem, &entries, config->place_count, PROXY_LISTENERS_MAX, sizeof **out,
                     err);
    config->places = entries;
    if (*out == NULL)
        return err->rc;
    const enum hf_rc rc = proxy_name_set((*out)->name, name, err);
    if (rc != HF_OK)
        return rc;
    opt_defaults(&proxy_section_find(SV("listeners"))->tables[0], *out);
    config->place_count++;
    return HF_OK;
}

enum hf_rc proxy_config_add_peer(struct proxy_config *config, struct sv name,
                                 struct proxy_peer **out, struct hf_err *err)
{
    void *entries = config->peers;
    *out = add_entry(config->mem, &entries, config->peer_count, PROXY_PEERS_MAX, sizeof **out, err);
    config->peers = entries;
    if (*out == NULL)
        return err->rc;
    const enum hf_rc rc = proxy_name_set((*out)->name, name, err);
    if (rc != HF_OK)
        return rc;
    opt_defaults(&proxy_section_find(SV("peers"))->tables[0], *out);
    config->peer_count++;
    return HF_OK;
}

/* ---- what only together can be wrong ---- */

static enum hf_rc check_rules(const struct proxy_config *config, const struct proxy_listener *place,
                              const struct proxy_host *host, struct proxy_fault *fault,
                              struct hf_err *err)
{
    if (place->auth == PROXY_AUTH_TRUST + 1 && !proxy_host_is_local(host)) {
        err_set(err, HF_RC_INVALID, "22023", "trust would let in whoever reaches \"%s\"",
                host->name);
        err_hint(err, "Listen on 127.0.0.1 or a unix socket, or demand a proof.");
        return proxy_fault_set(fault, "listeners", place->name, "auth_type", err);
    }
    if (place->auth == PROXY_AUTH_CERT + 1 && config->client_tls.sslmode < PROXY_SSL_VERIFY_CA) {
        err_set(err, HF_RC_INVALID, "22023", "cert needs clients that show a certificate");
        err_hint(err, "Set proxy.client_tls.sslmode to verify-full.");
        return proxy_fault_set(fault, "listeners", place->name, "auth_type", err);
    }
    if (place->tls >= PROXY_LISTENER_TLS_ALLOW && config->client_tls.sslmode == PROXY_SSL_DISABLE) {
        err_set(err, HF_RC_INVALID, "22023", "TLS is disabled in proxy.client_tls");
        err_hint(err, "Set proxy.client_tls.sslmode to allow, with cert_file and key_file.");
        return proxy_fault_set(fault, "listeners", place->name, "sslmode", err);
    }
    return HF_OK;
}

/* At the end of the list of those to listen on. */
static enum hf_rc finish_listener(struct proxy_config *config, const struct proxy_listener *place,
                                  struct proxy_fault *fault, struct hf_err *err)
{
    struct proxy_settings *proxy = &config->proxy;
    struct proxy_host *host = &proxy->listeners[proxy->listener_count];
    if (proxy->listener_count == PROXY_LISTENERS_MAX) {
        err_set(err, HF_RC_LIMIT, "54000", "there are more than %d places to listen",
                PROXY_LISTENERS_MAX);
        return proxy_fault_set(fault, "listeners", place->name, NULL, err);
    }
    if (proxy_host_parse(sv_trim(sv_from_cstr(place->address_text)), (uint16_t)place->port, host,
                         err) != HF_OK)
        return proxy_fault_set(fault, "listeners", place->name, "address", err);
    for (uint32_t i = 0; i < proxy->listener_count; i++) {
        if (proxy->listeners[i].port != host->port ||
            strcmp(proxy->listeners[i].name, host->name) != 0)
            continue;
        err_set(err, HF_RC_INVALID, "22023", "there is a listener on \"%s\" port %u already",
                host->name, host->port);
        err_hint(err, "Give it another port, or remove the address from proxy.listen.");
        return proxy_fault_set(fault, "listeners", place->name, "address", err);
    }
    if (check_rules(config, place, host, fault, err) != HF_OK)
        return err->rc;
    const bool fits = sv_copy(sv_from_cstr(place->name), proxy->places[proxy->listener_count],
                              sizeof proxy->places[0]);
    hf_assert(fits);
    proxy->listener_count++;
    return HF_OK;
}

static enum hf_rc finish_peer(struct proxy_config *config, uint32_t index,
                              struct proxy_fault *fault, struct hf_err *err)
{
    struct proxy_peer *peer = &config->peers[index];
    const struct sv host = sv_trim(sv_from_cstr(peer->host_text));
    if (proxy_host_parse(host, (uint16_t)peer->port, &peer->host, err) != HF_OK)
        return proxy_fault_set(fault, "peers", peer->name, "host", err);
    for (uint32_t i = 0; i < index; i++) {
        if (config->peers[i].id != peer->id)
            continue;
        err_set(err, HF_RC_INVALID, "22023", "peer \"%s\" has this id as well",
                config->peers[i].name);
        return proxy_fault_set(fault, "peers", peer->name, "id", err);
    }
    return HF_OK;
}

static int order_listeners(const void *a, const void *b)
{
    return strcmp(((const struct proxy_listener *)a)->name,
                  ((const struct proxy_listener *)b)->name);
}

static int order_peers(const void *a, const void *b)
{
    return strcmp(((const struct proxy_peer *)a)->name, ((const struct proxy_peer *)b)->name);
}

enum hf_rc proxy_places_finish(struct proxy_config *config, struct proxy_fault *fault,
                               struct hf_err *err)
{
    if (config->place_count > 0)
        qsort(config->places, config->place_count, sizeof config->places[0], order_listeners);
    if (config->peer_count > 0)
        qsort(config->peers, config->peer_count, sizeof config->peers[0], order_peers);
    for (uint32_t i = 0; i < config->place_count; i++) {
        if (finish_listener(config, &config->places[i], fault, err) != HF_OK)
            return err->rc;
    }
    for (uint32_t i = 0; i < config->peer_count; i++) {
        if (finish_peer(config, i, fault, err) != HF_OK)
            return err->rc;
    }
    return HF_OK;
}
