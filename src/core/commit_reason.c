/* The search for a lost commit in words: names, and the reason as an error. */
#include "core/commit.h"

#include <stdio.h>

#include "base/bug.h"
#include "base/units.h"

struct telling {
    const char *name;
    const char *hint;
};

#define LOOK_YOURSELF "Look in the data whether the transaction took effect, before it is repeated."

static const struct telling tellings[COMMIT_WHYS] = {
    [COMMIT_WHY_NONE] = {"nothing was asked yet", ""},
    [COMMIT_WHY_RECORDED] = {"the server has recorded it", ""},
    [COMMIT_WHY_CUT_OFF] = {"the WAL was cut before the commit record", ""},
    [COMMIT_WHY_NEVER_SEEN] = {"no record of the transaction has survived", ""},
    [COMMIT_WHY_OTHER_BRANCH] = {"the surviving history never was on the transaction's timeline",
                                 ""},
    [COMMIT_WHY_NO_XID] = {"the transaction had written nothing", ""},
    [COMMIT_WHY_NO_PROBE] = {"the connection was lost before the transaction's id was known",
                             LOOK_YOURSELF},
    [COMMIT_WHY_NO_PRIMARY] = {"there was no primary to ask", LOOK_YOURSELF},
    [COMMIT_WHY_NO_ANSWER] = {"the primary did not answer", LOOK_YOURSELF},
    [COMMIT_WHY_NOT_PRIMARY] = {"the server taken for the primary is in recovery", LOOK_YOURSELF},
    [COMMIT_WHY_FOREIGN] = {"the server asked belongs to another cluster",
                            "Check where the endpoint's address leads to."},
    [COMMIT_WHY_STALE] = {"the server asked is on a timeline that was left",
                          "Stop the former primary, or make it a replica of the present one."},
    [COMMIT_WHY_STILL_RUNNING] = {"its backend still has the transaction open",
                                  "See pg_stat_activity for what it waits for."},
    [COMMIT_WHY_EXPIRED] = {"the server has forgotten transactions that old", LOOK_YOURSELF},
    [COMMIT_WHY_SWITCH_UNKNOWN] =
        {"where the transaction's timeline was left is not known",
         "Let the role read timeline histories: docs/guide/library.md, 6."},
    [COMMIT_WHY_UNMARKED] = {"another transaction may bear the same id since",
                             "Let the probe leave a mark: see commit_mark."},
    [COMMIT_WHY_FORKED] = {"another server has a timeline of the same number",
                           "Two standbys were promoted unaware of each other; keep one of them."},
    [COMMIT_WHY_UNCONFIRMED] = {"committed on the primary, but its synchronous standbys did not "
                                "confirm",
                                "See pg_stat_replication for who is missing."},
    [COMMIT_WHY_UNWATCHED] = {"committed there, but nobody could make sure that the server still "
                              "was the primary",
                              LOOK_YOURSELF},
};

const char *commit_why_name(enum commit_why why)
{
    hf_assert((unsigned)why < COMMIT_WHYS);
    return tellings[why].name;
}

const char *commit_state_name(enum commit_state state)
{
    static const char *const names[] = {
        [COMMIT_IDLE] = "idle",
        [COMMIT_WAITING] = "waiting",
        [COMMIT_ASKING] = "asking",
        [COMMIT_READING] = "reading",
        [COMMIT_CONFIRMING] = "confirming",
        [COMMIT_ENDING] = "ending",
        [COMMIT_PAUSING] = "pausing",
        [COMMIT_LOOKING] = "looking",
        [COMMIT_OVER] = "over",
    };
    hf_assert((unsigned)state < sizeof names / sizeof names[0]);
    return names[state];
}

const char *commit_query_name(enum commit_query query)
{
    static const char *const names[] = {
        [COMMIT_QUERY_STATUS] = "status",
        [COMMIT_QUERY_HISTORY] = "history",
        [COMMIT_QUERY_CONFIRM] = "confirm",
        [COMMIT_QUERY_END] = "end",
    };
    hf_assert((unsigned)query < COMMIT_QUERIES);
    return names[query];
}

/* 40000 is what a client may take as "rolled back, begin again"; 08007 is the standard's "unknown".
 */
static void set_message(const struct commit_reason *reason, struct hf_err *err)
{
    const char *why = commit_why_name(reason->why);
    switch (reason->resolution) {
    case GUARD_COMMITTED:
        err_set(err, HF_RC_PEER, "00000", "the transaction was committed: %s", why);
        return;
    case GUARD_ABORTED:
        err_set(err, HF_RC_AGAIN, "40000", "the transaction was rolled back: %s", why);
        return;
    case GUARD_UNRESOLVED:
        err_set(err, HF_RC_PEER, "08007",
                "could not find out whether the transaction was committed"
                ": %s",
                why);
    }
}

void commit_reason_error(const struct commit_reason *reason, const struct snapshot *view,
                         struct hf_err *err)
{
    char searched[UNITS_TEXT_MAX], whom[SNAPSHOT_NAME_BYTES + 32];
    set_message(reason, err);
    units_print_duration(reason->searched_ns - reason->searched_ns % HF_MS(1), searched);
    if (reason->endpoint == GUARD_NO_ENDPOINT)
        snprintf(whom, sizeof whom, "nobody");
    else if (view == NULL || reason->endpoint >= view->count)
        snprintf(whom, sizeof whom, "endpoint %u", reason->endpoint);
    else
        snprintf(whom, sizeof whom, "\"%s\"", view->endpoints[reason->endpoint].name);
    err_detail(err, "searched: %s; questions: %u; asked last: %s; its timeline: %u.", searched,
               reason->queries, whom, reason->timeline);
    err_hint(err, "%s", tellings[reason->why].hint);
}
