/*
 * Groups of clients: who is meant, and what may be said of them.
 */
#include "unit.h"

#include <arpa/inet.h>
#include <string.h>

#include "proxy/groups.h"

static struct hf_err err;

static void groups__a_name_fits_a_list_of_patterns(void **state)
{
    (void)state;
    static const struct {
        const char *patterns;
        const char *name;
        bool fits;
    } cases[] = {
        {"", "anything", true},
        {"", "", true},
        {"app", "app", true},
        {"app", "apps", false},
        {"app", "App", false},
        {"app*", "apps", true},
        {"app*", "app", true},
        {"*", "", true},
        {"*app", "my app", true},
        {"*app", "apple", false},
        {"a*b*c", "aXbYbZc", true},
        {"a*b*c", "aXbYbZ", false},
        {"?pp", "app", true},
        {"?pp", "pp", false},
        {"a?*", "a", false},
        {"one, two , three*", "two", true},
        {"one, two , three*", "threefold", true},
        {"one, two , three*", "four", false},
        {"one,", "one", true},
        {"**a**", "xay", true},
        {"*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (group_fits(cases[i].patterns, sv_from_cstr(cases[i].name)) != cases[i].fits)
            fail_msg("\"%s\" and \"%s\"", cases[i].patterns, cases[i].name);
}

static struct peer peer_of(const char *address)
{
    struct peer peer = {.family = AF_INET};
    assert_int_equal(inet_pton(AF_INET, address, peer.ip), 1);
    return peer;
}

static void groups__a_client_is_in_a_group_if_all_of_it_fits(void **state)
{
    (void)state;
    static const struct {
        const char *role, *database, *application_name, *address;
        bool is_in;
    } cases[] = {
        {"", "", "", "", true},
        {"bob", "", "", "", true},
        {"alice", "", "", "", false},
        {"bob", "shop", "web*", "10.0.0.0/8", true},
        {"bob", "shop", "web*", "192.0.2.0/24", false},
        {"bob", "shop", "batch", "10.0.0.0/8", false},
        {"bob", "stock", "web*", "10.0.0.0/8", false},
        {"", "", "", "192.0.2.0/24, 10.1.2.3/32", true},
    };
    const struct peer peer = peer_of("10.1.2.3");
    const struct group_member member = {
        .role = SV("bob"), .database = SV("shop"), .application_name = SV("web1"), .peer = &peer};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct group group = {0};
        const char *key;
        const struct sv said[] = {sv_from_cstr(cases[i].role), sv_from_cstr(cases[i].database),
                                  sv_from_cstr(cases[i].application_name),
                                  sv_from_cstr(cases[i].address)};
        char *into[] = {group.role, group.database, group.application_name, group.address};
        for (size_t j = 0; j < 4; j++)
            assert_true(sv_copy(said[j], into[j], GROUPS_PATTERN_SIZE));
        assert_int_equal(group_finish(&group, &key, &err), HF_OK);
        if (group_has(&group, &member) != cases[i].is_in)
            fail_msg("case %zu", i);
    }
}

static void groups__an_address_that_is_none_is_refused_with_its_setting(void **state)
{
    (void)state;
    struct group group = {.address = "10.0.0.0/8, somewhere"};
    const char *key = NULL;
    assert_int_not_equal(group_finish(&group, &key, &err), HF_OK);
    assert_string_equal(key, "address");
    assert_string_not_equal(err.hint, "");
    group = (struct group){.address = "1.0.0.0/8,2.0.0.0/8,3.0.0.0/8,4.0.0.0/8,5.0.0.0/8,6.0.0.0/8,"
                                      "7.0.0.0/8,8.0.0.0/8,9.0.0.0/8"};
    assert_int_equal(group_finish(&group, &key, &err), HF_RC_LIMIT);
    assert_string_equal(err.message, "there are more than 8 addresses");
}

static void groups__one_without_a_number_limits_nothing(void **state)
{
    (void)state;
    assert_false(group_limits(&(struct group){.queue_max = 10, .rate_burst = 10}));
    assert_true(group_limits(&(struct group){.clients_max = 1}));
    assert_true(group_limits(&(struct group){.concurrency_max = 1}));
    assert_true(group_limits(&(struct group){.rate = 1}));
    assert_true(group_limits(&(struct group){.weight = 1}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups__a_name_fits_a_list_of_patterns),
        cmocka_unit_test(groups__a_client_is_in_a_group_if_all_of_it_fits),
        cmocka_unit_test(groups__an_address_that_is_none_is_refused_with_its_setting),
        cmocka_unit_test(groups__one_without_a_number_limits_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
