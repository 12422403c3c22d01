/*
 * A small cluster of answers for the tests of topology: each call is one event at `now`, and after
 * each the actions are drained, so that `published` and `news` say what came of it.
 */
#ifndef HF_TEST_UNIT_TOPOLOGY_RIG_H
#define HF_TEST_UNIT_TOPOLOGY_RIG_H

#include <stdio.h>
#include <string.h>

#include "core/topology.h"

#define RIG_CLUSTER UINT64_C(7001)

struct rig {
    struct topology t;
    int64_t now;
    uint32_t published; /* PUBLISH orders so far */
    uint32_t asked;     /* mask of endpoints of ASK orders so far */
    uint32_t told[TOPOLOGY_NEWS_LOST + 1];
    struct topology_action last;
    struct snapshot view; /* filled after each event */
};

static inline void rig_drain(struct rig *rig)
{
    struct topology_action action;
    while (topology_next(&rig->t, &action)) {
        if (action.kind == TOPOLOGY_ACT_PUBLISH)
            ++rig->published;
        else if (action.kind == TOPOLOGY_ACT_ASK)
            rig->asked |= UINT32_C(1) << action.endpoint;
        else
            rig->last = action;
        ++rig->told[action.kind];
    }
}

static inline void rig_feed(struct rig *rig, struct topology_event event)
{
    event.now_ns = rig->now;
    topology_feed(&rig->t, &event);
    rig_drain(rig);
    topology_fill(&rig->t, rig->now, &rig->view);
}

static inline void rig_add(struct rig *rig, const char *name)
{
    struct topology_member member = {.weight = 1};
    snprintf(member.name, sizeof member.name, "%s", name);
    rig_feed(rig, (struct topology_event){.kind = TOPOLOGY_EV_ADD, .member = &member});
}

/* `count` members a, b, c ... at second 10. */
static inline void rig_init(struct rig *rig, const struct topology_config *config, uint32_t count)
{
    static const struct topology_config defaults;
    memset(rig, 0, sizeof *rig);
    rig->now = HF_SEC(10);
    topology_init(&rig->t, config != NULL ? config : &defaults, rig->now);
    for (uint32_t i = 0; i < count; i++)
        rig_add(rig, (const char[]){(char)('a' + i), '\0'});
}

static inline struct topology_answer rig_primary(uint32_t timeline, uint64_t lsn)
{
    return (struct topology_answer){.timeline = timeline,
                                    .system_identifier = RIG_CLUSTER,
                                    .written_lsn = lsn,
                                    .message_age_ns = HF_NEVER,
                                    .replay_age_ns = HF_NEVER};
}

static inline struct topology_answer rig_replica(uint32_t timeline, uint64_t lsn)
{
    return (struct topology_answer){.is_in_recovery = true,
                                    .timeline = timeline,
                                    .system_identifier = RIG_CLUSTER,
                                    .received_lsn = lsn,
                                    .replayed_lsn = lsn,
                                    .receiver = TOPOLOGY_RECEIVER_STREAMING,
                                    .message_age_ns = 0,
                                    .replay_age_ns = 0};
}

/* Asked 1 ms ago. */
static inline void rig_answer(struct rig *rig, uint32_t at, struct topology_answer answer)
{
    if (answer.asked_at_ns == 0)
        answer.asked_at_ns = rig->now - HF_MS(1);
    rig_feed(rig, (struct topology_event){
                      .kind = TOPOLOGY_EV_ANSWER, .endpoint = at, .answer = &answer});
}

static inline void rig_silence(struct rig *rig, uint32_t at, enum outcome_code code)
{
    rig_feed(rig, (struct topology_event){
                      .kind = TOPOLOGY_EV_SILENCE, .endpoint = at, .outcome = {.code = code}});
}

static inline void rig_sqlstate(struct rig *rig, uint32_t at, const char *sqlstate)
{
    rig_feed(rig, (struct topology_event){
                      .kind = TOPOLOGY_EV_SILENCE,
                      .endpoint = at,
                      .outcome = {.code = OUTCOME_SQLSTATE, .sqlstate = sqlstate_pack(sqlstate)}});
}

static inline void rig_tell(struct rig *rig, uint32_t at, enum outcome_endpoint evidence)
{
    rig_feed(rig, (struct topology_event){
                      .kind = TOPOLOGY_EV_EVIDENCE, .endpoint = at, .evidence = evidence});
}

static inline void rig_tick(struct rig *rig, int64_t later_ns)
{
    rig->now += later_ns;
    rig_feed(rig, (struct topology_event){.kind = TOPOLOGY_EV_TICK});
}

/* a is the primary, the others are its replicas, all on timeline 1 at position 1000. */
static inline void rig_settle(struct rig *rig)
{
    rig_answer(rig, 0, rig_primary(1, 1000));
    for (uint32_t i = 1; i < rig->t.count; i++)
        rig_answer(rig, i, rig_replica(1, 1000));
}

static inline const struct snapshot_endpoint *rig_shown(const struct rig *rig, uint32_t at)
{
    return &rig->view.endpoints[at];
}

#endif
