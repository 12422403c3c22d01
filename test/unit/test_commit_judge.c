#include "unit.h"

#include "core/commit.h"

#define START_US INT64_C(1795282619915390)

/* ---- the judgement, case by case ---- */

#define P 3u    /* the probe's timeline */
#define L 0x500 /* its position */

enum mark {
    PLAIN,
    MARKED
};

enum where {
    HERE,
    ELSEWHERE
};

/* What is known of the way from P to the answer's timeline. */
enum knows {
    NOTHING,
    WHOLE_BEFORE, /* left P at 0x400 */
    WHOLE_AT,     /* at L */
    WHOLE_AFTER,  /* at 0x600 */
    WHOLE_APART,  /* never was on P */
    SEEN_BEFORE,  /* the same by a watcher, who knows the last switch alone */
    SEEN_AFTER,
    SEEN_OTHER, /* the switch from another timeline than P */
    STALE_NEWS, /* the history of another timeline */
};

static const struct judge_case {
    const char *name;
    enum mark mark;
    enum where where;
    uint32_t timeline;
    uint64_t recovered;
    int64_t started;
    enum commit_status status;
    enum knows knows;
    enum commit_verdict verdict;
    enum commit_why why;
} judge_cases[] = {
#define C   COMMIT_STATUS_COMMITTED
#define A   COMMIT_STATUS_ABORTED
#define RUN COMMIT_STATUS_RUNNING
#define FUT COMMIT_STATUS_FUTURE
#define OLD COMMIT_STATUS_EXPIRED
#define YES COMMIT_VERDICT_COMMITTED
#define NO  COMMIT_VERDICT_ABORTED
#define AGN COMMIT_VERDICT_AGAIN
#define HIS COMMIT_VERDICT_HISTORY
#define NVR COMMIT_VERDICT_NEVER
    /* The same incarnation: its word is the truth, mark or not, whatever the name it goes by. */
    {"same", PLAIN, HERE, P, 0x100, 0, C, NOTHING, YES, COMMIT_WHY_RECORDED},
    {"same, by another name", PLAIN, ELSEWHERE, P, 0x100, 0, C, NOTHING, YES, COMMIT_WHY_RECORDED},
    {"same", PLAIN, HERE, P, 0x100, 0, A, NOTHING, NO, COMMIT_WHY_RECORDED},
    {"same", MARKED, HERE, P, 0x100, 0, RUN, NOTHING, AGN, COMMIT_WHY_STILL_RUNNING},
    {"same", MARKED, HERE, P, 0x100, 0, OLD, NOTHING, NVR, COMMIT_WHY_EXPIRED},
    {"same, nonsense", MARKED, HERE, P, 0x100, 0, FUT, NOTHING, AGN, COMMIT_WHY_NO_ANSWER},
    {"same, nothing", MARKED, HERE, P, 0x100, 0, COMMIT_STATUS_UNASKED, NOTHING, AGN,
     COMMIT_WHY_NO_ANSWER},

    /* A crash on the same timeline: what was not on disk is gone, and its xid is free again. */
    {"lost tail", MARKED, HERE, P, 0x400, 0, C, NOTHING, NO, COMMIT_WHY_CUT_OFF},
    {"lost tail, at the mark", MARKED, HERE, P, L, 0, C, NOTHING, NO, COMMIT_WHY_CUT_OFF},
    {"lost tail", PLAIN, HERE, P, 0x400, 0, RUN, NOTHING, NO, COMMIT_WHY_CUT_OFF},
    {"recovered", MARKED, HERE, P, 0x501, 0, C, NOTHING, YES, COMMIT_WHY_RECORDED},
    {"recovered", PLAIN, HERE, P, 0x600, 0, C, NOTHING, NVR, COMMIT_WHY_UNMARKED},
    {"recovered", PLAIN, HERE, P, 0x600, 0, A, NOTHING, NO, COMMIT_WHY_RECORDED},
    {"recovered", PLAIN, HERE, P, 0x600, 0, FUT, NOTHING, NO, COMMIT_WHY_NEVER_SEEN},
    {"recovered, reused", PLAIN, HERE, P, 0x600, 0, RUN, NOTHING, NO, COMMIT_WHY_NEVER_SEEN},
    {"recovered", MARKED, HERE, P, 0x600, 0, OLD, NOTHING, NVR, COMMIT_WHY_EXPIRED},
    {"recovered, nothing", MARKED, HERE, P, 0x600, 0, COMMIT_STATUS_UNASKED, NOTHING, AGN,
     COMMIT_WHY_NO_ANSWER},
    {"clean restart", PLAIN, HERE, P, 0, 9, C, NOTHING, YES, COMMIT_WHY_RECORDED},
    {"clean restart", PLAIN, HERE, P, 0, 9, A, NOTHING, NO, COMMIT_WHY_RECORDED},
    {"crash and restart", MARKED, HERE, P, 0x600, 9, C, NOTHING, YES, COMMIT_WHY_RECORDED},

    /* The same number on another server: promoted unaware of ours. */
    {"fork", MARKED, ELSEWHERE, P, 0x600, 9, C, NOTHING, AGN, COMMIT_WHY_FORKED},
    {"fork, clean", MARKED, ELSEWHERE, P, 0, 9, C, NOTHING, AGN, COMMIT_WHY_FORKED},
    {"fork, earlier", MARKED, ELSEWHERE, P, 0x400, 9, C, NOTHING, NO, COMMIT_WHY_CUT_OFF},

    /* A failover. R alone can prove that our record is gone, never that it is there. */
    {"cut", MARKED, ELSEWHERE, P + 1, 0x400, 9, C, NOTHING, NO, COMMIT_WHY_CUT_OFF},
    {"cut at the mark", MARKED, ELSEWHERE, P + 1, L, 9, C, NOTHING, NO, COMMIT_WHY_CUT_OFF},
    {"switch unknown", MARKED, ELSEWHERE, P + 1, 0x600, 9, C, NOTHING, HIS,
     COMMIT_WHY_SWITCH_UNKNOWN},
    {"switch unknown, clean", MARKED, ELSEWHERE, P + 1, 0, 9, C, NOTHING, HIS,
     COMMIT_WHY_SWITCH_UNKNOWN},
    {"promoted", PLAIN, ELSEWHERE, P + 1, 0x600, 9, A, NOTHING, NO, COMMIT_WHY_RECORDED},
    {"promoted", PLAIN, ELSEWHERE, P + 1, 0x600, 9, RUN, NOTHING, NO, COMMIT_WHY_NEVER_SEEN},
    {"promoted", PLAIN, ELSEWHERE, P + 1, 0x600, 9, FUT, NOTHING, NO, COMMIT_WHY_NEVER_SEEN},
    {"promoted", MARKED, ELSEWHERE, P + 1, 0x600, 9, OLD, WHOLE_AFTER, NVR, COMMIT_WHY_EXPIRED},
    {"history, after", MARKED, ELSEWHERE, P + 2, 0x900, 9, C, WHOLE_AFTER, YES,
     COMMIT_WHY_RECORDED},
    {"history, after", PLAIN, ELSEWHERE, P + 2, 0x900, 9, C, WHOLE_AFTER, NVR, COMMIT_WHY_UNMARKED},
    {"history, at", MARKED, ELSEWHERE, P + 2, 0x900, 9, C, WHOLE_AT, NO, COMMIT_WHY_CUT_OFF},
    {"history, before", MARKED, ELSEWHERE, P + 2, 0x900, 9, C, WHOLE_BEFORE, NO,
     COMMIT_WHY_CUT_OFF},
    {"history, apart", MARKED, ELSEWHERE, P + 2, 0x900, 9, C, WHOLE_APART, NO,
     COMMIT_WHY_OTHER_BRANCH},
    {"seen, after", MARKED, ELSEWHERE, P + 2, 0x900, 9, C, SEEN_AFTER, YES, COMMIT_WHY_RECORDED},
    {"seen, before", MARKED, ELSEWHERE, P + 2, 0x900, 9, C, SEEN_BEFORE, NO, COMMIT_WHY_CUT_OFF},
    {"seen, from elsewhere", MARKED, ELSEWHERE, P + 2, 0x900, 9, C, SEEN_OTHER, HIS,
     COMMIT_WHY_SWITCH_UNKNOWN},
    {"old news", MARKED, ELSEWHERE, P + 2, 0x900, 9, C, STALE_NEWS, HIS, COMMIT_WHY_SWITCH_UNKNOWN},
    {"back on the old server", MARKED, HERE, P + 1, 0x600, 0, C, WHOLE_AFTER, YES,
     COMMIT_WHY_RECORDED},

    /* Whoever is behind is not asked. */
    {"stale", MARKED, HERE, P - 1, 0x600, 0, A, NOTHING, AGN, COMMIT_WHY_STALE},
};

static struct commit_probe probe_of(enum mark mark)
{
    return (struct commit_probe){
        .xid = 1000,
        .lsn = L,
        .is_marked = mark == MARKED,
        .at = {.timeline = P, .recovered_lsn = 0x100, .started_us = START_US},
    };
}

static struct commit_history history_of(enum knows knows, uint32_t timeline)
{
    uint64_t lsn = knows == WHOLE_BEFORE || knows == SEEN_BEFORE ? 0x400
                   : knows == WHOLE_AT                           ? L
                                                                 : 0x600;
    struct commit_history history = {
        .timeline = knows == STALE_NEWS ? timeline - 1 : timeline,
        .is_whole = knows <= WHOLE_APART,
        .count = 2,
        .switches = {{1, 0x90}, {P, lsn}},
    };
    if (knows == WHOLE_APART)
        history.count = 1;
    if (knows == SEEN_OTHER)
        history.switches[1].timeline = P + 1;
    return history;
}

static void commit_judge__an_answer_proves_what_it_proves(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof judge_cases / sizeof judge_cases[0]; i++) {
        const struct judge_case *c = &judge_cases[i];
        struct commit_probe probe = probe_of(c->mark);
        struct commit_answer answer = {
            .at = {c->timeline, c->recovered, START_US + c->started},
            .status = c->status,
        };
        struct commit_history history = history_of(c->knows, c->timeline);
        struct commit_finding found =
            commit_judge(&probe, &answer, c->where == HERE, c->knows == NOTHING ? NULL : &history);
        if (found.verdict != c->verdict || found.why != c->why)
            fail_msg("case %zu, %s: verdict %d, %s", i, c->name, (int)found.verdict,
                     commit_why_name(found.why));
    }
}

static void commit_judge__a_server_in_recovery_proves_nothing(void **state)
{
    (void)state;
    struct commit_probe probe = probe_of(MARKED);
    struct commit_answer answer = {.is_in_recovery = true, .at = probe.at, .status = A};
    struct commit_finding found = commit_judge(&probe, &answer, true, NULL);
    assert_int_equal(found.verdict, COMMIT_VERDICT_AGAIN);
    assert_int_equal(found.why, COMMIT_WHY_NOT_PRIMARY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commit_judge__an_answer_proves_what_it_proves),
        cmocka_unit_test(commit_judge__a_server_in_recovery_proves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
