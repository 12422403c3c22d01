/*
 * Both ways of a message that came, side by side: replies_pass() on a copy, replies_receive() on
 * the queue itself. Whatever the short way takes, the long way must take alike.
 *
 * Whoever includes this defines TRIAL_CHECK(condition) first.
 */
#ifndef HF_TEST_REPLIES_BOTH_H
#define HF_TEST_REPLIES_BOTH_H

#include <string.h>

#include "wire/replies.h"

#define BOTH_RUNS_MAX 300

static void both_compare(const struct replies *a, const struct replies *b)
{
    TRIAL_CHECK(a->used == b->used && a->first == b->first && a->done == b->done);
    TRIAL_CHECK(a->dropped == b->dropped && a->doubt == b->doubt && a->state == b->state);
    TRIAL_CHECK(a->end == b->end && a->status == b->status && a->is_open == b->is_open);
    TRIAL_CHECK(a->is_skipping == b->is_skipping && a->is_attached == b->is_attached);
    for (uint32_t i = 0; i < a->used; i++) {
        uint32_t at = (a->first + i) % a->capacity;
        TRIAL_CHECK(memcmp(&a->runs[at], &b->runs[at], sizeof a->runs[at]) == 0);
    }
}

static struct replies_verdict both_receive(struct replies *replies, char type, char detail)
{
    struct replies_run runs[BOTH_RUNS_MAX];
    struct replies before = *replies, copy = *replies;
    uint32_t tag = 0;
    TRIAL_CHECK(replies->capacity <= BOTH_RUNS_MAX);
    memcpy(runs, replies->runs, replies_size(replies->capacity));
    copy.runs = runs;
    bool passes = replies_pass(&copy, type, &tag);
    if (!passes)
        both_compare(&copy, &before);
    struct replies_verdict verdict = replies_receive(replies, type, detail);
    if (!passes)
        return verdict;
    TRIAL_CHECK(verdict.action == REPLIES_FORWARD && verdict.whose == REPLIES_CLIENT);
    TRIAL_CHECK(verdict.kind != REPLIES_NONE && replies->dropped == 0 && type != 'Z');
    TRIAL_CHECK(tag == (verdict.is_last ? verdict.tag : 0));
    both_compare(&copy, replies);
    return verdict;
}

#endif
