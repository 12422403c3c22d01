#include "unit.h"

#include "proxy/hosts.h"

static struct proxy_database two(enum proxy_balance balance, enum proxy_target target)
{
    return (struct proxy_database){
        .host_count = 2, .load_balance_hosts = balance, .target_session_attrs = target};
}

static void hosts__the_first_that_works_is_used(void **state)
{
    (void)state;
    struct proxy_database database = two(PROXY_BALANCE_DISABLE, PROXY_TARGET_ANY);
    struct hosts hosts = {0};
    assert_int_equal(hosts_turn(&hosts, &database, 1), 0);
    assert_int_equal(hosts_turn(&hosts, &database, 1), 0);
    /* Two attempts at it fail: it is passed over once. */
    assert_true(hosts_failed(&hosts, &database, 0));
    assert_true(hosts_failed(&hosts, &database, 0));
    assert_int_equal(hosts_turn(&hosts, &database, 2), 1);
    hosts_worked(&hosts, &database, 1, 2);
    assert_int_equal(hosts_turn(&hosts, &database, 1 + HOSTS_HOME_NS), 1);
    hosts_worked(&hosts, &database, 1, 1 + HOSTS_HOME_NS);
    assert_int_equal(hosts_turn(&hosts, &database, 2 + HOSTS_HOME_NS), 0);
}

static void hosts__a_round_ends_when_all_have_failed(void **state)
{
    (void)state;
    struct proxy_database database = two(PROXY_BALANCE_DISABLE, PROXY_TARGET_ANY);
    struct hosts hosts = {0};
    assert_true(hosts_failed(&hosts, &database, 0));
    assert_false(hosts_failed(&hosts, &database, 1));
    assert_true(hosts_failed(&hosts, &database, 0));
    struct proxy_database one = database;
    one.host_count = 1;
    hosts = (struct hosts){0};
    assert_false(hosts_failed(&hosts, &one, 0));
    assert_int_equal(hosts_turn(&hosts, &one, 1), 0);
}

static void hosts__in_round_robin_each_has_its_turn(void **state)
{
    (void)state;
    struct proxy_database database = two(PROXY_BALANCE_ROUND_ROBIN, PROXY_TARGET_ANY);
    struct hosts hosts = {0};
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(hosts_turn(&hosts, &database, 1), i % 2);
        hosts_worked(&hosts, &database, i % 2, 1);
    }
    assert_int_equal(hosts_turn(&hosts, &database, 1), 0);
    assert_true(hosts_failed(&hosts, &database, 0));
    assert_int_equal(hosts_turn(&hosts, &database, 1), 1);
}

static void hosts__patience_is_short_in_the_first_round_only(void **state)
{
    (void)state;
    struct proxy_database database = two(PROXY_BALANCE_DISABLE, PROXY_TARGET_ANY);
    struct hosts hosts = {0};
    assert_int_equal(hosts_patience(&hosts, &database, false, HF_SEC(5)), HOSTS_CONNECT_NS);
    assert_int_equal(hosts_patience(&hosts, &database, true, HF_SEC(5)), HOSTS_LOGIN_NS);
    assert_int_equal(hosts_patience(&hosts, &database, true, HF_MS(5)), HF_MS(5));
    hosts_failed(&hosts, &database, 0);
    hosts_failed(&hosts, &database, 1);
    assert_int_equal(hosts_patience(&hosts, &database, false, HF_SEC(5)), HF_SEC(5));
    database.host_count = 1;
    hosts = (struct hosts){0};
    assert_int_equal(hosts_patience(&hosts, &database, false, HF_SEC(5)), HF_SEC(5));
}

static void hosts__roles_are_told_by_what_is_reported(void **state)
{
    static const struct {
        enum proxy_target target;
        const char *standby, *read_only;
        bool fits;
    } cases[] = {
        {PROXY_TARGET_ANY, "", "", true},
        {PROXY_TARGET_READ_WRITE, "off", "off", true},
        {PROXY_TARGET_READ_WRITE, "off", "on", false},
        {PROXY_TARGET_READ_WRITE, "on", "off", false},
        {PROXY_TARGET_READ_WRITE, "", "", false},
        {PROXY_TARGET_READ_ONLY, "off", "off", false},
        {PROXY_TARGET_READ_ONLY, "off", "on", true},
        {PROXY_TARGET_READ_ONLY, "on", "off", true},
        {PROXY_TARGET_PRIMARY, "off", "on", true},
        {PROXY_TARGET_PRIMARY, "on", "off", false},
        {PROXY_TARGET_STANDBY, "on", "off", true},
        {PROXY_TARGET_STANDBY, "off", "on", false},
        {PROXY_TARGET_PREFER_STANDBY, "on", "off", true},
        {PROXY_TARGET_PREFER_STANDBY, "off", "off", false},
    };
    struct hf_err err;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct proxy_database database = two(PROXY_BALANCE_DISABLE, cases[i].target);
        struct hosts hosts = {0};
        err_clear(&err);
        bool fits = hosts_fits(&hosts, &database, sv_from_cstr(cases[i].standby),
                               sv_from_cstr(cases[i].read_only), &err);
        assert_int_equal(fits, cases[i].fits);
        assert_int_equal(err.rc, fits ? HF_OK : HF_RC_AGAIN);
    }
}

static void hosts__a_primary_does_where_no_standby_is(void **state)
{
    (void)state;
    struct proxy_database database = two(PROXY_BALANCE_DISABLE, PROXY_TARGET_PREFER_STANDBY);
    struct hosts hosts = {0};
    struct hf_err err;
    hosts_failed(&hosts, &database, 0);
    assert_false(hosts_fits(&hosts, &database, SV("off"), SV("off"), &err));
    hosts_failed(&hosts, &database, 1);
    assert_true(hosts_fits(&hosts, &database, SV("off"), SV("off"), &err));
    hosts_worked(&hosts, &database, 0, 1);
    assert_true(hosts_fits(&hosts, &database, SV("off"), SV("off"), &err));
    hosts_turn(&hosts, &database, 1 + HOSTS_HOME_NS); /* is there a standby now? */
    assert_false(hosts_fits(&hosts, &database, SV("off"), SV("off"), &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts__the_first_that_works_is_used),
        cmocka_unit_test(hosts__a_round_ends_when_all_have_failed),
        cmocka_unit_test(hosts__in_round_robin_each_has_its_turn),
        cmocka_unit_test(hosts__patience_is_short_in_the_first_round_only),
        cmocka_unit_test(hosts__roles_are_told_by_what_is_reported),
        cmocka_unit_test(hosts__a_primary_does_where_no_standby_is),
    };
    return cmocka_run_group_tests_name("hosts", tests, NULL, NULL);
}
