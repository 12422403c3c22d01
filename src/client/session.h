/*
 * A session's promise, shared by threads: what its reads must see.
 *
 * It is a time (this session's last write was acknowledged by then), a position, or both; either is
 * enough (core/route.h), so both must cover all writes: a write drops the position, a token that is
 * adopted is joined with what was there (core/token.h). While there is no position, reading the
 * promise is two loads.
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
    _Atomic int64_t written_at_ns; /* 0: it has written nothing */
    _Atomic bool has_position;
    pthread_mutex_t lock; /* over changes, and over the two below */
    uint64_t lsn;
    uint32_t timeline;
};

void session_init(struct hf_session *session, struct hf_db *db);
void session_deinit(struct hf_session *session);

/* A write was acknowledged; `now_ns` was read after the acknowledgement. */
void session_wrote(struct hf_session *session, int64_t now_ns);
/* It must see this, too. */
void session_join(struct hf_session *session, const struct route_promise *more, int64_t now_ns);
struct route_promise session_promise(struct hf_session *session);

#endif
