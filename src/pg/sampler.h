/*
 * A sampler asks one server what it is, over one connection of its own, every `interval_ns`: alive?
 * primary or replica? which timeline, which WAL position, does the receiver stream, which cluster?
 * It connects, asks, hears, and connects again after a loss; what the answers mean is decided in
 * core/topology.h.
 *
 *     loop:   poll sampler.fd for sampler.wants until sampler_deadline()
 *             sampler_turn(&sampler, now, ready)
 *             while (sampler_take(&sampler, &report)) feed the topology
 *
 *             connect_ns_max, all three                  answer_ns_max
 *   IDLE -----------> CONNECTING -> GREETING -> PREPARING -----------> ASKING --> WAITING
 *     ^     retry         |            |            |                  |  ^ interval |
 *     '-------------------'------------'------------'--- lost, late ---'  '----------'
 *
 * Every failure is reported once, as the outcome that callers' attempts would have had, and is
 * followed by a new connection: at once after the loss of one that had worked (the server may have
 * been restarted, and whether it has is the next thing to know), then after `retry_ns` growing to
 * `retry_ns_max`, with jitter, so that a crowd of samplers does not greet a starting server.
 *
 * The question is one statement, prepared once, so that the server neither parses nor plans ten
 * times a second. It needs no privileges. What this user may not see is told as unknown: without
 * pg_monitor (or pg_read_all_stats) the receiver's state and with it the timeline that a replica is
 * on; the latter is then read from the control file, where it arrives with the next restart point.
 *
 * The session calls itself "holdfast sampler", and gives up on the server's side too
 * (statement_timeout, idle_session_timeout is off, tcp_user_timeout), so that a watcher that is
 * cut off leaves nothing behind.
 *
 * PostgreSQL 10 to 17; on 13 and older is told what those can tell. One owner, no thread, no clock
 * of its own.
 */
#ifndef HF_PG_SAMPLER_H
#define HF_PG_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rng.h"
#include "core/outcome.h"
#include "core/topology.h"
#include "pg/conn.h"

/* 0 means the default that is named. */
struct sampler_config {
    int64_t interval_ns;    /* 100 ms, each drawn from 90 to 110 % */
    int64_t connect_ns_max; /* 1 s, the greeting included */
    int64_t answer_ns_max;  /* 500 ms */
    int64_t retry_ns;       /* 50 ms */
    int64_t retry_ns_max;   /* 300 ms */
    int64_t list_ns;        /* a primary is asked who replicates from it so often; 0: never */
};

enum sampler_state {
    SAMPLER_IDLE,
    SAMPLER_CONNECTING,
    SAMPLER_GREETING,
    SAMPLER_PREPARING,
    SAMPLER_WAITING,
    SAMPLER_ASKING,
    SAMPLER_LISTING,
};

#define SAMPLER_REPLICAS_MAX 16
#define SAMPLER_ADDRESS_SIZE 48

/* Where the server is. The texts are the owner's, and live as long as the sampler uses them. */
struct sampler_place {
    const char *conninfo; /* user, password, TLS ..., but no hosts; NULL: none */
    const char *host, *hostaddr, *port;
};

/* What has become of a question. */
struct sampler_report {
    bool is_answer; /* else a silence */
    struct topology_answer answer;
    struct outcome outcome;
    struct hf_err err; /* of a silence: for people */
};

struct sampler {
    int fd;      /* -1: none */
    short wants; /* POLLIN, POLLOUT */

    /* private */
    struct sampler_config config;
    struct sampler_place place;
    enum sampler_state state;
    struct conn conn;
    struct pg_result *rows; /* of the statement under way */
    struct rng rng;
    int64_t deadline_ns; /* of the state */
    int64_t asked_at_ns;
    uint32_t failures; /* since the last answer */
    bool has_report;
    struct sampler_report report;
    bool sees_all;      /* the user may see the receiver */
    bool lacks_control; /* it may not even read the control file */
    uint64_t system_identifier, instance;
    uint64_t wal_segment_bytes, wal_block_bytes;
    uint32_t timeline_seen;     /* the newest, of this instance as a replica */
    uint32_t followed_timeline; /* as this connection saw it last; 0: not as a replica */
    uint32_t left_timeline;     /* and where that was left, if it has seen the promotion too */
    uint64_t left_lsn;
    int64_t list_at_ns; /* when to ask for replicas next */
    bool has_replicas;
    uint32_t replica_count;
    char replicas[SAMPLER_REPLICAS_MAX][SAMPLER_ADDRESS_SIZE];
};

/* Asks for the first time at `now_ns`. */
void sampler_init(struct sampler *sampler, const struct sampler_config *config, uint64_t seed,
                  int64_t now_ns);

/* Another place, or the same at another address: connects anew, not before `at_ns`. */
void sampler_move(struct sampler *sampler, const struct sampler_place *place, int64_t at_ns);

/* Does what is due. `ready` is what poll said of fd, 0 if nothing. */
void sampler_turn(struct sampler *sampler, int64_t now_ns, short ready);

/* The report of the last question, once. Take it after each turn. */
bool sampler_take(struct sampler *sampler, struct sampler_report *report);

/* The addresses of those who replicate from a primary, when they were asked for anew: the texts
 * stay until the next turn. A user without pg_monitor sees none. */
bool sampler_take_replicas(struct sampler *sampler, const char (**addresses)[SAMPLER_ADDRESS_SIZE],
                           uint32_t *count);

/* When to turn if the descriptor stays quiet. */
int64_t sampler_deadline(const struct sampler *sampler);

/* Ask now instead of at the next interval: somebody met something there. */
void sampler_hurry(struct sampler *sampler, int64_t now_ns);

/* Closes the connection. */
void sampler_deinit(struct sampler *sampler);

/* In a child after fork(): lets go without a word to the server. */
void sampler_abandon(struct sampler *sampler);

#endif
