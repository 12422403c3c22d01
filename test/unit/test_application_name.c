/*
 * application_name with the client's address: how it is written, cut and taken off again.
 */
#include "unit.h"

#include <arpa/inet.h>
#include <string.h>

#include "proxy/application_name.h"

static void application_name__it_is_written_cut_and_taken_off_again(void **state)
{
    (void)state;
    static const struct {
        int family;
        const char *address;
        const char *name;
        const char *full;
        const char *plain;
    } cases[] = {
        {AF_INET, "10.0.0.7", "till", "till - 10.0.0.7:40222", "till"},
        {AF_INET, "10.0.0.7", "", "app - 10.0.0.7:40222", "app"},
        {AF_INET, "10.0.0.7", "123456789012345678901234567890123456789012345678901234567890123",
         "1234567890123456789012345678901234567890123456 - 10.0.0.7:40222",
         "1234567890123456789012345678901234567890123456"},
        {AF_INET6, "2001:db8:1111:2222:3333:4444:5555:6666", "a long name of a client",
         "a long name of - 2001:db8:1111:2222:3333:4444:5555:6666:40222", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct peer peer = {.family = (uint8_t)cases[i].family, .port = 40222};
        char out[APPLICATION_NAME_SIZE];
        assert_int_equal(inet_pton(cases[i].family, cases[i].address, peer.ip), 1);
        struct sv name = application_name_with(sv_from_cstr(cases[i].name), &peer, out);
        assert_true(name.size < sizeof out && name.size == strlen(out));
        if (cases[i].plain == NULL)
            continue;
        assert_string_equal(out, cases[i].full);
        struct sv plain = application_name_plain(name, &peer);
        assert_true(sv_eq(plain, sv_from_cstr(cases[i].plain)));
        assert_true(sv_eq(application_name_plain(plain, &peer), plain));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(application_name__it_is_written_cut_and_taken_off_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
