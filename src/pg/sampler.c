#include "pg/sampler.h"

#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/ns.h"
#include "pg/conn_int.h"
#include "pg/sampler_int.h"

#define SQL_SIZE 2048

/* ---- what is asked ---- */

/* Once for each connection: who it is, what this user may see; and the session's own settings,
 * those that only newer servers know by way of the catalogue. */
static const char hello_sql[] =
    "SELECT pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'),"
    " (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint,"
    " %s,"
    " pg_catalog.set_config('statement_timeout', '5s', false),"
    " (SELECT count(pg_catalog.set_config(name, setting, false)) FROM (VALUES"
    " ('idle_session_timeout', '0'), ('jit', 'off')) AS own (name, setting)"
    " WHERE name IN (SELECT s.name FROM pg_catalog.pg_settings s))";

static const char hello_control[] =
    "(SELECT system_identifier FROM pg_catalog.pg_control_system()),"
    " (SELECT wal_block_size FROM pg_catalog.pg_control_init()),"
    " (SELECT bytes_per_wal_segment FROM pg_catalog.pg_control_init())";

static const char hello_no_control[] = "NULL, NULL, NULL";

enum hello_column {
    HELLO_SEES_ALL,
    HELLO_INSTANCE,
    HELLO_IDENTIFIER,
    HELLO_BLOCK,
    HELLO_SEGMENT,
};

/* Every interval. Whether it is in recovery is asked first and once, so that a promotion in between
 * leads to no contradiction. The insert position, since a commit that waits for no flush is
 * acknowledged from there. */
static const char ask_sql[] =
    "SELECT r, pg_catalog.current_setting('transaction_read_only') = 'on',"
    " CASE WHEN r THEN pg_catalog.pg_last_wal_replay_lsn()"
    " ELSE pg_catalog.pg_current_wal_insert_lsn() END,"
    " CASE WHEN r THEN pg_catalog.pg_last_wal_receive_lsn() END,"
    " CASE WHEN NOT r THEN"
    " substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8) END,"
    " r AND pg_catalog.pg_is_wal_replay_paused(),"
    " CASE WHEN r THEN (extract(epoch FROM pg_catalog.clock_timestamp() -"
    " pg_catalog.pg_last_xact_replay_timestamp()) * 1000000)::bigint END,"
    " CASE WHEN r THEN (SELECT coalesce(status, 'hidden')"
    " FROM pg_catalog.pg_stat_wal_receiver) END,"
    " CASE WHEN r THEN (SELECT received_tli FROM pg_catalog.pg_stat_wal_receiver) END,"
    " CASE WHEN r THEN (SELECT (extract(epoch FROM pg_catalog.clock_timestamp() -"
    " last_msg_receipt_time) * 1000000)::bigint FROM pg_catalog.pg_stat_wal_receiver) END,"
    " CASE WHEN NOT r THEN pg_catalog.pg_last_wal_replay_lsn() END,"
    " %s"
    " FROM (SELECT pg_catalog.pg_is_in_recovery() AS r OFFSET 0) AS s";

/* The control file's: right, but as late as the last restart point. */
static const char ask_control[] =
    "CASE WHEN r THEN greatest((SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),"
    " (SELECT min_recovery_end_timeline FROM pg_catalog.pg_control_recovery())) END";

enum ask_column {
    ASK_RECOVERY,
    ASK_READ_ONLY,
    ASK_POSITION,
    ASK_RECEIVED,
    ASK_TIMELINE,
    ASK_PAUSED,
    ASK_REPLAY_AGE,
    ASK_RECEIVER,
    ASK_RECEIVED_TIMELINE,
    ASK_MESSAGE_AGE,
    ASK_RECOVERED,
    ASK_CONTROL_TIMELINE,
};

/* pg_basebackup streams too, and is nobody to read from. */
static const char list_sql[] =
    "SELECT DISTINCT pg_catalog.host(client_addr) FROM pg_catalog.pg_stat_replication"
    " WHERE client_addr IS NOT NULL AND state IN ('streaming', 'catchup')"
    " AND application_name <> 'pg_basebackup'";

/* ---- what is answered ---- */

uint64_t sampler_read_lsn(const char *text)
{
    char *rest = NULL;
    const unsigned long long high = strtoull(text, &rest, 16);
    if (rest == text || *rest != '/')
        return 0;
    const char *low_text = rest + 1;
    const unsigned long long low = strtoull(low_text, &rest, 16);
    return rest == low_text ? 0 : (uint64_t)((high << 32) | low);
}

uint64_t sampler_end_of_records(uint64_t lsn, uint64_t block_bytes, uint64_t segment_bytes)
{
    /* Sizes of the headers that a page of WAL, and the first page of a segment, begin with. */
    enum {
        SHORT_HEADER = 24,
        LONG_HEADER = 40
    };
    if (block_bytes == 0 || segment_bytes == 0)
        return lsn;
    const uint64_t in_segment = lsn % segment_bytes;
    if (in_segment == LONG_HEADER)
        return lsn - LONG_HEADER;
    if (in_segment >= block_bytes && lsn % block_bytes == SHORT_HEADER)
        return lsn - SHORT_HEADER;
    return lsn;
}

static const char *cell(const PGresult *rows, int column)
{
    return PQgetvalue(rows, 0, column); /* "" for NULL */
}

static uint64_t number(const PGresult *rows, int column)
{
    return strtoull(cell(rows, column), NULL, 10);
}

static int64_t age_ns(const PGresult *rows, int column)
{
    if (PQgetisnull(rows, 0, column))
        return HF_NEVER;
    /* Server clocks may go back between the two times. */
    const long long age_us = strtoll(cell(rows, column), NULL, 10);
    return age_us <= 0 ? 0 : HF_US(ns_min(age_us, HF_NEVER / 1000));
}

static void read_hello(struct sampler *s, const PGresult *rows)
{
    const uint64_t instance = number(rows, HELLO_INSTANCE);
    if (instance != s->instance)
        s->timeline_seen = 0;
    s->sees_all = cell(rows, HELLO_SEES_ALL)[0] == 't';
    s->instance = instance;
    s->system_identifier = number(rows, HELLO_IDENTIFIER);
    s->wal_block_bytes = number(rows, HELLO_BLOCK);
    s->wal_segment_bytes = number(rows, HELLO_SEGMENT);
}

static enum topology_receiver read_receiver(const struct sampler *s, const PGresult *rows)
{
    if (PQgetisnull(rows, 0, ASK_RECEIVER))
        return TOPOLOGY_RECEIVER_ABSENT;
    /* Hidden from this user, but it is there, and shown only once it is connected. */
    if (!s->sees_all || strcmp(cell(rows, ASK_RECEIVER), "hidden") == 0)
        return TOPOLOGY_RECEIVER_STREAMING;
    return strcmp(cell(rows, ASK_RECEIVER), "streaming") == 0 ? TOPOLOGY_RECEIVER_STREAMING
                                                              : TOPOLOGY_RECEIVER_ABSENT;
}

/* A running standby never goes back to an older timeline, so the newest that it was seen on holds
 * while its receiver is gone and the control file is late. */
static uint32_t read_timeline(struct sampler *s, const PGresult *rows)
{
    uint64_t timeline = strtoull(cell(rows, ASK_TIMELINE), NULL, 16);
    if (timeline != 0)
        return (uint32_t)timeline;
    const uint64_t received = number(rows, ASK_RECEIVED_TIMELINE);
    const uint64_t control = number(rows, ASK_CONTROL_TIMELINE);
    timeline = received > control ? received : control;
    if (timeline > s->timeline_seen)
        s->timeline_seen = (uint32_t)timeline;
    return s->timeline_seen;
}

/* A connection that has seen a standby and now sees a primary has lived through its promotion: no
 * restart lies in between, and its recovery ended where it left the timeline that it followed. */
static void read_promotion(struct sampler *s, const PGresult *rows)
{
    struct topology_answer *answer = &s->report.answer;
    if (answer->is_in_recovery) {
        s->followed_timeline = answer->timeline;
        return;
    }
    if (s->followed_timeline != 0) {
        s->left_timeline = s->followed_timeline;
        s->left_lsn = sampler_read_lsn(cell(rows, ASK_RECOVERED));
        s->followed_timeline = 0;
    }
    answer->left_timeline = s->left_timeline;
    answer->left_lsn = s->left_lsn;
}

static void read_answer(struct sampler *s, const PGresult *rows)
{
    struct topology_answer *answer = &s->report.answer;
    const uint64_t position = sampler_read_lsn(cell(rows, ASK_POSITION));
    s->report.is_answer = true;
    *answer = (struct topology_answer){
        .asked_at_ns = s->asked_at_ns,
        .is_in_recovery = cell(rows, ASK_RECOVERY)[0] == 't',
        .is_replay_paused = cell(rows, ASK_PAUSED)[0] == 't',
        .timeline = read_timeline(s, rows),
        .system_identifier = s->system_identifier,
        .instance = s->instance,
        .message_age_ns = age_ns(rows, ASK_MESSAGE_AGE),
        .replay_age_ns = age_ns(rows, ASK_REPLAY_AGE),
    };
    if (answer->is_in_recovery) {
        answer->replayed_lsn = position;
        answer->received_lsn = sampler_read_lsn(cell(rows, ASK_RECEIVED));
        answer->receiver = read_receiver(s, rows);
    } else {
        answer->written_lsn =
            sampler_end_of_records(position, s->wal_block_bytes, s->wal_segment_bytes);
        answer->is_read_only = cell(rows, ASK_READ_ONLY)[0] == 't';
    }
    read_promotion(s, rows);
    s->has_report = true;
    s->failures = 0;
}

static void read_replicas(struct sampler *s, const PGresult *rows)
{
    s->replica_count = 0;
    for (int i = 0; i < PQntuples(rows) && s->replica_count < SAMPLER_REPLICAS_MAX; i++)
        snprintf(s->replicas[s->replica_count++], SAMPLER_ADDRESS_SIZE, "%s",
                 PQgetvalue(rows, i, 0));
    s->has_replicas = true;
}

/* ---- failing ---- */

static int64_t jittered(struct sampler *s, int64_t duration_ns)
{
    return rng_range_ns(&s->rng, duration_ns - duration_ns / 10, duration_ns + duration_ns / 10);
}

static void fail(struct sampler *s, int64_t now_ns, struct outcome outcome,
                 const struct hf_err *err)
{
    int64_t wait_ns = s->config.retry_ns;
    conn_close(&s->conn);
    for (uint32_t i = 1; i < s->failures && wait_ns < s->config.retry_ns_max; i++)
        wait_ns += wait_ns;
    wait_ns = jittered(s, ns_min(wait_ns, s->config.retry_ns_max));
    s->report = (struct sampler_report){.outcome = outcome, .err = *err};
    s->has_report = true;
    s->state = SAMPLER_IDLE;
    s->fd = -1;
    /* After the loss of a connection that worked, whether anybody listens there is the news. */
    s->deadline_ns = s->failures == 0 ? now_ns : ns_add(now_ns, wait_ns);
    s->failures++;
}

static void fail_late(struct sampler *s, int64_t now_ns, enum outcome_code code)
{
    struct hf_err err;
    err_set(&err, HF_RC_AGAIN, "57014", "no answer in time");
    fail(s, now_ns, (struct outcome){.code = code}, &err);
}

static void fail_lost(struct sampler *s, int64_t now_ns)
{
    struct hf_err err;
    conn_result_error(&s->conn, NULL, &err);
    fail(s, now_ns, (struct outcome){.code = OUTCOME_CONN_LOST}, &err);
}

/* ---- the states ---- */

static void watch(struct sampler *s)
{
    s->fd = conn_fd(&s->conn);
    s->wants = s->conn.wants;
}

static void begin(struct sampler *s, int64_t now_ns)
{
    struct hf_err err;
    const struct conn_param params[] = {
        {"tcp_user_timeout", "3000"},
        {"dbname", s->place.conninfo},
        {"host", s->place.host},
        {"hostaddr", s->place.hostaddr},
        {"port", s->place.port},
        {"target_session_attrs", "any"},
        {"application_name", "holdfast sampler"},
        {NULL, NULL},
    };
    s->asked_at_ns = now_ns;
    s->followed_timeline = s->left_timeline = 0;
    s->deadline_ns = ns_add(now_ns, s->config.connect_ns_max);
    if (conn_start(&s->conn, params, s->deadline_ns, &err) == CONN_FAILED) {
        fail(s, now_ns, s->conn.outcome, &err);
        return;
    }
    s->state = SAMPLER_CONNECTING;
    watch(s);
}

static bool send_hello(struct sampler *s)
{
    char sql[SQL_SIZE];
    snprintf(sql, sizeof sql, hello_sql, s->lacks_control ? hello_no_control : hello_control);
    s->state = SAMPLER_GREETING;
    return PQsendQueryParams(s->conn.pg, sql, 0, NULL, NULL, NULL, NULL, 0) == 1;
}

static bool send_prepare(struct sampler *s)
{
    char sql[SQL_SIZE];
    snprintf(sql, sizeof sql, ask_sql, s->lacks_control ? "NULL" : ask_control);
    s->state = SAMPLER_PREPARING;
    return PQsendPrepare(s->conn.pg, "holdfast_sampler", sql, 0, NULL) == 1;
}

static bool send_ask(struct sampler *s, int64_t now_ns)
{
    s->asked_at_ns = now_ns;
    s->deadline_ns = ns_add(now_ns, s->config.answer_ns_max);
    s->state = SAMPLER_ASKING;
    return PQsendQueryPrepared(s->conn.pg, "holdfast_sampler", 0, NULL, NULL, NULL, 0) == 1;
}

static bool send_list(struct sampler *s, int64_t now_ns)
{
    s->list_at_ns = ns_add(now_ns, s->config.list_ns);
    s->deadline_ns = ns_add(now_ns, s->config.answer_ns_max);
    s->state = SAMPLER_LISTING;
    return PQsendQueryParams(s->conn.pg, list_sql, 0, NULL, NULL, NULL, NULL, 0) == 1;
}

static bool wants_list(const struct sampler *s, int64_t now_ns)
{
    return s->config.list_ns > 0 && now_ns >= s->list_at_ns && !s->report.answer.is_in_recovery;
}

/* Sends what the wrapped function queued; the answer is waited for. */
static void sent(struct sampler *s, int64_t now_ns, bool was_queued)
{
    struct hf_err err;
    if (!was_queued || conn_pump(&s->conn, 0, &err) == CONN_FAILED)
        fail_lost(s, now_ns);
    else
        watch(s);
}

static void wait_for_interval(struct sampler *s, int64_t now_ns)
{
    s->state = SAMPLER_WAITING;
    s->deadline_ns = ns_max(now_ns, ns_add(s->asked_at_ns, jittered(s, s->config.interval_ns)));
    s->wants = POLLIN;
}

static bool may_not_read_control(const PGresult *rows)
{
    const char *sqlstate = PQresultErrorField(rows, PG_DIAG_SQLSTATE);
    return sqlstate != NULL && (strcmp(sqlstate, "42501") == 0 || strcmp(sqlstate, "42883") == 0);
}

/* A statement is over; `rows` is its result. */
static void answered(struct sampler *s, int64_t now_ns, const PGresult *rows)
{
    const struct outcome outcome = conn_result_outcome(rows, NULL);
    if (outcome.code != OUTCOME_SUCCESS) {
        if (s->state == SAMPLER_GREETING && !s->lacks_control && may_not_read_control(rows)) {
            s->lacks_control = true;
            sent(s, now_ns, send_hello(s));
            return;
        }
        struct hf_err err;
        conn_result_error(&s->conn, rows, &err);
        fail(s, now_ns, outcome, &err);
    } else if (s->state == SAMPLER_GREETING) {
        read_hello(s, rows);
        sent(s, now_ns, send_prepare(s));
    } else if (s->state == SAMPLER_PREPARING) {
        sent(s, now_ns, send_ask(s, now_ns));
    } else if (s->state == SAMPLER_LISTING) {
        read_replicas(s, rows);
        wait_for_interval(s, now_ns);
    } else {
        read_answer(s, rows);
        if (wants_list(s, now_ns))
            sent(s, now_ns, send_list(s, now_ns));
        else
            wait_for_interval(s, now_ns);
    }
}

static bool is_greeting(const struct sampler *s)
{
    return s->state == SAMPLER_GREETING || s->state == SAMPLER_PREPARING;
}

/* Takes results until the statement is over. */
static void hear(struct sampler *s, int64_t now_ns, short ready)
{
    struct hf_err err;
    enum conn_step step = conn_pump(&s->conn, ready, &err);
    while (step != CONN_WAITS) {
        PGresult *next = PQgetResult(s->conn.pg);
        if (next == NULL) {
            PGresult *rows = s->rows;
            s->rows = NULL;
            if (step == CONN_FAILED && rows == NULL)
                fail_lost(s, now_ns);
            else
                answered(s, now_ns, rows);
            PQclear(rows);
            return;
        }
        s->rows = conn_keep_result(s->rows, next);
        if (step == CONN_DONE)
            step = conn_pump(&s->conn, 0, &err);
    }
    if (now_ns >= s->deadline_ns)
        fail_late(s, now_ns, is_greeting(s) ? OUTCOME_CONNECT_TIMEOUT : OUTCOME_TIMEOUT);
    else
        watch(s);
}

static void connect_further(struct sampler *s, int64_t now_ns)
{
    struct hf_err err;
    switch (conn_connect(&s->conn, now_ns, &err)) {
    case CONN_WAITS:
        watch(s);
        return;
    case CONN_DONE:
        sent(s, now_ns, send_hello(s));
        return;
    case CONN_FAILED:
        fail(s, now_ns, s->conn.outcome, &err);
        return;
    }
}

void sampler_turn(struct sampler *s, int64_t now_ns, short ready)
{
    switch (s->state) {
    case SAMPLER_IDLE:
        if (s->place.host != NULL && now_ns >= s->deadline_ns)
            begin(s, now_ns);
        return;
    case SAMPLER_CONNECTING:
        connect_further(s, now_ns);
        return;
    case SAMPLER_GREETING:
    case SAMPLER_PREPARING:
    case SAMPLER_ASKING:
    case SAMPLER_LISTING:
        hear(s, now_ns, ready);
        return;
    case SAMPLER_WAITING:
        if (ready != 0 && !conn_is_usable(&s->conn))
            fail_lost(s, now_ns);
        else if (now_ns >= s->deadline_ns)
            sent(s, now_ns, send_ask(s, now_ns));
        return;
    }
}

/* ---- life ---- */

static int64_t or_default(int64_t value, int64_t otherwise)
{
    return value != 0 ? value : otherwise;
}

void sampler_init(struct sampler *s, const struct sampler_config *config, uint64_t seed,
                  int64_t now_ns)
{
    memset(s, 0, sizeof *s);
    s->fd = -1;
    s->config = (struct sampler_config){
        .interval_ns = or_default(config->interval_ns, HF_MS(100)),
        .connect_ns_max = or_default(config->connect_ns_max, HF_SEC(1)),
        .answer_ns_max = or_default(config->answer_ns_max, HF_MS(500)),
        .retry_ns = or_default(config->retry_ns, HF_MS(50)),
        .retry_ns_max = or_default(config->retry_ns_max, HF_MS(300)),
        .list_ns = config->list_ns,
    };
    rng_init(&s->rng, seed);
    s->state = SAMPLER_IDLE;
    s->deadline_ns = now_ns;
}

static void let_go(struct sampler *s)
{
    PQclear(s->rows);
    s->rows = NULL;
    conn_close(&s->conn);
    s->state = SAMPLER_IDLE;
    s->fd = -1;
}

void sampler_move(struct sampler *s, const struct sampler_place *place, int64_t at_ns)
{
    let_go(s);
    s->place = *place;
    s->deadline_ns = at_ns;
    s->lacks_control = false;
}

bool sampler_take(struct sampler *s, struct sampler_report *report)
{
    if (!s->has_report)
        return false;
    *report = s->report;
    s->has_report = false;
    return true;
}

bool sampler_take_replicas(struct sampler *s, const char (**addresses)[SAMPLER_ADDRESS_SIZE],
                           uint32_t *count)
{
    if (!s->has_replicas)
        return false;
    s->has_replicas = false;
    *addresses = (const char(*)[SAMPLER_ADDRESS_SIZE])s->replicas;
    *count = s->replica_count;
    return true;
}

int64_t sampler_deadline(const struct sampler *s)
{
    return s->state == SAMPLER_IDLE && s->place.host == NULL ? HF_NEVER : s->deadline_ns;
}

void sampler_hurry(struct sampler *s, int64_t now_ns)
{
    if (s->state == SAMPLER_WAITING || s->state == SAMPLER_IDLE)
        s->deadline_ns = ns_min(s->deadline_ns, now_ns);
}

void sampler_deinit(struct sampler *s)
{
    let_go(s);
}

void sampler_abandon(struct sampler *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->conn.pg = NULL;
    s->rows = NULL;
    s->fd = -1;
    s->state = SAMPLER_IDLE;
}
