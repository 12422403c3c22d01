#include "proxy/access.h"

#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "os/clock.h"
#include "os/entropy.h"
#include "os/file.h"
#include "os/passfile.h"

#define IMPLICIT_SIZE 192

/* The rules that auth_type stands for. `replication` is named because `all` does not mean it; who
 * may replicate is for the server to say. */
static const char *implicit_rules(enum proxy_auth method, char out[IMPLICIT_SIZE])
{
    if (method == PROXY_AUTH_CERT)
        return "hostssl all,replication all all cert\n";
    if (method == PROXY_AUTH_PEER)
        return "local all,replication all peer\n";
    if (method == PROXY_AUTH_TRUST)
        return "local all,replication all trust\n"
               "host all,replication all 127.0.0.0/8 trust\n"
               "host all,replication all ::1/128 trust\n";
    const char *name = proxy_auth_name(method);
    snprintf(out, IMPLICIT_SIZE, "local all,replication all %s\nhost all,replication all all %s\n",
             name, name);
    return out;
}

/* The whole file, and a NUL, to be given back with mem_free(); NULL: err says why. */
static char *read_file(const char *path, size_t size_max, struct mem *mem, struct hf_err *err)
{
    const int64_t size = file_size(path);
    if (size > (int64_t)size_max) {
        err_set(err, HF_RC_LIMIT, "54000", "\"%s\" has more than %zu bytes", path, size_max);
        return NULL;
    }
    /* One that grows while it is read is refused by file_read() as too long. */
    const size_t room = (size_t)size + 2;
    char *text = mem_alloc(mem, room);
    if (text == NULL) {
        mem_refused(mem, room, err);
        return NULL;
    }
    enum hf_rc rc = file_read(path, text, room, err);
    /* Rules behind a zero byte would be lost without a word. */
    if (rc == HF_OK && strlen(text) < (size_t)size)
        rc = err_set(err, HF_RC_INVALID, "F0000", "\"%s\" holds a zero byte", path);
    if (rc == HF_OK)
        return text;
    explicit_bzero(text, room);
    mem_free(mem, text);
    return NULL;
}

static enum hf_rc read_hba(struct access *access, const struct proxy_settings *settings,
                           struct hf_err *err)
{
    char implicit[IMPLICIT_SIZE];
    const char *path = settings->auth_hba_file;
    if (path[0] == '\0')
        return hba_new(&access->hba, sv_from_cstr(implicit_rules(settings->auth_type, implicit)),
                       access->mem, err);
    char *text = read_file(path, HBA_TEXT_MAX, access->mem, err);
    if (text == NULL)
        return err_while(err, "reading auth_hba_file");
    const enum hf_rc rc = hba_new(&access->hba, sv_from_cstr(text), access->mem, err);
    mem_free(access->mem, text);
    return rc == HF_OK ? HF_OK : err_while(err, "%s", path);
}

static enum hf_rc read_users(struct access *access, const struct proxy_config *config,
                             struct hf_err *err)
{
    const char *path = config->proxy.auth_file;
    const uint64_t seed = entropy_seed();
    if (path[0] == '\0')
        return users_new(&access->users, SV(""), config, seed, access->mem, err);
    char *text = read_file(path, USERS_TEXT_MAX, access->mem, err);
    if (text == NULL)
        return err_while(err, "reading auth_file");
    const enum hf_rc rc =
        users_new(&access->users, sv_from_cstr(text), config, seed, access->mem, err);
    explicit_bzero(text, strlen(text));
    mem_free(access->mem, text);
    return rc == HF_OK ? HF_OK : err_while(err, "%s", path);
}

static enum hf_rc read_ident(struct access *access, const struct proxy_settings *settings,
                             struct hf_err *err)
{
    const char *path = settings->auth_ident_file;
    if (path[0] == '\0')
        return ident_new(&access->ident, SV(""), access->mem, err);
    char *text = read_file(path, IDENT_TEXT_MAX, access->mem, err);
    if (text == NULL)
        return err_while(err, "reading auth_ident_file");
    const enum hf_rc rc = ident_new(&access->ident, sv_from_cstr(text), access->mem, err);
    mem_free(access->mem, text);
    return rc == HF_OK ? HF_OK : err_while(err, "%s", path);
}

/* What rules of a file speak of has to be there: else they would let in nobody, and say so only
 * when somebody comes. */
static enum hf_rc check_rules(const struct access *access, const struct proxy_config *config,
                              struct hf_err *err)
{
    for (uint32_t i = 0; i < hba_count(access->hba); i++) {
        const struct hba_rule *rule = hba_at(access->hba, i);
        const bool needs_authority =
            rule->method == PROXY_AUTH_CERT || rule->clientcert != HBA_CLIENTCERT_NO;
        if (needs_authority && config->client_tls.ca_file[0] == '\0') {
            err_set(err, HF_RC_INVALID, "F0000",
                    "line %u: there is no authority for certificates of clients",
                    (unsigned)rule->line);
            return err_hint(err, "Set proxy.client_tls.ca_file.");
        }
        if (rule->map.size > 0 && !ident_has(access->ident, rule->map)) {
            err_set(err, HF_RC_INVALID, "F0000",
                    "line %u: there is no map \"" SV_FMT "\" in auth_ident_file",
                    (unsigned)rule->line, SV_ARG(rule->map));
            return err_hint(err, "Without a line of it nobody could come in by this rule.");
        }
    }
    return HF_OK;
}

static enum hf_rc read_passfile(struct access *access, const char *path, struct hf_err *err)
{
    if (path[0] == '\0')
        return HF_OK;
    if (passfile_check(path, err) == HF_OK)
        access->passwords = read_file(path, PASSFILE_SIZE_MAX, access->mem, err);
    return access->passwords != NULL ? HF_OK : err_while(err, "reading passfile");
}

enum hf_rc access_password(const struct access *access, const struct proxy_host *host,
                           struct sv database, struct sv user, struct secret *password,
                           struct hf_err *err)
{
    char port[8];
    if (access->passwords == NULL)
        return HF_OK;
    snprintf(port, sizeof port, "%u", (unsigned)host->port);
    const struct passfile_key key = {
        .host = sv_from_cstr(host->name),
        .port = sv_from_cstr(port),
        .database = database,
        .user = user,
    };
    return passfile_search(sv_from_cstr(access->passwords), &key, password, err);
}

static enum hf_rc make_cache(struct access *access, const struct proxy_config *config,
                             struct hf_err *err)
{
    const struct auth_times times = {
        .ttl_ns = config->proxy.lookup_ttl_ns,
        .stale_ns = config->proxy.lookup_stale_ns,
    };
    bool is_wanted = config->proxy.lookup.user[0] != '\0';
    for (uint32_t i = 0; i < config->database_count; i++)
        is_wanted = is_wanted || config->databases[i].lookup.user[0] != '\0';
    return is_wanted ? auth_cache_new(&access->cache, &times, entropy_seed(), access->mem, err)
                     : HF_OK;
}

static void free_access(struct access *access)
{
    auth_cache_free(access->cache);
    if (access->passwords != NULL)
        explicit_bzero(access->passwords, strlen(access->passwords));
    mem_free(access->mem, access->passwords);
    ident_free(access->ident);
    hba_free(access->hba);
    users_free(access->users);
    mem_free(access->mem, access);
}

enum hf_rc access_new(struct access **out, const struct proxy_config *config,
                      const struct access *before, struct mem *mem, struct hf_err *err)
{
    struct access *access = mem_alloc(mem, sizeof *access);
    if (access == NULL)
        return mem_refused(mem, sizeof *access, err);
    access->mem = mem;
    atomic_init(&access->holders, 1);
    enum hf_rc rc = read_hba(access, &config->proxy, err);
    if (rc == HF_OK)
        rc = read_ident(access, &config->proxy, err);
    if (rc == HF_OK && config->proxy.auth_hba_file[0] != '\0' &&
        check_rules(access, config, err) != HF_OK)
        rc = err_while(err, "%s", config->proxy.auth_hba_file);
    if (rc == HF_OK)
        rc = read_users(access, config, err);
    if (rc == HF_OK)
        rc = read_passfile(access, config->proxy.passfile, err);
    if (rc == HF_OK)
        rc = make_cache(access, config, err);
    if (rc != HF_OK) {
        free_access(access);
        return rc;
    }
    if (before != NULL)
        users_adopt(access->users, before->users);
    if (before != NULL && before->cache != NULL && access->cache != NULL)
        auth_cache_adopt(access->cache, before->cache, clock_now());
    *out = access;
    return HF_OK;
}

struct access *access_hold(struct access *access)
{
    /* Whoever calls has it from somebody who holds it, so it cannot end meanwhile. */
    const uint32_t holders = atomic_fetch_add_explicit(&access->holders, 1, memory_order_relaxed);
    hf_assert(holders > 0);
    return access;
}

void access_drop(struct access *access)
{
    /* The last one must see what the others have written before it frees them. */
    const uint32_t holders = atomic_fetch_sub_explicit(&access->holders, 1, memory_order_acq_rel);
    hf_assert(holders > 0);
    if (holders == 1)
        free_access(access);
}
