/*
 * A session's promise, shared by threads: what its reads must see.
 *
 * Each acknowledged write moves `written_at_ns` forward (one atomic maximum); a position that came
 * with a token, or that a commit reported, is kept beside it under a lock, which is taken only while
 * there is one.
 */
#ifndef HF_CLIENT_SESSION_H
#define HF_CLIENT_SESSION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/route.h"

struct hf_db;

struct hf_session {
    struct hf_db *db;
    _Atomic int64_t written_at_ns;
    _Atomic bool has_position;
    pthread_mutex_t lock; /* over the two below */
    uint64_t lsn;
    uint32_t timeline;
};

void session_init(struct hf_session *session, struct hf_db *db);
void session_deinit(struct hf_session *session);

/* A write was acknowledged; `now_ns` was read after the acknowledgement. */
void session_wrote(struct hf_session *session, int64_t now_ns);
/* It must see this position, too. */
void session_must_see(struct hf_session *session, uint64_t lsn, uint32_t timeline);
struct route_promise session_promise(struct hf_session *session);

#endif
