#include "client/session.h"

#include "base/ns.h"
#include "client/db.h"
#include "core/token.h"
#include "os/clock.h"
#include "os/mem.h"
#include "pg/watcher.h"

void session_init(struct hf_session *session, struct hf_db *db)
{
    session->db = db;
    pthread_mutex_init(&session->lock, NULL);
}

void session_deinit(struct hf_session *session)
{
    pthread_mutex_destroy(&session->lock);
}

void session_wrote(struct hf_session *session, int64_t now_ns)
{
    pthread_mutex_lock(&session->lock);
    /* A position kept from before does not contain this write, and either of both would be enough.
     */
    session->lsn = 0;
    session->timeline = 0;
    if (atomic_load(&session->written_at_ns) < now_ns)
        atomic_store(&session->written_at_ns, now_ns);
    atomic_store(&session->has_position, false);
    pthread_mutex_unlock(&session->lock);
}

static struct route_promise promise_locked(const struct hf_session *session)
{
    return (struct route_promise){.lsn = session->lsn,
                                  .written_at_ns = atomic_load(&session->written_at_ns),
                                  .timeline = session->timeline};
}

void session_join(struct hf_session *session, const struct route_promise *more, int64_t now_ns)
{
    pthread_mutex_lock(&session->lock);
    struct route_promise own = promise_locked(session);
    struct route_promise both = token_join(&own, more, now_ns);
    session->lsn = both.lsn;
    session->timeline = both.timeline;
    atomic_store(&session->written_at_ns, both.written_at_ns);
    atomic_store(&session->has_position, both.lsn != 0);
    pthread_mutex_unlock(&session->lock);
}

struct route_promise session_promise(struct hf_session *session)
{
    if (!atomic_load(&session->has_position))
        return (struct route_promise){.written_at_ns = atomic_load(&session->written_at_ns)};
    pthread_mutex_lock(&session->lock);
    struct route_promise promise = promise_locked(session);
    pthread_mutex_unlock(&session->lock);
    return promise;
}
