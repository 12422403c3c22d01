/*
 * What a watcher knows of the servers: samples taken at an interval, published a moment later, so
 * always a little old. A server that does not answer is suspect, and after three samples down.
 * Evidence from calls (TELL) makes it suspect at once. The ladder of degradation climbs on the same
 * facts.
 */
#include "sim_int.h"

#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "base/ns.h"

#define MISSES_UNTIL_DOWN 3

void view_init(struct sim *sim)
{
    snapshot_init(&sim->next_view);
    sim->next_view.timeline = 1;
    sim->next_view.interval_ns = sim->plan.sample_ns;
    for (uint32_t i = 0; i < sim->plan.servers; i++) {
        char name[24];
        snprintf(name, sizeof name, "server%u", i);
        struct snapshot_endpoint *endpoint = snapshot_add(&sim->next_view, name);
        endpoint->accepts_reads = true;
        endpoint->accepts_writes = true;
        endpoint->tier = (uint8_t)rng_below(&sim->rng, 2);
        endpoint->zone = (uint8_t)rng_below(&sim->rng, 3);
        endpoint->weight = (uint16_t)(1 + rng_below(&sim->rng, 5));
    }
    view_sample(sim);
    view_publish(sim);
}

static void sample_dead(struct sim *sim, struct snapshot_endpoint *endpoint, uint32_t at)
{
    if (++sim->misses[at] >= MISSES_UNTIL_DOWN)
        endpoint->health = ENDPOINT_DOWN;
    else if (endpoint->health == ENDPOINT_UP)
        endpoint->health = ENDPOINT_SUSPECT;
}

static void sample_alive(struct sim *sim, struct snapshot_endpoint *endpoint, uint32_t at)
{
    struct sim_server *server = &sim->servers[at];
    enum endpoint_role role = server->is_primary ? ENDPOINT_PRIMARY
                              : server->is_stale ? ENDPOINT_UNKNOWN /* fenced by its timeline */
                                                 : ENDPOINT_REPLICA;
    if (endpoint->health == ENDPOINT_DOWN)
        endpoint->returned_at_ns = sim->now_ns;
    if (endpoint->role != role)
        endpoint->role_generation = ++sim->roles_taken;
    endpoint->role = role;
    endpoint->health = ENDPOINT_UP;
    sim->misses[at] = 0;
    endpoint->timeline = server->timeline;
    endpoint->left_timeline = server->is_primary ? server->left_timeline : 0;
    endpoint->left_lsn = server->left_lsn;
    server->is_watched = role == ENDPOINT_REPLICA;
    endpoint->sampled_at_ns = sim->now_ns;
    endpoint->replayed_lsn = server->is_primary ? sim->position : server->replayed;
    if (!server->is_primary) {
        if (server->replayed >= sim->position)
            sim->caught_up_ns[at] = sim->now_ns;
        endpoint->lag_ns = sim->now_ns - sim->caught_up_ns[at];
    }
}

/* Asks every server at once; the answers are published a little later. */
void view_sample(struct sim *sim)
{
    struct snapshot *next = &sim->next_view;
    uint32_t primary = world_primary(sim);
    if (world_answers(sim, primary) && next->timeline != sim->timeline)
        snapshot_new_primary(next, sim->timeline);
    for (uint32_t i = 0; i < next->count; i++) {
        if (world_answers(sim, i))
            sample_alive(sim, &next->endpoints[i], i);
        else
            sample_dead(sim, &next->endpoints[i], i);
    }
    if (world_answers(sim, primary))
        snapshot_sample(next, sim->now_ns, sim->position);
    timerq_add(&sim->timers, &sim->sampler, sim->now_ns + sim->plan.sample_ns);
    if (!timerq_is_linked(&sim->publish))
        timerq_add(&sim->timers, &sim->publish,
                   sim->now_ns + rng_range_ns(&sim->rng, 0, sim->plan.sample_ns - 1));
}

/* Calls report what they met; one more sample in vain, as it were. */
void view_told(struct sim *sim, uint32_t endpoint, enum outcome_endpoint evidence)
{
    if (evidence >= OUTCOME_EP_SUSPECT && evidence != OUTCOME_EP_OVERLOADED &&
        sim->next_view.endpoints[endpoint].health == ENDPOINT_UP && rng_below(&sim->rng, 2) == 0)
        sim->next_view.endpoints[endpoint].health = ENDPOINT_SUSPECT;
}

/* The ladder hears what can be written to and read from. */
static void climb(struct sim *sim)
{
    const struct snapshot *view = &sim->next_view;
    struct degrade_event event = {
        .kind = DEGRADE_EV_HEALTH,
        .now_ns = sim->now_ns,
        .primary_usable = view->writer != SNAPSHOT_NO_ENDPOINT,
        .readers_usable = view->replicas != 0 || view->reading_primary != 0,
    };
    degrade_feed(&sim->ladder, &event);
}

/* The ladder hears what the sample says, and the picture is published with its level. */
void view_publish(struct sim *sim)
{
    struct snapshot *next = &sim->next_view;
    next->epoch++;
    next->made_at_ns = sim->now_ns;
    snapshot_seal(next);
    climb(sim);
    next->level = (int)degrade_level(&sim->ladder);
    sim->view = *next;
    for (uint32_t i = 0; i < sim->plan.clients; i++)
        if (sim->clients[i].is_busy) {
            client_feed(&sim->clients[i], GUARD_EV_VIEW);
            search_view(&sim->clients[i]);
        }
}
