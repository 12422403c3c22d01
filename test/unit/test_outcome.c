/*
 * The table against the list of codes that PostgreSQL defines, and outcome_repeat() against its
 * invariants, for every rule and all 4096 combinations of facts.
 */
#include "unit.h"

#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "core/outcome.h"
#include "dies.h"

#define RULES_FILE HF_TEST_DATA "/outcome_rules.txt"

static const struct outcome_rule *rule_of(const char *code)
{
    return outcome_rule_of_sqlstate(sqlstate_pack(code));
}

static const struct outcome_rule *rule_of_local(enum outcome_code code)
{
    return outcome_rule((struct outcome){.code = code});
}

/* ---- codes ---- */

static void outcome__a_sqlstate_packs_as_postgresql_packs_it(void **state)
{
    (void)state;
    /* Values of PostgreSQL's errcodes.h, as MAKE_SQLSTATE makes them. */
    assert_int_equal(sqlstate_pack("40001"), 16777220);
    assert_int_equal(sqlstate_pack("57P01"), 16908741);
    assert_int_equal(sqlstate_pack("01000"), 64);
    assert_int_equal(sqlstate_pack("ZZZZZ"), 0x2aaaaaaa);
}

static void outcome__a_sqlstate_unpacks_to_what_was_packed(void **state)
{
    (void)state;
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    struct rng rng;
    rng_init(&rng, 1);
    for (int i = 0; i < 10000; i++) {
        char code[6] = {0}, back[6];
        for (int j = 0; j < 5; j++)
            code[j] = digits[rng_below(&rng, 36)];
        sqlstate_unpack(sqlstate_pack(code), back);
        assert_string_equal(back, code);
    }
}

static void outcome__what_is_no_sqlstate_packs_to_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {"",      "4",     "4000",  "400011", "4000a", "40 01",
                                        "4000:", "4000@", "4000[", "/0001",  "00000", "\x80p001"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_int_equal(sqlstate_pack(texts[i]), 0);
    assert_string_equal(outcome_rule_of_sqlstate(0)->code, "sqlstate");
}

/* ---- the table ---- */

static bool is_local(const struct outcome_rule *rule)
{
    return rule->key == 0;
}

static void outcome__the_table_is_in_order(void **state)
{
    (void)state;
    uint32_t count;
    const struct outcome_rule *rows = outcome_table(&count);
    assert_true(count > OUTCOME_CODES);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(is_local(&rows[i]), i < OUTCOME_CODES);
        assert_true(strlen(rows[i].sentence) > 0);
        if (i > OUTCOME_CODES) {
            assert_true(strcmp(rows[i - 1].code, rows[i].code) < 0);
            assert_true(rows[i - 1].key < rows[i].key);
        }
    }
}

static void outcome__a_rule_is_told_in_one_plain_sentence(void **state)
{
    (void)state;
    uint32_t count;
    const struct outcome_rule *rows = outcome_table(&count);
    for (uint32_t i = 0; i < count; i++) {
        const char *text = rows[i].sentence;
        assert_true(strlen(text) < 90);
        assert_null(strchr(text, '\n'));
        assert_true(text[strlen(text) - 1] != '.');
        assert_true((text[0] >= 'a' && text[0] <= 'z') || strncmp(text, "PL/", 3) == 0);
    }
}

/* Found row by row, comparing texts. */
static const struct outcome_rule *slow_rule_of(const char *code)
{
    uint32_t count;
    const struct outcome_rule *rows = outcome_table(&count);
    const struct outcome_rule *found = &rows[OUTCOME_SQLSTATE];
    for (uint32_t i = OUTCOME_CODES; i < count; i++)
        if (strncmp(rows[i].code, code, strlen(rows[i].code)) == 0 &&
            (strlen(rows[i].code) == 5 || strlen(found->code) != 5))
            found = &rows[i];
    return found;
}

static void outcome__the_search_finds_what_a_slow_one_finds(void **state)
{
    (void)state;
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char *const subclasses[] = {
        "000", "001", "002", "003", "004", "006", "007", "00N", "014", "030", "100", "200", "300",
        "400", "501", "P00", "P01", "P02", "P03", "P04", "P05", "P06", "ZZZ", "00Z", "Z00", "505"};
    for (int i = 0; i < 36 * 36; i++)
        for (size_t j = 0; j < sizeof subclasses / sizeof subclasses[0]; j++) {
            char code[6];
            snprintf(code, sizeof code, "%c%c%s", digits[i / 36], digits[i % 36], subclasses[j]);
            if (sqlstate_pack(code) != 0)
                assert_string_equal(rule_of(code)->code, slow_rule_of(code)->code);
        }
}

static void outcome__every_number_has_a_rule(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 2);
    for (int i = 0; i < 1000000; i++) {
        uint32_t packed = (uint32_t)rng_u64(&rng) >> rng_below(&rng, 32);
        assert_non_null(outcome_rule_of_sqlstate(packed)->sentence);
    }
}

static void outcome__a_code_nobody_defined_follows_its_class(void **state)
{
    (void)state;
    assert_string_equal(rule_of("23999")->code, "23");
    assert_string_equal(rule_of("40P99")->code, "40");
    assert_string_equal(rule_of("57P99")->code, "57");
    assert_string_equal(rule_of("XXZZZ")->code, "XX");
    assert_string_equal(rule_of("08S01")->code, "08"); /* pgjdbc's and pgpool's */
}

static void outcome__a_class_nobody_defined_is_the_applications_own(void **state)
{
    (void)state;
    static const char *const codes[] = {"99001", "ABCDE", "Y0000", "ZZZZZ", "00001", "0A00Z"};
    for (size_t i = 0; i < 5; i++) {
        const struct outcome_rule *rule = rule_of(codes[i]);
        assert_string_equal(rule->code, "sqlstate");
        assert_int_equal(rule->kind, OUTCOME_KIND_QUERY);
        assert_int_equal(rule->verdict, OUTCOME_VERDICT_SUCCESS);
        assert_int_equal(rule->repeat, OUTCOME_RULE_NEVER);
    }
    assert_string_equal(rule_of(codes[5])->code, "0A");
}

/* ---- the reviewed file ---- */

struct reviewed {
    char ending[32];
    char line[160];
    bool is_sqlstate;
};

static struct reviewed reviewed[512];
static size_t reviewed_count;

static void read_reviewed(void)
{
    FILE *file = fopen(RULES_FILE, "r");
    assert_non_null(file);
    char line[160];
    reviewed_count = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#' || line[0] == '\0')
            continue;
        assert_true(reviewed_count < sizeof reviewed / sizeof reviewed[0]);
        struct reviewed *entry = &reviewed[reviewed_count++];
        assert_int_equal(sscanf(line, "%31s", entry->ending), 1);
        memcpy(entry->line, line, sizeof line);
        entry->is_sqlstate = entry->ending[0] < 'a'; /* local codes are in small letters */
    }
    fclose(file);
}

/* The line that the table makes of an ending; what follows it in the file is only a name. */
static void line_of(const struct reviewed *entry, char *line, size_t size)
{
    const struct outcome_rule *rule = NULL;
    char head[64], answer[6];
    if (entry->is_sqlstate) {
        rule = rule_of(entry->ending);
        snprintf(head, sizeof head, "%.5s   %-5s", entry->ending, rule->code);
    } else {
        for (unsigned code = 0; code < OUTCOME_CODES; code++) {
            struct outcome outcome = {.code = (enum outcome_code)code};
            if (strcmp(outcome_code_name(outcome.code), entry->ending) != 0)
                continue;
            rule = outcome_rule(outcome);
            snprintf(head, sizeof head, "%-24.31s %-7s", entry->ending,
                     outcome_sqlstate(outcome, answer));
        }
    }
    assert_non_null(rule);
    int length =
        snprintf(line, size, "%s %-10s %-7s %-11s %s", head, outcome_kind_name(rule->kind),
                 outcome_verdict_name(rule->verdict), outcome_rule_repeat_name(rule->repeat),
                 outcome_endpoint_name(rule->endpoint));
    assert_true(length > 0 && (size_t)length < size);
}

static void outcome__every_rule_is_as_it_was_reviewed(void **state)
{
    (void)state;
    size_t wrong = 0;
    for (size_t i = 0; i < reviewed_count; i++) {
        char line[160];
        line_of(&reviewed[i], line, sizeof line);
        size_t length = strlen(line);
        char after = reviewed[i].line[length];
        if (strncmp(reviewed[i].line, line, length) == 0 && (after == ' ' || after == '\0'))
            continue;
        print_error("reviewed: %s\nis now:   %s\n", reviewed[i].line, line);
        ++wrong;
    }
    assert_int_equal(wrong, 0);
}

static bool is_reviewed(const char *ending)
{
    for (size_t i = 0; i < reviewed_count; i++)
        if (strcmp(reviewed[i].ending, ending) == 0)
            return true;
    return false;
}

static void outcome__every_local_code_was_reviewed(void **state)
{
    (void)state;
    for (unsigned code = 0; code < OUTCOME_CODES; code++)
        if (code != OUTCOME_SQLSTATE)
            assert_true(is_reviewed(outcome_code_name((enum outcome_code)code)));
}

static void outcome__every_code_of_postgresql_has_a_deliberate_rule(void **state)
{
    (void)state;
    size_t codes = 0;
    for (size_t i = 0; i < reviewed_count; i++) {
        if (!reviewed[i].is_sqlstate || strcmp(reviewed[i].ending, "00000") == 0)
            continue;
        ++codes;
        if (is_local(rule_of(reviewed[i].ending)))
            fail_msg("%s has no rule", reviewed[i].ending);
    }
    assert_true(codes > 250);
}

static void outcome__every_row_speaks_for_a_code_of_postgresql(void **state)
{
    (void)state;
    uint32_t count;
    const struct outcome_rule *rows = outcome_table(&count);
    for (uint32_t i = OUTCOME_CODES; i < count; i++) {
        bool is_used = false;
        for (size_t j = 0; j < reviewed_count && !is_used; j++)
            is_used = reviewed[j].is_sqlstate &&
                      strncmp(reviewed[j].ending, rows[i].code, strlen(rows[i].code)) == 0;
        if (!is_used)
            fail_msg("no code of PostgreSQL has the row \"%s\"", rows[i].code);
    }
}

static void outcome__the_installed_postgresql_defines_nothing_else(void **state)
{
    (void)state;
    glob_t found;
    if (glob("/usr/share/postgresql/*/errcodes.txt", 0, NULL, &found) != 0)
        skip(); /* the list in the repository stands in for it */
    for (size_t i = 0; i < found.gl_pathc; i++) {
        FILE *file = fopen(found.gl_pathv[i], "r");
        assert_non_null(file);
        char line[256], code[6], severity[2];
        while (fgets(line, sizeof line, file) != NULL)
            if (sscanf(line, "%5[0-9A-Z] %1[EWS]", code, severity) == 2 && !is_reviewed(code))
                fail_msg("%s of %s is not in " RULES_FILE, code, found.gl_pathv[i]);
        fclose(file);
    }
    globfree(&found);
}

/* ---- what may be repeated: cases ---- */

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
            return rule_of_local((enum outcome_code)code);
    return rule_of(ending);
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

/* ---- what may be repeated: all combinations ---- */

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

/* ---- breaker, endpoint, client ---- */

static void outcome__a_refusal_of_our_own_says_nothing_of_the_endpoint(void **state)
{
    (void)state;
    const struct outcome_facts facts = {0};
    for (unsigned code = OUTCOME_BREAKER_OPEN; code < OUTCOME_CODES; code++) {
        const struct outcome_rule *rule = rule_of_local((enum outcome_code)code);
        assert_int_equal(rule->kind, OUTCOME_KIND_LOCAL);
        assert_int_equal(outcome_verdict_of(rule, &facts), OUTCOME_VERDICT_NEUTRAL);
        assert_int_equal(outcome_evidence(rule, &facts), OUTCOME_EP_NOTHING);
    }
}

static void outcome__a_cancelled_statement_counts_only_if_a_limit_cancelled_it(void **state)
{
    (void)state;
    const struct outcome_facts person = {.sent = true};
    const struct outcome_facts limit = {.sent = true, .is_timeout = true};
    const struct outcome_rule *rule = rule_of("57014");
    assert_int_equal(outcome_verdict_of(rule, &person), OUTCOME_VERDICT_NEUTRAL);
    assert_int_equal(outcome_verdict_of(rule, &limit), OUTCOME_VERDICT_FAILURE);
    assert_int_equal(outcome_verdict_of(rule_of("53200"), &person), OUTCOME_VERDICT_FAILURE);
}

static void outcome__a_transaction_that_asked_for_read_only_costs_no_primary_its_role(void **state)
{
    (void)state;
    const struct outcome_facts unasked = {.sent = true};
    const struct outcome_facts asked = {.sent = true, .is_read_only = true};
    const struct outcome_rule *rule = rule_of("25006");
    assert_int_equal(outcome_evidence(rule, &unasked), OUTCOME_EP_NOT_PRIMARY);
    assert_int_equal(outcome_evidence(rule, &asked), OUTCOME_EP_ALIVE);
    assert_int_equal(outcome_evidence(rule_of("57P02"), &asked), OUTCOME_EP_DOWN);
}

static void outcome__the_client_gets_the_servers_own_code(void **state)
{
    (void)state;
    char out[6];
    const struct outcome unique = {OUTCOME_SQLSTATE, sqlstate_pack("23505")};
    assert_string_equal(outcome_sqlstate(unique, out), "23505");
    const struct outcome garbage = {OUTCOME_SQLSTATE, 0};
    assert_string_equal(outcome_sqlstate(garbage, out), "XX000");
}

/* A client that links the library and talks to the proxy reads our answers with the same table. */
static void outcome__what_we_refuse_reads_as_refused_before_anything_happened(void **state)
{
    (void)state;
    const struct outcome_facts write = {.sent = true, .may_write = true, .commit_sent = true};
    char out[6];
    for (unsigned code = OUTCOME_BREAKER_OPEN; code < OUTCOME_CODES; code++) {
        if (code == OUTCOME_DEADLINE)
            continue; /* there is no time left to repeat anything */
        struct outcome outcome = {.code = (enum outcome_code)code};
        const struct outcome_rule *rule = rule_of(outcome_sqlstate(outcome, out));
        assert_int_equal(outcome_repeat(rule, &write), OUTCOME_MAY_ATTEMPT);
    }
}

static void outcome__what_broke_on_our_way_is_not_taken_for_rolled_back(void **state)
{
    (void)state;
    const struct outcome_facts commit = {.sent = true,
                                         .may_write = true,
                                         .in_transaction = true,
                                         .commit_sent = true,
                                         .can_replay = true,
                                         .is_fatal = true};
    char out[6];
    for (unsigned code = OUTCOME_SEND_FAILED; code <= OUTCOME_PROTOCOL; code++) {
        struct outcome outcome = {.code = (enum outcome_code)code};
        const struct outcome_rule *rule = rule_of(outcome_sqlstate(outcome, out));
        assert_int_equal(outcome_repeat(rule, &commit), OUTCOME_MAY_RESOLVE);
    }
}

/* ---- names ---- */

static void outcome__names_are_words_and_no_two_alike(void **state)
{
    (void)state;
    for (unsigned i = 0; i < OUTCOME_KINDS; i++)
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(outcome_kind_name((enum outcome_kind)i),
                                    outcome_kind_name((enum outcome_kind)j));
    for (unsigned i = 0; i < OUTCOME_CODES; i++)
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(outcome_code_name((enum outcome_code)i),
                                    outcome_code_name((enum outcome_code)j));
    assert_string_equal(outcome_code_name(OUTCOME_NO_ENDPOINT), "no_endpoint");
    assert_string_equal(outcome_kind_name(OUTCOME_KIND_LOCAL), "local");
    assert_string_equal(outcome_verdict_name(OUTCOME_VERDICT_NEUTRAL), "neutral");
    assert_string_equal(outcome_rule_repeat_name(OUTCOME_RULE_NOT_PRIMARY), "not_primary");
    assert_string_equal(outcome_endpoint_name(OUTCOME_EP_CORRUPT), "corrupt");
    assert_string_equal(outcome_may_name(OUTCOME_MAY_RESOLVE), "resolve");
}

static void ask_unknown_code(void *argument)
{
    (void)argument;
    outcome_rule((struct outcome){.code = OUTCOME_CODES});
}

static void outcome__an_ending_outside_of_the_enumeration_is_a_bug(void **state)
{
    (void)state;
    assert_true(dies(ask_unknown_code, NULL));
}

static int set_up(void **state)
{
    (void)state;
    read_reviewed();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outcome__a_sqlstate_packs_as_postgresql_packs_it),
        cmocka_unit_test(outcome__a_sqlstate_unpacks_to_what_was_packed),
        cmocka_unit_test(outcome__what_is_no_sqlstate_packs_to_nothing),
        cmocka_unit_test(outcome__the_table_is_in_order),
        cmocka_unit_test(outcome__a_rule_is_told_in_one_plain_sentence),
        cmocka_unit_test(outcome__the_search_finds_what_a_slow_one_finds),
        cmocka_unit_test(outcome__every_number_has_a_rule),
        cmocka_unit_test(outcome__a_code_nobody_defined_follows_its_class),
        cmocka_unit_test(outcome__a_class_nobody_defined_is_the_applications_own),
        cmocka_unit_test(outcome__every_rule_is_as_it_was_reviewed),
        cmocka_unit_test(outcome__every_local_code_was_reviewed),
        cmocka_unit_test(outcome__every_code_of_postgresql_has_a_deliberate_rule),
        cmocka_unit_test(outcome__every_row_speaks_for_a_code_of_postgresql),
        cmocka_unit_test(outcome__the_installed_postgresql_defines_nothing_else),
        cmocka_unit_test(outcome__a_lost_answer_allows_what_its_phase_proves),
        cmocka_unit_test(outcome__an_answered_error_allows_what_it_proves),
        cmocka_unit_test(outcome__only_what_can_be_repeated_whole_and_unseen_is_repeated),
        cmocka_unit_test(outcome__a_lost_commit_is_never_repeated),
        cmocka_unit_test(outcome__only_what_may_be_committed_is_resolved),
        cmocka_unit_test(outcome__a_dangerous_fact_never_permits_anything),
        cmocka_unit_test(outcome__a_vouching_fact_never_forbids_anything),
        cmocka_unit_test(outcome__a_refusal_of_our_own_says_nothing_of_the_endpoint),
        cmocka_unit_test(outcome__a_cancelled_statement_counts_only_if_a_limit_cancelled_it),
        cmocka_unit_test(outcome__a_transaction_that_asked_for_read_only_costs_no_primary_its_role),
        cmocka_unit_test(outcome__the_client_gets_the_servers_own_code),
        cmocka_unit_test(outcome__what_we_refuse_reads_as_refused_before_anything_happened),
        cmocka_unit_test(outcome__what_broke_on_our_way_is_not_taken_for_rolled_back),
        cmocka_unit_test(outcome__names_are_words_and_no_two_alike),
        cmocka_unit_test(outcome__an_ending_outside_of_the_enumeration_is_a_bug),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
