/*
 * What became of a lost COMMIT: the driver of core/commit, and the servers that it asks.
 *
 * A question takes its time: to the server, where it is answered from sim_wal.c by what that server
 * holds at that moment, and back. On either way the world may change. The answers are rows of text,
 * as PostgreSQL sends them.
 */
#include "sim_int.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/bug.h"
#include "base/ns.h"

#define SYSTEM_ID 77

static void drain(struct sim_client *client);

static void feed(struct sim_client *client, struct commit_event event)
{
    struct sim *sim = client->sim;
    event.now_ns = sim->now_ns;
    event.view = &sim->view;
    commit_feed(&client->search->machine, &event);
    sim_note(sim, client->index, 300 + (uint32_t)event.kind, client->search->machine.state);
    if (sim->log != NULL)
        fprintf(sim->log, "%12.6f client %-2u search: event %d -> %s, %s\n", sim_seconds(sim),
                client->index, (int)event.kind, commit_state_name(client->search->machine.state),
                commit_why_name(commit_reason(&client->search->machine)->why));
    drain(client);
}

/* ---- the server's side of a question ---- */

static void print_lsn(char out[48], uint64_t lsn)
{
    snprintf(out, 48, "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn >> 32), (uint32_t)lsn);
}

static void answer_status(struct sim *sim, struct sim_search *search)
{
    static const char *const words[COMMIT_STATUSES] = {
        [COMMIT_STATUS_COMMITTED] = "committed",
        [COMMIT_STATUS_ABORTED] = "aborted",
        [COMMIT_STATUS_RUNNING] = "in progress",
        [COMMIT_STATUS_FUTURE] = "future",
    };
    const struct sim_server *server = &sim->servers[search->server];
    bool is_replica = !server->is_primary && !server->is_stale;
    for (int i = 0; i < COMMIT_COLUMNS_MAX; i++)
        search->values[i] = search->text[i];
    snprintf(search->text[0], 48, "%s", is_replica ? "t" : "f");
    snprintf(search->text[1], 48, "%08" PRIX32 "%016X", server->timeline, 1u);
    print_lsn(search->text[2], server->recovered_lsn);
    if (server->recovered_lsn == 0)
        search->values[2] = NULL;
    snprintf(search->text[3], 48, "%" PRId64, server->started_us);
    snprintf(search->text[4], 48, "%d", SYSTEM_ID);
    snprintf(search->text[5], 48, "%s", sim->plan.is_synchronous ? "t" : "f");
    search->values[6] = words[wal_status(sim, search->server, search->machine.probe.xid)];
    search->is_good = true;
}

/* Its ancestors. The latest are enough: searches are not that old. */
static void answer_history(struct sim *sim, struct sim_search *search)
{
    const struct sim_server *server = &sim->servers[search->server];
    size_t used = 0;
    if (!sim->plan.has_history)
        return;
    uint32_t first = server->timeline > 80 ? server->timeline - 80 : 1;
    search->history[0] = '\0';
    for (uint32_t timeline = first; timeline < server->timeline; timeline++) {
        uint64_t cut = sim->cut[timeline];
        if (cut > sim->start[timeline])
            used += (size_t)snprintf(search->history + used, sizeof search->history - used,
                                     "%" PRIu32 "\t%" PRIX32 "/%" PRIX32 "\tsimulated\n", timeline,
                                     (uint32_t)(cut >> 32), (uint32_t)cut);
    }
    search->values[0] = search->history;
    search->is_good = true;
}

/* A tiny transaction; its end is looked for now and then. False: not yet. */
static bool answer_confirm(struct sim *sim, struct sim_search *search)
{
    const struct sim_server *server = &sim->servers[search->server];
    if (search->confirmation < 0) {
        bool is_writable = server->is_primary || server->is_stale;
        if (!is_writable || sim->txs >= SIM_TXS_MAX)
            return true;
        search->confirmation = wal_begin(sim, search->server, -1, -1);
        wal_commit(sim, search->confirmation);
        return false;
    }
    const struct sim_tx *tx = &sim->tx[search->confirmation];
    if (tx->boot != server->boot)
        return true; /* its connection is gone */
    search->is_good = tx->state == SIM_TX_DONE;
    return search->is_good;
}

static bool answer(struct sim *sim, struct sim_search *search)
{
    switch (search->query) {
    case COMMIT_QUERY_STATUS:
        answer_status(sim, search);
        return true;
    case COMMIT_QUERY_HISTORY:
        answer_history(sim, search);
        return true;
    case COMMIT_QUERY_CONFIRM:
        return answer_confirm(sim, search);
    case COMMIT_QUERY_END:
        wal_end_backend(sim, search->server, search->machine.probe.xid);
        search->is_good = true;
        return true;
    case COMMIT_QUERIES:
        break;
    }
    hf_assert(false);
    return true;
}

/* The question reaches its server, or waits there, or its answer has come back. */
static void step(struct sim_client *client)
{
    struct sim *sim = client->sim;
    struct sim_search *search = client->search;
    const struct sim_server *server = &sim->servers[search->server];
    if (search->is_answered) {
        bool is_lost = rng_below(&sim->rng, 1000) < server->reset_permille / 2;
        feed(client, (struct commit_event){
                         .kind = search->is_good && !is_lost ? COMMIT_EV_RESULT : COMMIT_EV_FAILED,
                         .number = search->number,
                         .values = search->values,
                     });
        return;
    }
    int64_t again_ns = rng_range_ns(&sim->rng, HF_US(20), HF_MS(2));
    if (!server->is_up || server->is_refusing)
        search->is_answered = true;
    else if (server->is_hung)
        again_ns = HF_MS(5);
    else
        search->is_answered = answer(sim, search);
    timerq_add(&sim->timers, &search->step, sim->now_ns + again_ns);
}

/* ---- the driver's side ---- */

static void stop_timer(struct sim *sim, struct timer *timer)
{
    if (timerq_is_linked(timer))
        timerq_remove(&sim->timers, timer);
}

static void start_query(struct sim_client *client, const struct commit_action *action)
{
    struct sim *sim = client->sim;
    struct sim_search *search = client->search;
    stop_timer(sim, &search->step);
    search->query = action->query;
    search->number = action->number;
    search->server = action->endpoint;
    search->is_answered = search->is_good = false;
    search->confirmation = -1;
    timerq_add(&sim->timers, &search->step,
               sim->now_ns + rng_range_ns(&sim->rng, HF_US(20), HF_MS(2)));
    if (sim->log != NULL)
        fprintf(sim->log, "%12.6f client %-2u search: asks server %u for its %s\n",
                sim_seconds(sim), client->index, action->endpoint,
                commit_query_name(action->query));
}

static void finish(struct sim_client *client, enum guard_resolution resolution)
{
    struct sim *sim = client->sim;
    struct sim_search *search = client->search;
    search->is_on = false;
    stop_timer(sim, &search->step);
    stop_timer(sim, &search->alarm);
    ++sim->found[resolution];
    ++sim->sought[commit_reason(&search->machine)->why];
    check_found(client, resolution);
    client_resolved(client, resolution);
}

static void drain(struct sim_client *client)
{
    struct sim *sim = client->sim;
    struct sim_search *search = client->search;
    struct commit_action action;
    while (commit_next(&search->machine, &action)) {
        if (action.kind == COMMIT_ACT_DONE) {
            finish(client, action.resolution);
            return;
        }
        start_query(client, &action);
    }
    int64_t at_ns = ns_max(commit_deadline(&search->machine), sim->now_ns);
    if (!timerq_is_linked(&search->alarm))
        timerq_add(&sim->timers, &search->alarm, at_ns);
    else if (search->alarm.at_ns != at_ns)
        timerq_move(&sim->timers, &search->alarm, at_ns);
}

void search_begin(struct sim_client *client, int64_t deadline_ns)
{
    struct sim *sim = client->sim;
    struct sim_search *search = client->search;
    struct commit_begin begin = {
        .probe = client->attempt.has_probe ? &client->attempt.probe : NULL,
        .endpoint = client->attempt.server,
        .system_id = SYSTEM_ID,
        .deadline_ns = deadline_ns,
    };
    hf_assert(!search->is_on);
    search->is_on = true;
    search->tx = client->attempt.tx;
    commit_init(&search->machine, &sim->plan.commit);
    feed(client, (struct commit_event){.kind = COMMIT_EV_BEGIN, .begin = &begin});
}

void search_view(struct sim_client *client)
{
    if (client->search->is_on)
        feed(client, (struct commit_event){.kind = COMMIT_EV_VIEW});
}

/* Their timers stand in one array too. */
bool search_timer(struct sim *sim, struct timer *timer)
{
    uintptr_t offset = (uintptr_t)timer - (uintptr_t)sim->searches;
    if ((uintptr_t)timer < (uintptr_t)sim->searches || offset >= sizeof sim->searches)
        return false;
    struct sim_search *search = &sim->searches[offset / sizeof sim->searches[0]];
    if (timer == &search->alarm)
        feed(search->client, (struct commit_event){.kind = COMMIT_EV_TICK});
    else
        step(search->client);
    return true;
}
