/*
 * outcome_repeat(): cases with a story, and its invariants for every rule and all 4096 combinations
 * of facts.
 */
#include "unit.h"

#include <stdbool.h>
#include <string.h>

#include "core/outcome.h"

/* ---- cases ---- */

#define READ_SENT  .sent = true
#define WRITE_SENT .sent = true, .may_write = true, .commit_sent = true
#define TX         .sent = true, .may_write = true, .in_transaction = true
#define TX_COMMIT  TX, .commit_sent = true

struct repeat_case {
    const char *what;
    const char *ending; /* a SQLSTATE or the name of a local code */
    struct outcome_facts facts;
    enum outcome_may may;
};

static const struct outcome_rule *rule_named(const char *ending)
{
    for (unsigned code = 0; code < OUTCOME_CODES; code++)
        if (strcmp(outcome_code_name((enum outcome_code)code), ending) == 0)
            return outcome_rule((struct outcome){.code = (enum outcome_code)code});
    return outcome_rule_of_sqlstate(sqlstate_pack(ending));
}

static const struct repeat_case lost_cases[] = {
    {"nothing was sent", "conn_lost", {0}, OUTCOME_MAY_ATTEMPT},
    {"a write that was not sent", "send_failed", {.may_write = true}, OUTCOME_MAY_ATTEMPT},
    {"a statement of a block, not sent",
     "send_failed",
     {.in_transaction = true},
     OUTCOME_MAY_NOTHING},
    {"the same with its logic at hand",
     "send_failed",
     {.in_transaction = true, .can_replay = true},
     OUTCOME_MAY_TRANSACTION},
    {"a read without a row", "conn_lost", {READ_SENT}, OUTCOME_MAY_ATTEMPT},
    {"a read with rows shown", "conn_lost", {READ_SENT, .rows_shown = true}, OUTCOME_MAY_NOTHING},
    {"a read with rows shown, called harmless",
     "conn_lost",
     {READ_SENT, .rows_shown = true, .idempotent = true},
     OUTCOME_MAY_NOTHING},
    {"an autocommit write", "conn_lost", {WRITE_SENT}, OUTCOME_MAY_RESOLVE},
    {"the same, and the driver forgot to say that it commits",
     "conn_lost",
     {.sent = true, .may_write = true},
     OUTCOME_MAY_RESOLVE},
    {"an autocommit write that is harmless twice",
     "conn_lost",
     {WRITE_SENT, .idempotent = true},
     OUTCOME_MAY_ATTEMPT},
    {"the same with rows shown",
     "conn_lost",
     {WRITE_SENT, .idempotent = true, .rows_shown = true},
     OUTCOME_MAY_RESOLVE},
    {"a block before its COMMIT", "conn_lost", {TX}, OUTCOME_MAY_NOTHING},
    {"the same with its logic at hand",
     "conn_lost",
     {TX, .can_replay = true},
     OUTCOME_MAY_TRANSACTION},
    {"a block of reads with its logic at hand",
     "conn_lost",
     {.sent = true, .in_transaction = true, .can_replay = true},
     OUTCOME_MAY_TRANSACTION},
    {"a block before its COMMIT with rows shown to a third",
     "conn_lost",
     {TX, .can_replay = true, .rows_shown = true},
     OUTCOME_MAY_NOTHING},
    {"a COMMIT", "conn_lost", {TX_COMMIT}, OUTCOME_MAY_RESOLVE},
    {"a COMMIT of a transaction with all vouchers",
     "conn_lost",
     {TX_COMMIT, .idempotent = true, .can_replay = true},
     OUTCOME_MAY_RESOLVE},
    {"a COMMIT after which rows were shown",
     "conn_lost",
     {TX_COMMIT, .rows_shown = true},
     OUTCOME_MAY_RESOLVE},
    {"a CALL that commits inside",
     "conn_lost",
     {WRITE_SENT, .commits_inside = true},
     OUTCOME_MAY_RESOLVE},
    {"our own limit during a read", "timeout", {READ_SENT}, OUTCOME_MAY_ATTEMPT},
    {"our own limit during a COMMIT", "timeout", {TX_COMMIT}, OUTCOME_MAY_RESOLVE},
    {"a session that was terminated in a block",
     "57P01",
     {TX, .can_replay = true, .is_fatal = true},
     OUTCOME_MAY_TRANSACTION},
    {"a session that was terminated during COMMIT",
     "57P01",
     {TX_COMMIT, .can_replay = true, .is_fatal = true},
     OUTCOME_MAY_RESOLVE},
    {"a crash during an autocommit write",
     "57P02",
     {WRITE_SENT, .is_fatal = true},
     OUTCOME_MAY_RESOLVE},
    {"a cancelled read", "cancelled", {READ_SENT}, OUTCOME_MAY_NOTHING},
    {"a cancelled COMMIT", "cancelled", {TX_COMMIT}, OUTCOME_MAY_RESOLVE},
    {"nonsense in the place of a COMMIT's answer", "protocol", {TX_COMMIT}, OUTCOME_MAY_RESOLVE},
    {"nonsense in the place of rows", "protocol", {READ_SENT}, OUTCOME_MAY_NOTHING},
    {"a pooler's error in the place of a COMMIT's answer",
     "08P01",
     {TX_COMMIT},
     OUTCOME_MAY_RESOLVE},
};

static const struct repeat_case error_cases[] = {
    {"success", "success", {WRITE_SENT}, OUTCOME_MAY_NOTHING},
    {"refused by the port", "connect_refused", {0}, OUTCOME_MAY_ATTEMPT},
    {"no certificate", "tls_failed", {.may_write = true}, OUTCOME_MAY_ATTEMPT},
    {"the breaker is open", "breaker_open", {0}, OUTCOME_MAY_NOTHING},
    {"serialization failure of a statement", "40001", {WRITE_SENT}, OUTCOME_MAY_ATTEMPT},
    {"serialization failure in a block", "40001", {TX}, OUTCOME_MAY_NOTHING},
    {"the same with its logic at hand", "40001", {TX, .can_replay = true}, OUTCOME_MAY_TRANSACTION},
    {"serialization failure as the answer to COMMIT",
     "40001",
     {TX_COMMIT, .can_replay = true},
     OUTCOME_MAY_TRANSACTION},
    {"serialization failure after rows were shown",
     "40001",
     {READ_SENT, .rows_shown = true},
     OUTCOME_MAY_NOTHING},
    {"deadlock in a procedure that commits",
     "40P01",
     {WRITE_SENT, .commits_inside = true},
     OUTCOME_MAY_NOTHING},
    {"the same, called harmless",
     "40P01",
     {WRITE_SENT, .commits_inside = true, .idempotent = true},
     OUTCOME_MAY_ATTEMPT},
    {"a standby ends the session for recovery",
     "40001",
     {READ_SENT, .is_fatal = true},
     OUTCOME_MAY_ATTEMPT},
    {"out of connections, refused at the door",
     "53300",
     {.may_write = true, .commits_inside = true, .is_fatal = true},
     OUTCOME_MAY_ATTEMPT},
    {"a lock in the way", "55P03", {WRITE_SENT}, OUTCOME_MAY_ATTEMPT},
    {"a write on a standby", "25006", {WRITE_SENT}, OUTCOME_MAY_ATTEMPT},
    {"a write in a block on a standby", "25006", {TX}, OUTCOME_MAY_NOTHING},
    {"a write in a transaction that asked for READ ONLY",
     "25006",
     {WRITE_SENT, .is_read_only = true},
     OUTCOME_MAY_NOTHING},
    {"the server starts", "57P03", {.is_fatal = true}, OUTCOME_MAY_ATTEMPT},
    {"an idle session was ended while a write was on its way",
     "57P05",
     {WRITE_SENT, .is_fatal = true},
     OUTCOME_MAY_ATTEMPT},
    {"the same code in the place of a COMMIT's answer",
     "57P05",
     {TX_COMMIT, .can_replay = true, .is_fatal = true},
     OUTCOME_MAY_RESOLVE},
    {"statement_timeout of a read", "57014", {READ_SENT, .is_timeout = true}, OUTCOME_MAY_ATTEMPT},
    {"statement_timeout of a write",
     "57014",
     {WRITE_SENT, .is_timeout = true},
     OUTCOME_MAY_NOTHING},
    {"statement_timeout of a harmless write",
     "57014",
     {WRITE_SENT, .is_timeout = true, .idempotent = true},
     OUTCOME_MAY_ATTEMPT},
    {"a person cancelled", "57014", {READ_SENT, .idempotent = true}, OUTCOME_MAY_NOTHING},
    {"the plan's result type changed",
     "0A000",
     {WRITE_SENT, .is_stale_statement = true},
     OUTCOME_MAY_ATTEMPT},
    {"the same in a block", "0A000", {TX, .is_stale_statement = true}, OUTCOME_MAY_NOTHING},
    {"really not supported", "0A000", {WRITE_SENT}, OUTCOME_MAY_NOTHING},
    {"an unknown prepared statement",
     "26000",
     {READ_SENT, .is_stale_statement = true},
     OUTCOME_MAY_ATTEMPT},
    {"the same, prepared anew already", "26000", {READ_SENT}, OUTCOME_MAY_NOTHING},
    {"corrupted data under a read", "XX001", {READ_SENT}, OUTCOME_MAY_ATTEMPT},
    {"corrupted data under a write", "XX001", {WRITE_SENT}, OUTCOME_MAY_NOTHING},
    {"a PANIC of the WAL's flush during COMMIT",
     "58030",
     {TX_COMMIT, .is_fatal = true},
     OUTCOME_MAY_RESOLVE},
    {"a full disk under a write", "53100", {WRITE_SENT}, OUTCOME_MAY_NOTHING},
    {"a full disk under the WAL during COMMIT",
     "53100",
     {TX_COMMIT, .is_fatal = true},
     OUTCOME_MAY_RESOLVE},
    {"a transaction_timeout that ran out during COMMIT",
     "25P04",
     {TX_COMMIT, .can_replay = true, .is_fatal = true},
     OUTCOME_MAY_RESOLVE},
    {"the server does not know the outcome", "08007", {TX_COMMIT}, OUTCOME_MAY_RESOLVE},
    {"a pooler cannot connect", "08001", {0}, OUTCOME_MAY_ATTEMPT},
    {"a pooler cannot connect, but took the statement", "08001", {WRITE_SENT}, OUTCOME_MAY_NOTHING},
    {"a unique violation", "23505", {WRITE_SENT, .idempotent = true}, OUTCOME_MAY_NOTHING},
    {"an application's own code", "ABCDE", {WRITE_SENT, .idempotent = true}, OUTCOME_MAY_NOTHING},
};

static void check_cases(const struct repeat_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        enum outcome_may may = outcome_repeat(rule_named(cases[i].ending), &cases[i].facts);
        if (may != cases[i].may)
            fail_msg("%s (%s): %s, not %s", cases[i].what, cases[i].ending, outcome_may_name(may),
                     outcome_may_name(cases[i].may));
    }
}

static void outcome__a_lost_answer_allows_what_its_phase_proves(void **state)
{
    (void)state;
    check_cases(lost_cases, sizeof lost_cases / sizeof lost_cases[0]);
}

static void outcome__an_answered_error_allows_what_it_proves(void **state)
{
    (void)state;
    check_cases(error_cases, sizeof error_cases / sizeof error_cases[0]);
}

/* ---- all combinations ---- */

enum {
    FACT_SENT,
    FACT_COMMIT_SENT,
    FACT_MAY_WRITE,
    FACT_COMMITS_INSIDE,
    FACT_ROWS_SHOWN,
    FACT_IS_FATAL,
    FACT_IS_READ_ONLY,
    DANGERS, /* the facts before this one never permit anything */
    FACT_IDEMPOTENT = DANGERS,
    FACT_CAN_REPLAY,
    FACT_IS_STALE,
    FACT_IS_TIMEOUT,
    VOUCHERS, /* the facts from DANGERS to this one never forbid anything */
    FACT_IN_TRANSACTION = VOUCHERS,
    FACTS
};

static struct outcome_facts facts_of(unsigned bits)
{
    return (struct outcome_facts){
        .sent = bits >> FACT_SENT & 1,
        .commit_sent = bits >> FACT_COMMIT_SENT & 1,
        .may_write = bits >> FACT_MAY_WRITE & 1,
        .commits_inside = bits >> FACT_COMMITS_INSIDE & 1,
        .rows_shown = bits >> FACT_ROWS_SHOWN & 1,
        .is_fatal = bits >> FACT_IS_FATAL & 1,
        .is_read_only = bits >> FACT_IS_READ_ONLY & 1,
        .idempotent = bits >> FACT_IDEMPOTENT & 1,
        .can_replay = bits >> FACT_CAN_REPLAY & 1,
        .is_stale_statement = bits >> FACT_IS_STALE & 1,
        .is_timeout = bits >> FACT_IS_TIMEOUT & 1,
        .in_transaction = bits >> FACT_IN_TRANSACTION & 1,
    };
}

static bool permits(enum outcome_may may)
{
    return may == OUTCOME_MAY_ATTEMPT || may == OUTCOME_MAY_TRANSACTION;
}

/* Calls `check` for every rule and every combination of facts. */
static void for_all(void (*check)(const struct outcome_rule *rule, unsigned bits))
{
    uint32_t count;
    const struct outcome_rule *rows = outcome_table(&count);
    assert_int_equal(sizeof(struct outcome_facts), FACTS); /* each fact has its bit */
    for (uint32_t i = 0; i < count; i++)
        for (unsigned bits = 0; bits < 1U << FACTS; bits++)
            check(&rows[i], bits);
}

static void check_scope(const struct outcome_rule *rule, unsigned bits)
{
    struct outcome_facts facts = facts_of(bits);
    enum outcome_may may = outcome_repeat(rule, &facts);
    if (permits(may)) {
        assert_false(facts.rows_shown);
        assert_int_equal(may == OUTCOME_MAY_TRANSACTION, facts.in_transaction);
        assert_true(!facts.in_transaction || facts.can_replay);
        assert_int_not_equal(rule->kind, OUTCOME_KIND_LOCAL);
        assert_int_not_equal(rule->kind, OUTCOME_KIND_NONE);
    }
}

static void outcome__only_what_can_be_repeated_whole_and_unseen_is_repeated(void **state)
{
    (void)state;
    for_all(check_scope);
}

/* An ending that is an answer to COMMIT or to the write itself: it proves what became of it. */
static bool is_answer(const struct outcome_rule *rule, const struct outcome_facts *facts)
{
    if (facts->is_fatal && rule->repeat != OUTCOME_RULE_ATTEMPT)
        return false;
    return rule->repeat == OUTCOME_RULE_WHOLE_TX || rule->repeat == OUTCOME_RULE_STALE ||
           rule->repeat == OUTCOME_RULE_TIMED_OUT || rule->repeat == OUTCOME_RULE_NOT_PRIMARY ||
           (rule->repeat == OUTCOME_RULE_ATTEMPT && !facts->in_transaction);
}

static void check_commit(const struct outcome_rule *rule, unsigned bits)
{
    struct outcome_facts facts = facts_of(bits);
    enum outcome_may may = outcome_repeat(rule, &facts);
    if (facts.commit_sent && !is_answer(rule, &facts)) {
        if (facts.in_transaction || !facts.idempotent)
            assert_false(permits(may));
        if (facts.in_transaction && rule->repeat == OUTCOME_RULE_LOST)
            assert_int_equal(may, OUTCOME_MAY_RESOLVE);
    }
    /* The same of a write outside of a block, whether or not its driver said commit_sent. */
    if (facts.sent && facts.may_write && !facts.in_transaction && !facts.idempotent &&
        !is_answer(rule, &facts))
        assert_false(permits(may));
}

static void outcome__a_lost_commit_is_never_repeated(void **state)
{
    (void)state;
    for_all(check_commit);
}

static void check_resolve(const struct outcome_rule *rule, unsigned bits)
{
    struct outcome_facts facts = facts_of(bits);
    if (outcome_repeat(rule, &facts) != OUTCOME_MAY_RESOLVE)
        return;
    bool commits_by_itself = facts.may_write && !facts.in_transaction;
    assert_true(facts.commit_sent || facts.commits_inside || commits_by_itself);
    assert_true(facts.commit_sent || facts.sent || facts.rows_shown);
}

static void outcome__only_what_may_be_committed_is_resolved(void **state)
{
    (void)state;
    for_all(check_resolve);
}

static void check_dangers(const struct outcome_rule *rule, unsigned bits)
{
    struct outcome_facts facts = facts_of(bits);
    if (!permits(outcome_repeat(rule, &facts)))
        for (unsigned fact = 0; fact < DANGERS; fact++) {
            struct outcome_facts worse = facts_of(bits | 1U << fact);
            assert_false(permits(outcome_repeat(rule, &worse)));
        }
}

static void outcome__a_dangerous_fact_never_permits_anything(void **state)
{
    (void)state;
    for_all(check_dangers);
}

static void check_vouchers(const struct outcome_rule *rule, unsigned bits)
{
    struct outcome_facts facts = facts_of(bits);
    if (permits(outcome_repeat(rule, &facts)))
        for (unsigned fact = DANGERS; fact < VOUCHERS; fact++) {
            struct outcome_facts better = facts_of(bits | 1U << fact);
            assert_true(permits(outcome_repeat(rule, &better)));
        }
}

static void outcome__a_vouching_fact_never_forbids_anything(void **state)
{
    (void)state;
    for_all(check_vouchers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outcome__a_lost_answer_allows_what_its_phase_proves),
        cmocka_unit_test(outcome__an_answered_error_allows_what_it_proves),
        cmocka_unit_test(outcome__only_what_can_be_repeated_whole_and_unseen_is_repeated),
        cmocka_unit_test(outcome__a_lost_commit_is_never_repeated),
        cmocka_unit_test(outcome__only_what_may_be_committed_is_resolved),
        cmocka_unit_test(outcome__a_dangerous_fact_never_permits_anything),
        cmocka_unit_test(outcome__a_vouching_fact_never_forbids_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
