#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "sql/acts.h"
#include "sql/acts_plain.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define TEXT_MAX     512

/* What the whole of the text does by its tokens, with no short way. */
static bool has_acts(struct sv text)
{
    static const struct lex_rules standard = {0};
    struct acts_walk walk;
    struct acts_statement statement;
    uint32_t mask = 0, count = 0;
    acts_begin(&walk, text, &standard);
    while (acts_next(&walk, &statement)) {
        mask |= statement.mask;
        count++;
    }
    return mask != 0 || count > 1;
}

static void check(struct sv text)
{
    if (acts_is_plain(text) && has_acts(text))
        fail_msg("is not plain: %.*s", (int)text.size, text.data);
}

static void acts_plain__ordinary_texts_are_plain(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;",
        "select * from t where a = $1",
        " \t\nSELECT 1 ; \n",
        "UPDATE pgbench_accounts SET abalance = abalance + -12 WHERE aid = 100000;",
        "INSERT INTO pgbench_history (tid, bid, aid, delta) VALUES (1, 2, 3, current_timestamp)",
        "DELETE FROM attempts WHERE list_price > 3 AND attempt = 1 AND employee & 1 = 0",
        "VALUES (1), (2)",
        "with a as (select 1) select * from a where last_name = 'x' and big_table = 'y'",
    };
    for (size_t i = 0; i < COUNT(texts); i++)
        if (!acts_is_plain(sv_from_cstr(texts[i])))
            fail_msg("is plain: %s", texts[i]);
}

static void acts_plain__other_texts_are_left_to_others(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", ";", "SELECT", "SET x = 1", "BEGIN", "selected 1 2 3", "select_ 1 2 3", "within a b c",
    };
    for (size_t i = 0; i < COUNT(texts); i++)
        assert_false(acts_is_plain(sv_from_cstr(texts[i])));
}

/* Each suspicious part at each place of texts of each length. */
static void acts_plain__nothing_suspicious_is_passed_over(void **state)
{
    (void)state;
    static const char *const parts[] = {
        ";",
        "set_config(",
        "SET_CONFIG(",
        "pg_advisory_lock(",
        "PG_Try_Advisory_lock(",
        "pg_temp",
        "TEMP ",
        "temporary ",
        "U&\"",
        "u&\"",
    };
    char text[TEXT_MAX];
    for (size_t i = 0; i < COUNT(parts); i++) {
        size_t size = strlen(parts[i]);
        for (size_t length = 9 + size; length < 120; length++) {
            for (size_t at = 7; at + size < length; at++) {
                memset(text, ' ', length);
                memcpy(text, "SELECT", 6);
                text[length - 1] = 'x';
                memcpy(text + at, parts[i], size);
                if (acts_is_plain(sv_from(text, length)))
                    fail_msg("%s is passed over at %zu of %zu", parts[i], at, length);
            }
        }
    }
}

/* What matters and what looks like it; the first ones begin a statement. */
static const char *const chances[] = {
    "select ",
    "SELECT\t",
    "insert into ",
    "update t ",
    "delete ",
    "with ",
    "values ",
    "set ",
    "temp",
    "TEMP",
    "temporary",
    "table ",
    "create ",
    "into ",
    "pg_temp",
    "pg_",
    "set_config",
    "(",
    ")",
    "'",
    "\"",
    "$$",
    "/*",
    "*/",
    "--",
    "\n",
    ";",
    " ",
    "U&\"",
    "&",
    "_",
    "m",
    "em",
    "advisory_lock(1)",
    "pg_advisory_unlock_all()",
    "'true'",
    ", true)",
    "$1",
    "E'\\'",
    "local ",
    "pg_try_advisory_lock(1)",
    "name",
    "last_change",
    "big_tag",
    "reset ",
    "listen a",
    "discard ",
    "x",
    "\x80",
    "abcdefghijklmnopqrstuvwxyz",
    "begin ",
    "prepare ",
    "execute ",
};

/* Texts by chance. */
static void acts_plain__what_is_plain_has_no_acts(void **state)
{
    (void)state;
    struct rng rng;
    char text[TEXT_MAX];
    size_t plain = 0;
    rng_init(&rng, 1);
    for (int round = 0; round < 200000; round++) {
        size_t size = 0;
        size_t count = 1 + (size_t)rng_below(&rng, 12);
        for (size_t i = 0; i < count; i++) {
            const char *part = chances[rng_below(&rng, i == 0 ? 7 : COUNT(chances))];
            size_t length = strlen(part);
            if (length > sizeof text - size)
                break;
            memcpy(text + size, part, length);
            size += length;
        }
        check(sv_from(text, size));
        plain += acts_is_plain(sv_from(text, size));
    }
    assert_true(plain > 20000); /* else nothing was tried */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acts_plain__ordinary_texts_are_plain),
        cmocka_unit_test(acts_plain__other_texts_are_left_to_others),
        cmocka_unit_test(acts_plain__nothing_suspicious_is_passed_over),
        cmocka_unit_test(acts_plain__what_is_plain_has_no_acts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
