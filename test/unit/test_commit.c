#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "base/ns.h"
#include "core/commit.h"

#define START_US INT64_C(1795282619915390)
#define SYSTEM   UINT64_C(7710680136496193089)
#define T0       HF_SEC(100)
#define BY       (T0 + HF_SEC(10))
#define P        3u    /* the probe's timeline */
#define L        0x500 /* its position */

/* ---- the machine: a cluster of two, and whoever drives ---- */

struct rig {
    struct commit c;
    struct snapshot view;
    struct commit_action act;
    struct commit_probe probe;
    struct commit_begin begin;
    int64_t now;
};

/* Endpoint 0 is the primary on P, endpoint 1 its replica; everything was sampled just now. */
static void set_up(struct rig *rig)
{
    *rig = (struct rig){
        .now = T0,
        .probe = {.xid = 1000,
                  .lsn = L,
                  .is_marked = true,
                  .at = {.timeline = P, .recovered_lsn = 0x100, .started_us = START_US}},
    };
    commit_init(&rig->c, NULL);
    snapshot_init(&rig->view);
    snapshot_add(&rig->view, "a");
    snapshot_add(&rig->view, "b");
    rig->begin =
        (struct commit_begin){.probe = &rig->probe, .system_id = SYSTEM, .deadline_ns = BY};
}

static void see(struct rig *rig, uint32_t primary, uint32_t timeline)
{
    struct snapshot *view = &rig->view;
    view->timeline = timeline;
    view->made_at_ns = rig->now;
    for (uint32_t i = 0; i < view->count; i++) {
        struct snapshot_endpoint *at = &view->endpoints[i];
        at->role = i == primary ? ENDPOINT_PRIMARY : ENDPOINT_REPLICA;
        at->health = ENDPOINT_UP;
        at->accepts_reads = at->accepts_writes = true;
        at->timeline = timeline;
        at->sampled_at_ns = rig->now;
        at->role_generation = i == primary ? timeline : 0;
    }
    snapshot_seal(view);
}

static void feed_event(struct rig *rig, struct commit_event event)
{
    event.now_ns = rig->now;
    event.view = &rig->view;
    commit_feed(&rig->c, &event);
}

static void begin(struct rig *rig)
{
    feed_event(rig, (struct commit_event){.kind = COMMIT_EV_BEGIN, .begin = &rig->begin});
}

/* Time passes; nothing else. */
static void tick_to(struct rig *rig, int64_t ns)
{
    rig->now = ns;
    feed_event(rig, (struct commit_event){.kind = COMMIT_EV_TICK});
}

static void new_view(struct rig *rig, uint32_t primary, uint32_t timeline)
{
    rig->now += HF_MS(10);
    see(rig, primary, timeline);
    feed_event(rig, (struct commit_event){.kind = COMMIT_EV_VIEW});
}

static void assert_asks(struct rig *rig, enum commit_query query, uint32_t endpoint)
{
    assert_true(commit_next(&rig->c, &rig->act));
    assert_int_equal(rig->act.kind, COMMIT_ACT_QUERY);
    assert_int_equal(rig->act.query, query);
    assert_int_equal(rig->act.endpoint, endpoint);
    assert_true(rig->act.deadline_ns <= BY);
    assert_false(commit_next(&rig->c, &rig->act));
}

static void assert_done(struct rig *rig, enum guard_resolution resolution, enum commit_why why)
{
    assert_true(commit_next(&rig->c, &rig->act));
    assert_int_equal(rig->act.kind, COMMIT_ACT_DONE);
    assert_int_equal(rig->act.resolution, resolution);
    assert_int_equal(commit_reason(&rig->c)->why, why);
    assert_int_equal(commit_reason(&rig->c)->resolution, resolution);
    assert_int_equal(commit_deadline(&rig->c), HF_NEVER);
    assert_int_equal(rig->c.state, COMMIT_OVER);
}

static void assert_silent(struct rig *rig, enum commit_state state)
{
    assert_false(commit_next(&rig->c, &rig->act));
    assert_string_equal(commit_state_name(rig->c.state), commit_state_name(state));
}

static void reply(struct rig *rig, const char *const *values)
{
    rig->now += HF_MS(1);
    feed_event(rig, (struct commit_event){
                        .kind = COMMIT_EV_RESULT, .number = rig->c.number, .values = values});
}

static void fails(struct rig *rig)
{
    rig->now += HF_MS(1);
    feed_event(rig, (struct commit_event){.kind = COMMIT_EV_FAILED, .number = rig->c.number});
}

static void says_as(struct rig *rig, uint32_t timeline, const char *recovered, const char *started,
                    const char *synchronous, const char *status)
{
    char segment[32];
    snprintf(segment, sizeof segment, "%08X0000000000000001", (unsigned)timeline);
    const char *const row[COMMIT_COLUMNS_MAX] = {
        "f", segment, recovered, started, "7710680136496193089", synchronous, status};
    reply(rig, row);
}

/* The server of the probe, unchanged. */
static void says(struct rig *rig, const char *status)
{
    says_as(rig, P, "0/100", "1795282619915390", "f", status);
}

static void commit__the_same_server_tells_at_once_that_it_was_aborted(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    see(&rig, 0, P);
    begin(&rig);
    assert_asks(&rig, COMMIT_QUERY_STATUS, 0);
    says(&rig, "aborted");
    assert_done(&rig, GUARD_ABORTED, COMMIT_WHY_RECORDED);
    assert_int_equal(commit_reason(&rig.c)->queries, 1);
    assert_int_equal(commit_reason(&rig.c)->timeline, P);
}

static void commit__committed_is_said_once_nobody_has_taken_over(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    see(&rig, 0, P);
    rig.now += HF_MS(3);
    begin(&rig);
    assert_asks(&rig, COMMIT_QUERY_STATUS, 0);
    says(&rig, "committed");
    assert_silent(&rig, COMMIT_LOOKING);
    new_view(&rig, 0, P);
    assert_done(&rig, GUARD_COMMITTED, COMMIT_WHY_RECORDED);
}

static void commit__a_former_primary_that_says_committed_is_not_believed(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    see(&rig, 0, P);
    rig.now += HF_MS(3);
    begin(&rig);
    assert_asks(&rig, COMMIT_QUERY_STATUS, 0);
    says(&rig, "committed");
    new_view(&rig, 1, P + 1);
    assert_asks(&rig, COMMIT_QUERY_STATUS, 1);
    says_as(&rig, P + 1, "0/400", "9", "f", "committed");
    assert_done(&rig, GUARD_ABORTED, COMMIT_WHY_CUT_OFF);
}

/* Frozen while it is asked, it answers as it thaws; its successor was last seen as a standby. */
static void commit__what_was_seen_before_the_answer_came_does_not_count(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    see(&rig, 0, P);
    begin(&rig);
    assert_asks(&rig, COMMIT_QUERY_STATUS, 0);
    rig.now += HF_MS(100);
    new_view(&rig, 0, P);
    says(&rig, "committed");
    assert_silent(&rig, COMMIT_LOOKING);
    new_view(&rig, 1, P + 1);
    assert_asks(&rig, COMMIT_QUERY_STATUS, 1);
}

static void commit__a_look_that_knows_of_a_later_timeline_believes_nobody_below(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    see(&rig, 0, P);
    rig.now += HF_MS(3);
    begin(&rig);
    assert_asks(&rig, COMMIT_QUERY_STATUS, 0);
    says(&rig, "committed");
    new_view(&rig, SNAPSHOT_NO_ENDPOINT, P + 1); /* somebody is there, and not answering */
    assert_silent(&rig, COMMIT_WAITING);
    new_view(&rig, 0, P + 1); /* a view in the wrong */
    assert_asks(&rig, COMMIT_QUERY_STATUS, 0);
    says(&rig, "committed");
    assert_silent(&rig, COMMIT_PAUSING);
    assert_int_equal(commit_reason(&rig.c)->why, COMMIT_WHY_STALE);
}

static void commit__others_must_have_been_looked_at_since(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    see(&rig, 0, P);
    rig.now += HF_MS(3);
    begin(&rig);
    assert_asks(&rig, COMMIT_QUERY_STATUS, 0);
    says(&rig, "committed");
    rig.now += HF_MS(10);
    rig.view.made_at_ns = rig.view.endpoints[0].sampled_at_ns = rig.now;
    feed_event(&rig, (struct commit_event){.kind = COMMIT_EV_VIEW}); /* b hangs */
    assert_silent(&rig, COMMIT_LOOKING);
    rig.view.endpoints[1].health = ENDPOINT_DOWN; /* b is given up */
    snapshot_seal(&rig.view);
    feed_event(&rig, (struct commit_event){.kind = COMMIT_EV_VIEW});
    assert_done(&rig, GUARD_COMMITTED, COMMIT_WHY_RECORDED);
}

static void commit__whose_role_could_never_be_learned_is_not_waited_for(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    see(&rig, 0, P);
    rig.now += HF_MS(3);
    begin(&rig);
    assert_asks(&rig, COMMIT_QUERY_STATUS, 0);
    says(&rig, "committed");
    rig.now += HF_MS(10);
    rig.view.endpoints[1].role = ENDPOINT_UNKNOWN; /* it lets nobody log in */
    rig.view.made_at_ns = rig.view.endpoints[0].sampled_at_ns = rig.now;
    snapshot_seal(&rig.view);
    feed_event(&rig, (struct commit_event){.kind = COMMIT_EV_VIEW});
    assert_done(&rig, GUARD_COMMITTED, COMMIT_WHY_RECORDED);
}

static void commit__without_any_view_it_waits_for_one(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    rig.begin.system_id = 0; /* and nobody has read whose cluster it is */
    commit_feed(&rig.c, &(struct commit_event){
                            .kind = COMMIT_EV_BEGIN, .now_ns = rig.now, .begin = &rig.begin});
    assert_silent(&rig, COMMIT_WAITING);
    new_view(&rig, 0, P);
    assert_asks(&rig, COMMIT_QUERY_STATUS, 0);
    const char *const row[COMMIT_COLUMNS_MAX] = {
        "f", "000000030000000000000001", "0/100", "1795282619915390", "9", "f", "committed"};
    commit_feed(&rig.c, &(struct commit_event){.kind = COMMIT_EV_RESULT,
                                               .now_ns = rig.now,
                                               .number = rig.c.number,
                                               .values = row});
    assert_silent(&rig, COMMIT_LOOKING);
}

static void commit__its_patience_is_a_setting(void **state)
{
    (void)state;
    struct rig rig;
    struct commit_config config = commit_config_default();
    set_up(&rig);
    config.patience_ns = 0;
    commit_init(&rig.c, &config);
    see(&rig, 0, P);
    begin(&rig);
    assert_asks(&rig, COMMIT_QUERY_STATUS, 0);
    says(&rig, "in progress");
    assert_asks(&rig, COMMIT_QUERY_END, 0);
}

static void commit__a_running_backend_is_waited_for_and_then_ended(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    see(&rig, 0, P);
    begin(&rig);
    int asked = 0;
    while (commit_next(&rig.c, &rig.act) && rig.act.query == COMMIT_QUERY_STATUS) {
        ++asked;
        says(&rig, "in progress");
        if (rig.c.state == COMMIT_PAUSING)
            tick_to(&rig, commit_deadline(&rig.c));
    }
    assert_int_equal(rig.act.query, COMMIT_QUERY_END);
    assert_in_range(asked, 15, 25);
    assert_in_range(rig.now - T0, HF_SEC(1), HF_SEC(2));
    const char *const row[] = {"t"};
    reply(&rig, row);
    assert_silent(&rig, COMMIT_PAUSING);
    tick_to(&rig, commit_deadline(&rig.c));
    assert_asks(&rig, COMMIT_QUERY_STATUS, 0);
    says(&rig, "aborted");
    assert_done(&rig, GUARD_ABORTED, COMMIT_WHY_RECORDED);
}

static void commit__a_backend_that_cannot_be_ended_leaves_it_unknown(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    see(&rig, 0, P);
    begin(&rig);
    int ends = 0;
    while (commit_next(&rig.c, &rig.act) && rig.act.kind == COMMIT_ACT_QUERY) {
        assert_true(rig.now < BY);
        if (rig.act.query == COMMIT_QUERY_END) {
            ++ends;
            fails(&rig);
        } else {
            says(&rig, "in progress");
        }
        if (rig.c.state == COMMIT_PAUSING)
            tick_to(&rig, commit_deadline(&rig.c));
    }
    assert_in_range(ends, 5, 10);
    assert_int_equal(rig.act.resolution, GUARD_UNRESOLVED);
    assert_int_equal(commit_reason(&rig.c)->why, COMMIT_WHY_STILL_RUNNING);
}

static void commit__synchronous_standbys_must_confirm(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    see(&rig, 0, P);
    begin(&rig);
    assert_asks(&rig, COMMIT_QUERY_STATUS, 0);
    says_as(&rig, P, "0/100", "1795282619915390", "t", "committed");
    assert_asks(&rig, COMMIT_QUERY_CONFIRM, 0);
    assert_int_equal(rig.act.deadline_ns, BY);
    tick_to(&rig, T0 + HF_SEC(5));
    assert_silent(&rig, COMMIT_CONFIRMING);
    const char *const row[] = {"0/900"};
    reply(&rig, row);
    assert_silent(&rig, COMMIT_LOOKING);
    new_view(&rig, 0, P);
    assert_done(&rig, GUARD_COMMITTED, COMMIT_WHY_RECORDED);
}

static void commit__what_nobody_confirms_is_unknown_at_the_deadline(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    see(&rig, 0, P);
    begin(&rig);
    assert_asks(&rig, COMMIT_QUERY_STATUS, 0);
    says_as(&rig, P, "0/100", "1795282619915390", "t", "committed");
    assert_asks(&rig, COMMIT_QUERY_CONFIRM, 0);
    tick_to(&rig, BY);
    assert_done(&rig, GUARD_UNRESOLVED, COMMIT_WHY_UNCONFIRMED);
}

static void commit__a_confirmation_that_fails_is_asked_for_again(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    see(&rig, 0, P);
    begin(&rig);
    assert_asks(&rig, COMMIT_QUERY_STATUS, 0);
    says_as(&rig, P, "0/100", "1795282619915390", "t", "committed");
    assert_asks(&rig, COMMIT_QUERY_CONFIRM, 0);
    fails(&rig);
    assert_silent(&rig, COMMIT_PAUSING);
    tick_to(&rig, commit_deadline(&rig.c));
    assert_asks(&rig, COMMIT_QUERY_STATUS, 0);
}

static void commit__after_a_promotion_the_history_is_read(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    see(&rig, 1, P + 1);
    begin(&rig);
    assert_asks(&rig, COMMIT_QUERY_STATUS, 1);
    says_as(&rig, P + 1, "0/600", "9", "f", "committed");
    assert_asks(&rig, COMMIT_QUERY_HISTORY, 1);
    new_view(&rig, 1, P + 1);
    const char *const row[] = {"1\t0/90\tx\n3\t0/600\ty\n"};
    reply(&rig, row);
    assert_done(&rig, GUARD_COMMITTED, COMMIT_WHY_RECORDED);
}

static void commit__a_watcher_that_saw_the_promotion_is_enough(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    see(&rig, 1, P + 1);
    rig.view.endpoints[1].left_timeline = P;
    rig.view.endpoints[1].left_lsn = 0x600;
    begin(&rig);
    assert_asks(&rig, COMMIT_QUERY_STATUS, 1);
    says_as(&rig, P + 1, "0/600", "9", "f", "committed");
    assert_silent(&rig, COMMIT_LOOKING);
    new_view(&rig, 1, P + 1);
    assert_done(&rig, GUARD_COMMITTED, COMMIT_WHY_RECORDED);
}

static void commit__a_promotion_over_two_timelines_is_not_believed(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    see(&rig, 1, P + 2);
    rig.view.endpoints[1].left_timeline = P; /* by a control file that was late */
    rig.view.endpoints[1].left_lsn = 0x600;
    begin(&rig);
    assert_asks(&rig, COMMIT_QUERY_STATUS, 1);
    says_as(&rig, P + 2, "0/600", "9", "f", "committed");
    assert_asks(&rig, COMMIT_QUERY_HISTORY, 1);
}

static void commit__a_history_that_is_denied_leaves_it_unknown(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    see(&rig, 1, P + 1);
    begin(&rig);
    assert_asks(&rig, COMMIT_QUERY_STATUS, 1);
    says_as(&rig, P + 1, "0/600", "9", "f", "committed");
    assert_asks(&rig, COMMIT_QUERY_HISTORY, 1);
    fails(&rig);
    assert_asks(&rig, COMMIT_QUERY_HISTORY, 1); /* by the other way */
    const char *const row[] = {NULL};
    reply(&rig, row);
    assert_silent(&rig, COMMIT_PAUSING);
    tick_to(&rig, commit_deadline(&rig.c));
    assert_asks(&rig, COMMIT_QUERY_STATUS, 1);
    says_as(&rig, P + 1, "0/600", "9", "f", "committed");
    assert_silent(&rig, COMMIT_PAUSING); /* not a third time */
    tick_to(&rig, BY);
    assert_done(&rig, GUARD_UNRESOLVED, COMMIT_WHY_SWITCH_UNKNOWN);
}

static void commit__with_nobody_to_ask_it_waits_for_a_primary(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    see(&rig, SNAPSHOT_NO_ENDPOINT, P);
    begin(&rig);
    assert_silent(&rig, COMMIT_WAITING);
    assert_int_equal(commit_deadline(&rig.c), BY);
    new_view(&rig, 1, P + 1);
    assert_asks(&rig, COMMIT_QUERY_STATUS, 1);
    fails(&rig);
    assert_silent(&rig, COMMIT_PAUSING);
    see(&rig, SNAPSHOT_NO_ENDPOINT, P + 1);
    tick_to(&rig, commit_deadline(&rig.c));
    assert_silent(&rig, COMMIT_WAITING);
    tick_to(&rig, BY);
    assert_done(&rig, GUARD_UNRESOLVED, COMMIT_WHY_NO_ANSWER);
}

static void commit__without_a_primary_until_the_end_it_says_so(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    see(&rig, 0, P);
    rig.view.endpoints[0].health = ENDPOINT_DOWN;
    snapshot_seal(&rig.view);
    begin(&rig);
    assert_silent(&rig, COMMIT_WAITING);
    tick_to(&rig, BY);
    assert_done(&rig, GUARD_UNRESOLVED, COMMIT_WHY_NO_PRIMARY);
    assert_int_equal(commit_reason(&rig.c)->endpoint, GUARD_NO_ENDPOINT);
    assert_int_equal(commit_reason(&rig.c)->searched_ns, BY - T0);
}

static void commit__a_question_has_a_limit_of_its_own(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    see(&rig, 0, P);
    begin(&rig);
    assert_asks(&rig, COMMIT_QUERY_STATUS, 0);
    assert_int_equal(rig.act.deadline_ns, T0 + HF_SEC(2));
    tick_to(&rig, T0 + HF_SEC(2));
    assert_silent(&rig, COMMIT_PAUSING);
    says(&rig, "aborted"); /* too late: nobody vouches for it any more */
    assert_silent(&rig, COMMIT_PAUSING);
    assert_int_equal(rig.c.ignored, 1);
}

static void commit__a_late_answer_to_an_earlier_question_is_inert(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    see(&rig, 0, P);
    begin(&rig);
    assert_asks(&rig, COMMIT_QUERY_STATUS, 0);
    uint32_t first = rig.act.number;
    new_view(&rig, 1, P + 1);
    assert_asks(&rig, COMMIT_QUERY_STATUS, 1);
    const char *const row[COMMIT_COLUMNS_MAX] = {"f",
                                                 "000000030000000000000001",
                                                 "0/100",
                                                 "1795282619915390",
                                                 "7710680136496193089",
                                                 "f",
                                                 "aborted"};
    feed_event(&rig,
               (struct commit_event){.kind = COMMIT_EV_RESULT, .number = first, .values = row});
    assert_silent(&rig, COMMIT_ASKING);
    assert_int_equal(rig.c.ignored, 1);
}

static void commit__another_cluster_and_nonsense_are_no_answers(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    see(&rig, 0, P);
    begin(&rig);
    assert_asks(&rig, COMMIT_QUERY_STATUS, 0);
    const char *const foreign[COMMIT_COLUMNS_MAX] = {
        "f", "000000030000000000000001", "0/100", "1795282619915390", "1", "f", "aborted"};
    reply(&rig, foreign);
    assert_silent(&rig, COMMIT_PAUSING);
    assert_int_equal(commit_reason(&rig.c)->why, COMMIT_WHY_FOREIGN);
    tick_to(&rig, commit_deadline(&rig.c));
    assert_asks(&rig, COMMIT_QUERY_STATUS, 0);
    const char *const nonsense[COMMIT_COLUMNS_MAX] = {NULL};
    reply(&rig, nonsense);
    assert_int_equal(commit_reason(&rig.c)->why, COMMIT_WHY_NO_ANSWER);
    tick_to(&rig, commit_deadline(&rig.c));
    assert_asks(&rig, COMMIT_QUERY_STATUS, 0);
    const char *const standby[COMMIT_COLUMNS_MAX] = {"t", NULL, NULL, "5", "7710680136496193089",
                                                     "f", NULL};
    reply(&rig, standby);
    assert_int_equal(commit_reason(&rig.c)->why, COMMIT_WHY_NOT_PRIMARY);
}

static void commit__what_has_no_id_has_nothing_to_lose(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    see(&rig, 0, P);
    rig.probe = (struct commit_probe){0};
    begin(&rig);
    assert_done(&rig, GUARD_COMMITTED, COMMIT_WHY_NO_XID);

    set_up(&rig);
    see(&rig, 0, P);
    rig.probe = (struct commit_probe){0};
    rig.begin.may_notify = true;
    begin(&rig);
    assert_done(&rig, GUARD_UNRESOLVED, COMMIT_WHY_NO_XID);
}

static void commit__without_a_probe_there_is_nothing_to_ask(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    see(&rig, 0, P);
    rig.begin.probe = NULL;
    begin(&rig);
    assert_done(&rig, GUARD_UNRESOLVED, COMMIT_WHY_NO_PROBE);
}

static void commit__an_expired_record_ends_the_search(void **state)
{
    (void)state;
    struct rig rig;
    set_up(&rig);
    see(&rig, 0, P);
    begin(&rig);
    assert_asks(&rig, COMMIT_QUERY_STATUS, 0);
    says(&rig, NULL);
    assert_done(&rig, GUARD_UNRESOLVED, COMMIT_WHY_EXPIRED);
}

/* Any event in any state: no assertion fails, the deadline is kept, DONE comes once. */
static void commit__every_event_is_allowed_in_every_state(void **state)
{
    (void)state;
    static const char *const rows[][COMMIT_COLUMNS_MAX] = {
        {"f", "000000030000000000000001", "0/100", "1795282619915390", "7710680136496193089", "t",
         "committed"},
        {"f", "000000040000000000000001", "0/600", "9", "7710680136496193089", "f", "committed"},
        {"f", "000000030000000000000001", "0/100", "1795282619915390", "7710680136496193089", "f",
         "in progress"},
        {"t", NULL, NULL, "5", "7710680136496193089", "f", NULL},
        {"3\t0/600\tx\n", NULL, NULL, NULL, NULL, NULL, NULL},
    };
    struct rng rng;
    uint32_t states = 0;
    rng_init(&rng, 1);
    for (int run = 0; run < 3000; run++) {
        struct rig rig;
        int done = 0;
        set_up(&rig);
        see(&rig, 0, P);
        for (int step = 0; step < 60; step++) {
            struct commit_event event = {
                .kind = (enum commit_event_kind)rng_below(&rng, COMMIT_EV_FAILED + 1),
                .begin = &rig.begin,
                .number = rig.c.number - (rng_below(&rng, 8) == 0),
                .values = rows[rng_below(&rng, sizeof rows / sizeof rows[0])],
            };
            if (step == 0)
                event.kind = COMMIT_EV_BEGIN;
            rig.now += rng_range_ns(&rng, 0, HF_MS(300));
            if (rng_below(&rng, 3) == 0)
                see(&rig, (uint32_t[]){0, 0, 0, 1, SNAPSHOT_NO_ENDPOINT}[rng_below(&rng, 5)],
                    P + (uint32_t)(step > 40));
            feed_event(&rig, event);
            states |= 1u << rig.c.state;
            assert_true(rig.now < BY || rig.c.state == COMMIT_OVER);
            if (commit_next(&rig.c, &rig.act))
                done += rig.act.kind == COMMIT_ACT_DONE;
            assert_true(commit_deadline(&rig.c) <= BY || rig.c.state == COMMIT_OVER);
        }
        tick_to(&rig, BY);
        if (commit_next(&rig.c, &rig.act))
            done += rig.act.kind == COMMIT_ACT_DONE;
        assert_int_equal(done, 1);
    }
    assert_int_equal(states | 1u << COMMIT_IDLE, (1u << (COMMIT_OVER + 1)) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commit__the_same_server_tells_at_once_that_it_was_aborted),
        cmocka_unit_test(commit__committed_is_said_once_nobody_has_taken_over),
        cmocka_unit_test(commit__a_former_primary_that_says_committed_is_not_believed),
        cmocka_unit_test(commit__what_was_seen_before_the_answer_came_does_not_count),
        cmocka_unit_test(commit__a_look_that_knows_of_a_later_timeline_believes_nobody_below),
        cmocka_unit_test(commit__others_must_have_been_looked_at_since),
        cmocka_unit_test(commit__whose_role_could_never_be_learned_is_not_waited_for),
        cmocka_unit_test(commit__without_any_view_it_waits_for_one),
        cmocka_unit_test(commit__its_patience_is_a_setting),
        cmocka_unit_test(commit__a_running_backend_is_waited_for_and_then_ended),
        cmocka_unit_test(commit__a_backend_that_cannot_be_ended_leaves_it_unknown),
        cmocka_unit_test(commit__synchronous_standbys_must_confirm),
        cmocka_unit_test(commit__what_nobody_confirms_is_unknown_at_the_deadline),
        cmocka_unit_test(commit__a_confirmation_that_fails_is_asked_for_again),
        cmocka_unit_test(commit__after_a_promotion_the_history_is_read),
        cmocka_unit_test(commit__a_watcher_that_saw_the_promotion_is_enough),
        cmocka_unit_test(commit__a_promotion_over_two_timelines_is_not_believed),
        cmocka_unit_test(commit__a_history_that_is_denied_leaves_it_unknown),
        cmocka_unit_test(commit__with_nobody_to_ask_it_waits_for_a_primary),
        cmocka_unit_test(commit__without_a_primary_until_the_end_it_says_so),
        cmocka_unit_test(commit__a_question_has_a_limit_of_its_own),
        cmocka_unit_test(commit__a_late_answer_to_an_earlier_question_is_inert),
        cmocka_unit_test(commit__another_cluster_and_nonsense_are_no_answers),
        cmocka_unit_test(commit__what_has_no_id_has_nothing_to_lose),
        cmocka_unit_test(commit__without_a_probe_there_is_nothing_to_ask),
        cmocka_unit_test(commit__an_expired_record_ends_the_search),
        cmocka_unit_test(commit__every_event_is_allowed_in_every_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
