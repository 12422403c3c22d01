/*
 * Snapshots, and the lag that stands in them. Lag needs two things that were asked at different
 * times and of different servers: how far a replica is, and which of the primary's positions that
 * covers. So it is worked out here, from what is known now, and not when either answer comes.
 */
#include <string.h>

#include "base/bug.h"
#include "core/topology_int.h"

void topology_sample(struct topology *t, uint32_t endpoint)
{
    const struct topology_endpoint *e = &t->endpoints[endpoint];
    const struct topology_answer *answer = &e->answer;
    struct snapshot *draft = &t->draft;
    /* After a crash the primary's position may lie before one that it told: what had not been
     * flushed is gone. Compared with that, a replica that has everything would look late for as
     * long as nothing new is written. */
    const bool is_behind = draft->sample_count > 0 &&
                           answer->written_lsn < draft->samples[draft->sample_count - 1].lsn;
    if (e->is_denied)
        return;
    if (is_behind || draft->timeline != t->timeline ||
        t->sampled_generation != e->role_generation || t->sampled_instance != answer->instance) {
        snapshot_new_primary(draft, t->timeline);
        t->sampled_generation = e->role_generation;
        t->sampled_instance = answer->instance;
    }
    snapshot_sample(draft, answer->asked_at_ns, answer->written_lsn);
}

/* What the servers say of themselves, where no primary was ever seen that it could be compared
 * with. Caught up says nothing if nobody sends; the last replayed commit alone says nothing if
 * nothing is committed. */
static int64_t lag_by_its_own_words(const struct topology_answer *answer)
{
    const bool is_caught_up = answer->received_lsn != 0 &&
                              answer->replayed_lsn >= answer->received_lsn &&
                              answer->receiver == TOPOLOGY_RECEIVER_STREAMING;
    return ns_max(0, is_caught_up && answer->message_age_ns != HF_NEVER ? answer->message_age_ns
                                                                        : answer->replay_age_ns);
}

static void measure_lag(struct topology *t, struct topology_endpoint *e)
{
    const struct snapshot *draft = &t->draft;
    e->lag_ns = HF_NEVER;
    e->lag_bytes = UINT64_MAX;
    if (e->role != ENDPOINT_REPLICA)
        return;
    if (t->timeline == 0) {
        e->lag_ns = lag_by_its_own_words(&e->answer);
        return;
    }
    if (e->answer.timeline != t->timeline || draft->sample_count == 0)
        return;
    const uint64_t newest = draft->samples[draft->sample_count - 1].lsn;
    e->lag_bytes = newest > e->answer.replayed_lsn ? newest - e->answer.replayed_lsn : 0;
    for (uint32_t i = draft->sample_count; i > 0; i--) {
        const struct snapshot_sample *sample = &draft->samples[i - 1];
        if (sample->lsn <= e->answer.replayed_lsn) {
            e->lag_ns = ns_max(0, e->answer.asked_at_ns - sample->asked_at_ns);
            return;
        }
    }
}

static void fill_endpoint(struct topology *t, uint32_t at, struct snapshot *out)
{
    struct topology_endpoint *e = &t->endpoints[at];
    struct snapshot_endpoint *shown = snapshot_add(out, e->member.name);
    hf_assert(shown != NULL);
    measure_lag(t, e);
    shown->role = e->role;
    shown->health = e->is_member && !e->is_foreign ? e->health : ENDPOINT_DOWN;
    shown->accepts_reads = e->accepts_reads;
    shown->accepts_writes = e->accepts_writes;
    shown->is_drained = e->is_drained || !e->is_member;
    shown->tier = e->member.tier;
    shown->zone = e->member.zone;
    shown->weight = e->member.weight;
    shown->role_generation = e->role_generation;
    shown->returned_at_ns = e->returned_at_ns;
    if (e->role == ENDPOINT_UNKNOWN)
        return;
    const bool is_replica = e->role == ENDPOINT_REPLICA;
    shown->timeline = e->answer.timeline;
    shown->sampled_at_ns = e->answer.asked_at_ns;
    shown->replayed_lsn = is_replica ? e->answer.replayed_lsn : e->answer.written_lsn;
    shown->lag_ns = is_replica ? e->lag_ns : 0;
    if (is_replica)
        return;
    shown->left_timeline = e->answer.left_timeline;
    shown->left_lsn = e->answer.left_lsn;
}

/* While no primary is known: that of the replica that is furthest, so that they can be compared
 * with one another. */
static uint32_t timeline_of_replicas(const struct topology *t)
{
    uint32_t timeline = 0;
    for (uint32_t i = 0; i < t->count; i++)
        if (t->endpoints[i].role == ENDPOINT_REPLICA && t->endpoints[i].answer.timeline > timeline)
            timeline = t->endpoints[i].answer.timeline;
    return timeline;
}

void topology_fill(struct topology *t, int64_t now_ns, struct snapshot *out)
{
    t->now_ns = ns_max(t->now_ns, now_ns);
    if (t->timeline != 0 && t->draft.timeline != t->timeline)
        snapshot_new_primary(&t->draft, t->timeline);
    ++t->draft.epoch;
    *out = t->draft;
    out->made_at_ns = t->now_ns;
    out->level = (int)degrade_level(&t->degrade);
    out->interval_ns = t->config.interval_ns;
    out->warm_up_ns = t->config.warm_up_ns;
    out->timeline = t->timeline != 0 ? t->timeline : timeline_of_replicas(t);
    for (uint32_t i = 0; i < t->count; i++)
        fill_endpoint(t, i, out);
    struct hf_err err;
    const enum hf_rc rc = snapshot_check(out, &err);
    hf_assert(rc == HF_OK);
    snapshot_seal(out);
}
