#include "proxy/auth_query.h"

#include <string.h>

#include "proxy/access.h"
#include "proxy/admin.h"
#include "proxy/admission.h"
#include "proxy/auth_ask.h"
#include "proxy/client.h"
#include "proxy/worker.h"

/* ---- where ---- */

/* Its own entry, and not that of all names. */
static const struct proxy_database *entry_of(const struct proxy_config *config, const char *name)
{
    const struct proxy_database *found = proxy_database_find(config, sv_from_cstr(name));
    return found != NULL && strcmp(found->name, name) == 0 ? found : NULL;
}

/* The name of an entry's database at its servers. Of the entry for all names it has to be one that
 * no client can choose: where a client could, it could have us connect to whatever it names. */
static const char *dbname_of(const struct proxy_database *entry)
{
    if (entry->dbname[0] != '\0')
        return entry->dbname;
    return strcmp(entry->name, "*") == 0 ? "postgres" : entry->name;
}

/* Where users of a database are asked for; false: nowhere. */
static bool auth_query_place(const struct proxy_config *config, struct sv database,
                             struct auth_place *place)
{
    const bool is_console = admin_is_console(database);
    const struct proxy_database *wanted = is_console ? NULL : proxy_database_find(config, database);
    const struct proxy_lookup *lookup = wanted != NULL ? &wanted->lookup : &config->proxy.lookup;
    if (lookup->user[0] == '\0' || (wanted == NULL && !is_console))
        return false;
    const struct proxy_database *named =
        lookup->dbname[0] != '\0' ? entry_of(config, lookup->dbname) : NULL;
    const struct proxy_database *entry = named != NULL ? named : wanted;
    if (entry == NULL)
        return false;
    const bool is_other = named == NULL && lookup->dbname[0] != '\0';
    const char *dbname = is_other ? lookup->dbname : dbname_of(entry);
    *place = (struct auth_place){0};
    sv_copy(sv_from_cstr(entry->name), place->entry, sizeof place->entry);
    sv_copy(sv_from_cstr(dbname), place->dbname, sizeof place->dbname);
    sv_copy(sv_from_cstr(lookup->user), place->user, sizeof place->user);
    sv_copy(sv_from_cstr(lookup->query), place->query, sizeof place->query);
    return true;
}

/* ---- logins ---- */

/* Whoever asks is told; later, as nobody is called back by what he has just called. */
static bool tell(struct worker *worker, struct access *access)
{
    struct proxy *proxy = worker->proxy;
    struct auth_ask_message *ask = mem_alloc(proxy->mem, sizeof *ask);
    if (ask == NULL)
        return false;
    ask->message.kind = WORKER_ASK;
    ask->access = access_hold(access);
    loop_post(proxy->workers[0].loop, &ask->message);
    return true;
}

static void take(struct admission *admission, struct auth_found *found)
{
    admission->secret = found->secret;
    admission->nothing = found->nothing;
    if (found->secret != NULL)
        admission->user = auth_secret_user(found->secret);
}

enum auth_query_state auth_query_begin(struct admission *admission, struct hf_err *err)
{
    struct worker *worker = admission->client->worker;
    struct auth_cache *cache = admission->access->cache;
    struct auth_place place;
    struct auth_found found;
    if (cache == NULL ||
        !auth_query_place(worker->config, sv_from_cstr(admission->database), &place))
        return AUTH_QUERY_DONE;
    const int64_t now_ns = worker_now(worker);
    const struct auth_wish wish = {
        .place = &place,
        .user = sv_from_cstr(admission->role),
        .worker = worker->index,
        .asked_ns = admission->asked_ns,
    };
    switch (auth_cache_get(cache, &wish, now_ns, &found, err)) {
    case AUTH_KNOWN:
        take(admission, &found);
        if (found.is_stale)
            log_emit(worker->proxy->log, LOG_AT_WARNING,
                     "auth_query could not be asked: an old answer stands in",
                     log_text("database", place.dbname), log_text("role", admission->role));
        admission->was_looked_up = true;
        return AUTH_QUERY_DONE;
    case AUTH_WAIT:
        break;
    case AUTH_FAILED:
    default:
        return AUTH_QUERY_FAILED;
    }
    if (admission->asked_ns == 0)
        admission->asked_ns = now_ns;
    if (!list_is_linked(&admission->asking))
        list_push_back(&worker->asking, &admission->asking);
    /* Who has no memory for the message is told at the limit of time; others tell for him. */
    if (found.must_ask && !tell(worker, admission->access))
        log_emit(worker->proxy->log, LOG_AT_ERROR, "auth_query is not asked: out of memory",
                 log_text("role", admission->role));
    return AUTH_QUERY_WAITS;
}

void auth_query_end(struct admission *admission)
{
    if (list_is_linked(&admission->asking))
        list_remove(&admission->asking);
    auth_secret_drop(admission->secret);
    admission->secret = NULL;
}

void auth_query_doubt(struct admission *admission)
{
    if (admission->secret != NULL)
        auth_query_refused(admission->client->worker, admission->access,
                           sv_from_cstr(admission->database), sv_from_cstr(admission->role));
}

void auth_query_answered(struct worker *worker)
{
    struct list_node *node;
    struct list again;
    /* Before anything is looked at: what is answered from now on is told anew. */
    atomic_store(&worker->answered_is_posted, false);
    list_init(&again);
    while ((node = list_pop_front(&worker->asking)) != NULL)
        list_push_back(&again, node);
    while ((node = list_pop_front(&again)) != NULL)
        admission_asked(container_of(node, struct admission, asking));
}

/* ---- servers ---- */

struct auth_secret *auth_query_secret(struct worker *worker, struct access *access,
                                      struct sv database, struct sv role)
{
    struct auth_place place;
    if (access->cache == NULL || !auth_query_place(worker->config, database, &place))
        return NULL;
    return auth_cache_peek(access->cache, &place, role);
}

void auth_query_refused(struct worker *worker, struct access *access, struct sv database,
                        struct sv role)
{
    struct auth_place place;
    if (access->cache != NULL && auth_query_place(worker->config, database, &place))
        auth_cache_doubt(access->cache, &place, role, worker_now(worker));
}
