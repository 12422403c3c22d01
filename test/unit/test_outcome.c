/*
 * The table against the list of codes that PostgreSQL defines, and what breakers, watchers and
 * clients hear of an ending. What may be repeated is in test_outcome_repeat.c.
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

static void outcome__an_ending_is_looked_up_by_its_code(void **state)
{
    (void)state;
    const struct outcome deadlock = {OUTCOME_SQLSTATE, sqlstate_pack("40P01")};
    assert_string_equal(outcome_rule(deadlock)->code, "40P01");
    const struct outcome lost = {.code = OUTCOME_CONN_LOST, .sqlstate = sqlstate_pack("40P01")};
    assert_string_equal(outcome_rule(lost)->code, "conn_lost");
    const struct outcome success = {.code = OUTCOME_SUCCESS};
    assert_int_equal(outcome_rule(success)->kind, OUTCOME_KIND_NONE);
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
        cmocka_unit_test(outcome__an_ending_is_looked_up_by_its_code),
        cmocka_unit_test(outcome__every_number_has_a_rule),
        cmocka_unit_test(outcome__a_code_nobody_defined_follows_its_class),
        cmocka_unit_test(outcome__a_class_nobody_defined_is_the_applications_own),
        cmocka_unit_test(outcome__every_rule_is_as_it_was_reviewed),
        cmocka_unit_test(outcome__every_local_code_was_reviewed),
        cmocka_unit_test(outcome__every_code_of_postgresql_has_a_deliberate_rule),
        cmocka_unit_test(outcome__every_row_speaks_for_a_code_of_postgresql),
        cmocka_unit_test(outcome__the_installed_postgresql_defines_nothing_else),
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
