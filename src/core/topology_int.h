/*
 * What the files of topology share. topology.c takes events in and judges health; topology_role.c
 * compares what all have said: identity, roles, the primary; topology_fill.c makes snapshots and
 * measures lag; topology_text.c has the words.
 */
#ifndef HF_CORE_TOPOLOGY_INT_H
#define HF_CORE_TOPOLOGY_INT_H

#include "core/topology.h"

/* Adds a piece of news, with time and endpoint filled in; the caller fills the rest. The next
 * snapshot is urgent. */
struct topology_action *topology_tell(struct topology *t, enum topology_action_kind kind,
                                      uint32_t endpoint);

/* After each event: who is foreign, who has which role, who is the primary, who accepts what. */
void topology_judge_roles(struct topology *t);

/* The primary's answer is a sample of its positions. */
void topology_sample(struct topology *t, uint32_t endpoint);

static inline bool topology_is_live(const struct topology_endpoint *e)
{
    return e->is_member && e->health != ENDPOINT_DOWN;
}

#endif
