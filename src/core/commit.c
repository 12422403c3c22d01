/*
 * The search for a lost commit: the judgement of one answer, and the machine that gets answers.
 *
 * The two are apart on purpose. commit_judge() is the proof of section 2 of the header, a function
 * without memory; a table of cases can hold all of it. The machine knows nothing of WAL: it asks,
 * waits, asks again, and makes sure that whoever answered was the right one to ask.
 */
#include "core/commit.h"

#include "base/bug.h"
#include "base/ns.h"

#define HISTORY_TRIES_MAX 2 /* our own function, then pg_read_file() */

struct commit_config commit_config_default(void)
{
    return (struct commit_config){
        .ask_ns_max = HF_SEC(2),
        .again_ns = HF_MS(50),
        .patience_ns = HF_SEC(1),
    };
}

/* ---- the judgement ---- */

static struct commit_finding finding(enum commit_verdict verdict, enum commit_why why)
{
    return (struct commit_finding){verdict, why};
}

/* Nothing was lost since the probe: the server's record is the truth. */
static struct commit_finding judge_same(const struct commit_answer *answer)
{
    switch (answer->status) {
    case COMMIT_STATUS_COMMITTED:
        return finding(COMMIT_VERDICT_COMMITTED, COMMIT_WHY_RECORDED);
    case COMMIT_STATUS_ABORTED:
        return finding(COMMIT_VERDICT_ABORTED, COMMIT_WHY_RECORDED);
    case COMMIT_STATUS_RUNNING:
        return finding(COMMIT_VERDICT_AGAIN, COMMIT_WHY_STILL_RUNNING);
    case COMMIT_STATUS_EXPIRED:
        return finding(COMMIT_VERDICT_NEVER, COMMIT_WHY_EXPIRED);
    case COMMIT_STATUS_FUTURE: /* the server that assigned it cannot say so */
    case COMMIT_STATUS_UNASKED:
    case COMMIT_STATUSES:
        break;
    }
    return finding(COMMIT_VERDICT_AGAIN, COMMIT_WHY_NO_ANSWER);
}

/* What another incarnation's record proves without a look at positions, if it is not "committed".
 * Our backend cannot run there, and our commit record, had it survived, would be seen. */
static struct commit_finding judge_uncommitted(const struct commit_answer *answer)
{
    switch (answer->status) {
    case COMMIT_STATUS_ABORTED:
        return finding(COMMIT_VERDICT_ABORTED, COMMIT_WHY_RECORDED);
    case COMMIT_STATUS_RUNNING:
    case COMMIT_STATUS_FUTURE:
        return finding(COMMIT_VERDICT_ABORTED, COMMIT_WHY_NEVER_SEEN);
    case COMMIT_STATUS_EXPIRED:
        return finding(COMMIT_VERDICT_NEVER, COMMIT_WHY_EXPIRED);
    case COMMIT_STATUS_COMMITTED:
    case COMMIT_STATUS_UNASKED:
    case COMMIT_STATUSES:
        break;
    }
    return finding(COMMIT_VERDICT_AGAIN, COMMIT_WHY_NO_ANSWER);
}

/* The same timeline after a restart. */
static struct commit_finding judge_restarted(const struct commit_probe *probe,
                                             const struct commit_answer *answer,
                                             bool is_same_endpoint)
{
    uint64_t recovered = answer->at.recovered_lsn;
    if (recovered != 0 && recovered <= probe->lsn)
        return finding(COMMIT_VERDICT_ABORTED, COMMIT_WHY_CUT_OFF);
    if (answer->status != COMMIT_STATUS_COMMITTED)
        return judge_uncommitted(answer);
    if (!is_same_endpoint)
        return finding(COMMIT_VERDICT_AGAIN, COMMIT_WHY_FORKED);
    /* A clean start knows every xid that was assigned, by its shutdown checkpoint. */
    if (recovered != 0 && !probe->is_marked)
        return finding(COMMIT_VERDICT_NEVER, COMMIT_WHY_UNMARKED);
    return finding(COMMIT_VERDICT_COMMITTED, COMMIT_WHY_RECORDED);
}

static const struct commit_switch *switch_from(const struct commit_history *history,
                                               uint32_t timeline)
{
    for (uint32_t i = 0; i < history->count; i++)
        if (history->switches[i].timeline == timeline)
            return &history->switches[i];
    return NULL;
}

/* A later timeline. */
static struct commit_finding judge_promoted(const struct commit_probe *probe,
                                            const struct commit_answer *answer,
                                            const struct commit_history *history)
{
    uint64_t recovered = answer->at.recovered_lsn;
    const struct commit_switch *left = NULL;
    if (history != NULL && history->timeline == answer->at.timeline) {
        left = switch_from(history, probe->at.timeline);
        if (left == NULL && history->is_whole)
            return finding(COMMIT_VERDICT_ABORTED, COMMIT_WHY_OTHER_BRANCH);
    }
    bool is_cut_off =
        left != NULL ? left->lsn <= probe->lsn : recovered != 0 && recovered <= probe->lsn;
    if (is_cut_off)
        return finding(COMMIT_VERDICT_ABORTED, COMMIT_WHY_CUT_OFF);
    if (answer->status != COMMIT_STATUS_COMMITTED)
        return judge_uncommitted(answer);
    if (left == NULL)
        return finding(COMMIT_VERDICT_HISTORY, COMMIT_WHY_SWITCH_UNKNOWN);
    if (!probe->is_marked)
        return finding(COMMIT_VERDICT_NEVER, COMMIT_WHY_UNMARKED);
    return finding(COMMIT_VERDICT_COMMITTED, COMMIT_WHY_RECORDED);
}

static bool is_same_incarnation(const struct commit_incarnation *a,
                                const struct commit_incarnation *b)
{
    return a->timeline == b->timeline && a->recovered_lsn == b->recovered_lsn &&
           a->started_us == b->started_us;
}

struct commit_finding commit_judge(const struct commit_probe *probe,
                                   const struct commit_answer *answer, bool is_same_endpoint,
                                   const struct commit_history *history)
{
    if (answer->is_in_recovery)
        return finding(COMMIT_VERDICT_AGAIN, COMMIT_WHY_NOT_PRIMARY);
    if (answer->at.timeline < probe->at.timeline)
        return finding(COMMIT_VERDICT_AGAIN, COMMIT_WHY_STALE);
    if (is_same_incarnation(&probe->at, &answer->at))
        return judge_same(answer);
    if (answer->at.timeline == probe->at.timeline)
        return judge_restarted(probe, answer, is_same_endpoint);
    return judge_promoted(probe, answer, history);
}

/* ---- actions ---- */

void commit_init(struct commit *commit, const struct commit_config *config)
{
    *commit = (struct commit){
        .config = config != NULL ? *config : commit_config_default(),
        .state = COMMIT_IDLE,
        .until_ns = HF_NEVER,
        .ran_since_ns = HF_NEVER,
        .endpoint = GUARD_NO_ENDPOINT,
        .reason = {.resolution = GUARD_UNRESOLVED, .endpoint = GUARD_NO_ENDPOINT},
    };
}

bool commit_next(struct commit *commit, struct commit_action *action)
{
    if (!commit->has_action)
        return false;
    *action = commit->action;
    commit->has_action = false;
    return true;
}

static void because(struct commit *commit, enum commit_why why)
{
    commit->reason.why = why;
    commit->reason.endpoint = commit->endpoint;
    commit->reason.timeline = commit->answer.at.timeline;
    commit->reason.at_ns = commit->now_ns;
    commit->reason.searched_ns = commit->now_ns - commit->began_ns;
}

static void finish(struct commit *commit, enum guard_resolution resolution, enum commit_why why)
{
    because(commit, why);
    commit->reason.resolution = resolution;
    commit->state = COMMIT_OVER;
    commit->until_ns = HF_NEVER;
    commit->has_action = true;
    commit->action = (struct commit_action){.kind = COMMIT_ACT_DONE, .resolution = resolution};
}

/* Sends a query to `commit->endpoint`; one still under way is replaced. */
static void query(struct commit *commit, enum commit_state state, enum commit_query query,
                  int64_t ns_max)
{
    commit->state = state;
    commit->until_ns = ns_min(commit->deadline_ns, ns_add(commit->now_ns, ns_max));
    ++commit->number;
    ++commit->reason.queries;
    commit->has_action = true;
    commit->action = (struct commit_action){
        .kind = COMMIT_ACT_QUERY,
        .query = query,
        .endpoint = commit->endpoint,
        .number = commit->number,
        .deadline_ns = commit->until_ns,
    };
}

static void pause_for(struct commit *commit, enum commit_why why)
{
    because(commit, why);
    commit->state = COMMIT_PAUSING;
    commit->until_ns = ns_add(commit->now_ns, commit->config.again_ns);
}

/* ---- views ---- */

static uint32_t primary_of(const struct snapshot *view)
{
    if (view == NULL || view->primary == SNAPSHOT_NO_ENDPOINT ||
        view->endpoints[view->primary].health == ENDPOINT_DOWN)
        return GUARD_NO_ENDPOINT;
    return view->primary;
}

static void ask(struct commit *commit, const struct snapshot *view)
{
    uint32_t primary = primary_of(view);
    if (primary == GUARD_NO_ENDPOINT) {
        if (commit->state != COMMIT_PAUSING)
            because(commit, COMMIT_WHY_NO_PRIMARY);
        commit->state = COMMIT_WAITING;
        commit->until_ns = HF_NEVER;
        return;
    }
    if (commit->reason.queries == 0)
        because(commit, COMMIT_WHY_NO_ANSWER);
    commit->endpoint = primary;
    query(commit, COMMIT_ASKING, COMMIT_QUERY_STATUS, commit->config.ask_ns_max);
}

/* Whether everybody was looked at since the last answer came. Of an endpoint that is down, or whose
 * role could never be learned, a view speaks as of its own making. */
static bool was_looked_at(const struct commit *commit, const struct snapshot *view)
{
    for (uint32_t i = 0; i < view->count; i++) {
        const struct snapshot_endpoint *at = &view->endpoints[i];
        bool is_dark = at->health == ENDPOINT_DOWN || at->role == ENDPOINT_UNKNOWN;
        int64_t looked_ns = is_dark ? view->made_at_ns : at->sampled_at_ns;
        if (looked_ns <= commit->answered_ns)
            return false;
    }
    return true;
}

static void look(struct commit *commit, const struct snapshot *view)
{
    if (commit->timeline_max > commit->answer.at.timeline) {
        ask(commit, view);
        return;
    }
    commit->state = COMMIT_LOOKING;
    commit->until_ns = HF_NEVER;
    because(commit, COMMIT_WHY_UNWATCHED);
    if (view != NULL && view->primary == commit->endpoint && was_looked_at(commit, view))
        finish(commit, GUARD_COMMITTED, commit->found.why);
}

/* ---- what answers lead to ---- */

static void keep_running(struct commit *commit)
{
    if (commit->ran_since_ns == HF_NEVER)
        commit->ran_since_ns = commit->now_ns;
    if (commit->now_ns - commit->ran_since_ns < commit->config.patience_ns) {
        pause_for(commit, COMMIT_WHY_STILL_RUNNING);
        return;
    }
    because(commit, COMMIT_WHY_STILL_RUNNING);
    query(commit, COMMIT_ENDING, COMMIT_QUERY_END, commit->config.ask_ns_max);
}

static void read_history(struct commit *commit)
{
    uint32_t timeline = commit->answer.at.timeline;
    if (commit->history_of != timeline) {
        commit->history_of = timeline;
        commit->history_tries = 0;
    }
    if (commit->history_tries == HISTORY_TRIES_MAX) {
        pause_for(commit, COMMIT_WHY_SWITCH_UNKNOWN);
        return;
    }
    ++commit->history_tries;
    because(commit, COMMIT_WHY_SWITCH_UNKNOWN);
    query(commit, COMMIT_READING, COMMIT_QUERY_HISTORY, commit->config.ask_ns_max);
}

/* No limit of its own for the confirmation: it waits for standbys, and each one that is abandoned
 * leaves a backend behind that waits on. */
static void confirm(struct commit *commit, const struct snapshot *view)
{
    if (!commit->answer.is_synchronous) {
        look(commit, view);
        return;
    }
    because(commit, COMMIT_WHY_UNCONFIRMED);
    query(commit, COMMIT_CONFIRMING, COMMIT_QUERY_CONFIRM, HF_NEVER);
}

/* What the watcher saw of the promotion, where no file was read. A standby's timeline is read from
 * its control file, which may be late: but between the one before T and T there is none, so that
 * one alone can be believed. */
static void learn_switch(struct commit *commit, const struct snapshot *view)
{
    const struct commit_history *known = &commit->history;
    if (view == NULL || commit->endpoint >= view->count ||
        (known->is_whole && known->timeline == commit->answer.at.timeline))
        return;
    const struct snapshot_endpoint *at = &view->endpoints[commit->endpoint];
    if (at->left_timeline == 0 || at->left_timeline + 1 != at->timeline ||
        at->timeline != commit->answer.at.timeline)
        return;
    commit->history = (struct commit_history){
        .timeline = at->timeline,
        .count = 1,
        .switches = {{at->left_timeline, at->left_lsn}},
    };
}

static void decide(struct commit *commit, const struct snapshot *view)
{
    learn_switch(commit, view);
    commit->found = commit_judge(&commit->probe, &commit->answer,
                                 commit->endpoint == commit->sent_to, &commit->history);
    if (commit->found.why != COMMIT_WHY_STILL_RUNNING)
        commit->ran_since_ns = HF_NEVER;
    switch (commit->found.verdict) {
    case COMMIT_VERDICT_ABORTED:
        finish(commit, GUARD_ABORTED, commit->found.why);
        return;
    case COMMIT_VERDICT_COMMITTED:
        confirm(commit, view);
        return;
    case COMMIT_VERDICT_HISTORY:
        read_history(commit);
        return;
    case COMMIT_VERDICT_NEVER:
        finish(commit, GUARD_UNRESOLVED, commit->found.why);
        return;
    case COMMIT_VERDICT_AGAIN:
        if (commit->found.why == COMMIT_WHY_STILL_RUNNING)
            keep_running(commit);
        else
            pause_for(commit, commit->found.why);
    }
}

/* The answer must come from the right server before it may be judged. */
static void answered(struct commit *commit, const struct commit_event *event)
{
    struct commit_answer answer;
    if (!commit_answer_read(&answer, event->values)) {
        pause_for(commit, COMMIT_WHY_NO_ANSWER);
        return;
    }
    if (commit->system_id != 0 && answer.system_id != commit->system_id) {
        pause_for(commit, COMMIT_WHY_FOREIGN);
        return;
    }
    commit->answer = answer;
    if (!answer.is_in_recovery && answer.at.timeline < commit->timeline_max) {
        pause_for(commit, COMMIT_WHY_STALE);
        return;
    }
    if (answer.at.timeline > commit->timeline_max)
        commit->timeline_max = answer.at.timeline;
    decide(commit, event->view);
}

static void history_came(struct commit *commit, const struct commit_event *event)
{
    const char *text = event->values[0];
    struct commit_history history;
    if (text != NULL &&
        commit_history_read(&history, commit->history_of, sv_from_cstr(text), NULL) == HF_OK)
        commit->history = history;
    decide(commit, event->view);
}

static void backend_ended(struct commit *commit)
{
    commit->ran_since_ns = HF_NEVER; /* if it goes on, it gets as much time once more */
    pause_for(commit, COMMIT_WHY_STILL_RUNNING);
}

/* ---- events ---- */

static void result(struct commit *commit, const struct commit_event *event)
{
    switch (commit->state) {
    case COMMIT_ASKING:
        commit->answered_ns = commit->now_ns;
        answered(commit, event);
        return;
    case COMMIT_READING:
        history_came(commit, event);
        return;
    case COMMIT_CONFIRMING:
        commit->answered_ns = commit->now_ns;
        look(commit, event->view);
        return;
    case COMMIT_ENDING:
        backend_ended(commit);
        return;
    case COMMIT_IDLE:
    case COMMIT_WAITING:
    case COMMIT_PAUSING:
    case COMMIT_LOOKING:
    case COMMIT_OVER:
        ++commit->ignored;
    }
}

static void failed(struct commit *commit)
{
    switch (commit->state) {
    case COMMIT_ASKING:
        /* What an earlier answer said is worth more to a person than that this one failed. */
        pause_for(commit,
                  commit->answer.at.timeline != 0 ? commit->reason.why : COMMIT_WHY_NO_ANSWER);
        return;
    case COMMIT_READING:
        read_history(commit);
        return;
    case COMMIT_CONFIRMING:
        pause_for(commit, COMMIT_WHY_UNCONFIRMED);
        return;
    case COMMIT_ENDING:
        backend_ended(commit);
        return;
    case COMMIT_IDLE:
    case COMMIT_WAITING:
    case COMMIT_PAUSING:
    case COMMIT_LOOKING:
    case COMMIT_OVER:
        ++commit->ignored;
    }
}

static void begin(struct commit *commit, const struct commit_event *event)
{
    const struct commit_begin *begin = event->begin;
    commit->began_ns = commit->now_ns;
    commit->deadline_ns = begin->deadline_ns;
    commit->sent_to = begin->endpoint;
    commit->system_id = begin->system_id;
    if (begin->probe == NULL) {
        finish(commit, GUARD_UNRESOLVED, COMMIT_WHY_NO_PROBE);
        return;
    }
    commit->probe = *begin->probe;
    if (commit->probe.at.timeline > commit->timeline_max)
        commit->timeline_max = commit->probe.at.timeline;
    if (commit->probe.xid == 0) {
        finish(commit, begin->may_notify ? GUARD_UNRESOLVED : GUARD_COMMITTED, COMMIT_WHY_NO_XID);
        return;
    }
    ask(commit, event->view);
}

/* News of the servers, or of the time: somebody else is the primary now, or it is time to ask. */
static void moved_on(struct commit *commit, const struct snapshot *view)
{
    uint32_t primary = primary_of(view);
    if (commit->state == COMMIT_WAITING) {
        if (primary != GUARD_NO_ENDPOINT)
            ask(commit, view);
    } else if (primary != GUARD_NO_ENDPOINT && primary != commit->endpoint) {
        ask(commit, view);
    } else if (commit->state == COMMIT_LOOKING) {
        look(commit, view);
    } else if (commit->now_ns >= commit->until_ns) {
        if (commit->state == COMMIT_PAUSING)
            ask(commit, view);
        else
            failed(commit);
    }
}

static void step(struct commit *commit, const struct commit_event *event)
{
    switch (event->kind) {
    case COMMIT_EV_BEGIN:
        if (commit->state == COMMIT_IDLE)
            begin(commit, event);
        else
            ++commit->ignored;
        return;
    case COMMIT_EV_RESULT:
    case COMMIT_EV_FAILED:
        if (event->number != commit->number)
            ++commit->ignored;
        else if (event->kind == COMMIT_EV_RESULT)
            result(commit, event);
        else
            failed(commit);
        return;
    case COMMIT_EV_VIEW:
    case COMMIT_EV_TICK:
        if (commit->state != COMMIT_IDLE && commit->state != COMMIT_OVER)
            moved_on(commit, event->view);
    }
}

void commit_feed(struct commit *commit, const struct commit_event *event)
{
    commit->now_ns = ns_max(commit->now_ns, event->now_ns);
    if (event->view != NULL && event->view->timeline > commit->timeline_max)
        commit->timeline_max = event->view->timeline;
    step(commit, event);
    bool is_searching = commit->state != COMMIT_IDLE && commit->state != COMMIT_OVER;
    if (is_searching && commit->now_ns >= commit->deadline_ns)
        finish(commit, GUARD_UNRESOLVED, commit->reason.why);
}

int64_t commit_deadline(const struct commit *commit)
{
    if (commit->state == COMMIT_IDLE || commit->state == COMMIT_OVER)
        return HF_NEVER;
    return ns_min(commit->until_ns, commit->deadline_ns);
}

const struct commit_reason *commit_reason(const struct commit *commit)
{
    return &commit->reason;
}
