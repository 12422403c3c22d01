#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <string.h>
#include <unistd.h>

#include "net/address.h"

static void assert_text(const struct address *address, const char *expected)
{
    char text[ADDRESS_TEXT_SIZE];
    assert_string_equal(address_text(address, text), expected);
}

static void address__literals_are_read_and_names_are_left(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        const char *text; /* NULL: no literal */
    } cases[] = {
        {"127.0.0.1", "127.0.0.1:5432"},
        {"0.0.0.0", "0.0.0.0:5432"},
        {"::1", "[::1]:5432"},
        {"2001:DB8::0:1", "[2001:db8::1]:5432"},
        {"::ffff:192.0.2.1", "[::ffff:192.0.2.1]:5432"},
        {"fe80::1%1", "[fe80::1%1]:5432"},
        {"fe80::1%lo", "[fe80::1%1]:5432"},
        {"fe80::1%nosuch", NULL},
        {"fe80::1%", NULL},
        {"127.0.0.1%lo", NULL},
        {"", NULL},
        {"localhost", NULL},
        {"db.example", NULL},
        {"127.1", NULL},
        {"127.0.0.1 ", NULL},
        {"256.0.0.1", NULL},
        {"[::1]", NULL},
        {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct address address;
        bool is_literal = address_literal(&address, sv_from_cstr(cases[i].host), 5432);
        assert_int_equal(is_literal, cases[i].text != NULL);
        assert_int_equal(address_is_set(&address), is_literal);
        assert_text(&address, is_literal ? cases[i].text : "none");
    }
}

static void address__a_directory_becomes_the_socket_in_it(void **state)
{
    (void)state;
    struct address address;
    struct hf_err err;
    assert_true(address_host_is_unix(SV("/tmp")));
    assert_true(address_host_is_unix(SV("@name")));
    assert_false(address_host_is_unix(SV("tmp")));
    assert_false(address_host_is_unix(SV("")));
    assert_int_equal(address_unix(&address, SV("/run/postgresql"), 5432, &err), HF_OK);
    assert_text(&address, "/run/postgresql/.s.PGSQL.5432");
    assert_true(address_is_unix(&address));
    assert_int_equal(address_port(&address), 0);
    assert_int_equal(address.size, offsetof(struct sockaddr_un, sun_path) +
                                       sizeof "/run/postgresql/.s.PGSQL.5432");
    /* An abstract name has a zero byte for its @, and none at its end. */
    assert_int_equal(address_unix(&address, SV("@db"), 6432, &err), HF_OK);
    assert_text(&address, "@db/.s.PGSQL.6432");
    assert_int_equal(address.sa.path.sun_path[0], '\0');
    assert_int_equal(address.size,
                     offsetof(struct sockaddr_un, sun_path) + strlen("@db/.s.PGSQL.6432"));
}

static void address__a_path_that_the_system_does_not_take_is_refused(void **state)
{
    (void)state;
    /* With "/.s.PGSQL.1" the path has 107 characters and its zero byte: as long as may be. */
    char longest[96 + 1];
    memset(longest, 'd', sizeof longest);
    longest[0] = '/';
    struct address address;
    struct hf_err err;
    assert_int_equal(address_unix(&address, sv_from(longest, 96), 1, &err), HF_OK);
    char text[ADDRESS_TEXT_SIZE];
    assert_int_equal(strlen(address_text(&address, text)), 107);
    assert_int_equal(address_unix(&address, sv_from(longest, 96), 10, &err), HF_RC_INVALID);
    assert_false(address_is_set(&address));
    assert_int_equal(address_unix(&address, sv_from(longest, 97), 1, &err), HF_RC_INVALID);
    assert_string_not_equal(err.hint, "");
    assert_int_equal(address_unix(&address, SV("/a\0b"), 1, &err), HF_RC_INVALID);
}

static void address__what_the_kernel_tells_is_taken_with_care(void **state)
{
    (void)state;
    struct address address;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(77)};
    inet_pton(AF_INET, "192.0.2.3", &v4.sin_addr);
    address_from_sockaddr(&address, (const struct sockaddr *)&v4, sizeof v4);
    assert_text(&address, "192.0.2.3:77");
    address_from_sockaddr(&address, (const struct sockaddr *)&v4, sizeof v4 - 1);
    assert_text(&address, "none");
    address_from_sockaddr(&address, (const struct sockaddr *)&v4, 1);
    assert_text(&address, "none");
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    address_from_sockaddr(&address, (const struct sockaddr *)&v6, sizeof v6);
    assert_text(&address, "[::1]:0");
    struct sockaddr_un client = {.sun_family = AF_UNIX};
    address_from_sockaddr(&address, (const struct sockaddr *)&client, sizeof client.sun_family);
    assert_text(&address, "unix");
    assert_true(address_is_unix(&address));
    memcpy(client.sun_path, "/tmp/\n", 6);
    address_from_sockaddr(&address, (const struct sockaddr *)&client, sizeof client);
    assert_text(&address, "/tmp/?");
    struct sockaddr_storage other = {.ss_family = AF_PACKET};
    address_from_sockaddr(&address, (const struct sockaddr *)&other, sizeof other);
    assert_text(&address, "none");
}

static void address__equal_is_the_same_socket(void **state)
{
    (void)state;
    struct address all[8];
    struct hf_err err;
    address_any_v4(&all[0], 5432);
    address_any_v6(&all[1], 5432);
    assert_true(address_literal(&all[2], SV("127.0.0.1"), 5432));
    assert_true(address_literal(&all[3], SV("127.0.0.1"), 5433));
    assert_true(address_literal(&all[4], SV("fe80::1%1"), 5432));
    assert_true(address_literal(&all[5], SV("fe80::1%2"), 5432));
    assert_int_equal(address_unix(&all[6], SV("/tmp"), 1, &err), HF_OK);
    assert_int_equal(address_unix(&all[7], SV("@tmp"), 1, &err), HF_OK);
    for (size_t i = 0; i < 8; i++) {
        for (size_t j = 0; j < 8; j++)
            assert_int_equal(address_eq(&all[i], &all[j]), i == j);
    }
    address_set_port(&all[3], 5432);
    assert_true(address_eq(&all[2], &all[3]));
    address_set_port(&all[1], 9);
    assert_int_equal(address_port(&all[1]), 9);
    address_set_port(&all[6], 9);
    assert_text(&all[6], "/tmp/.s.PGSQL.1");
    /* A path ends at its zero byte, wherever the kernel says it does. */
    struct address padded = all[6];
    padded.size = sizeof(struct sockaddr_un);
    assert_true(address_eq(&padded, &all[6]));
    struct address none = {.size = 0};
    assert_true(address_eq(&none, &none));
    assert_false(address_eq(&none, &all[0]));
}

/* ---- peers ---- */

static struct peer peer_of(const char *host)
{
    struct address address;
    assert_true(address_literal(&address, sv_from_cstr(host), 40000));
    return peer_from_address(&address);
}

static void address__a_peer_is_its_ip_and_port(void **state)
{
    (void)state;
    char text[PEER_TEXT_SIZE];
    struct peer peer = peer_of("192.0.2.1");
    assert_int_equal(peer.port, 40000);
    assert_string_equal(peer_text(&peer, text), "192.0.2.1");
    struct peer mapped = peer_of("::ffff:192.0.2.1");
    assert_true(peer_eq(&peer, &mapped));
    peer = peer_of("2001:db8::1");
    assert_string_equal(peer_text(&peer, text), "2001:db8::1");
    peer = peer_of("::1");
    assert_string_equal(peer_text(&peer, text), "::1");
    struct address address;
    assert_int_equal(address_unix(&address, SV("/tmp"), 1, NULL), HF_OK);
    peer = peer_from_address(&address);
    assert_string_equal(peer_text(&peer, text), "unix");
    memset(&address, 0, sizeof address);
    peer = peer_from_address(&address);
    assert_string_equal(peer_text(&peer, text), "none");
}

static void address__a_source_is_an_address_or_a_network_of_ipv6(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool is_same;
    } cases[] = {
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true},
        {"2001:db8:1:2::1", "2001:db8:1:3::1", false},
        {"192.0.2.1", "::ffff:192.0.2.1", true},
    };
    struct hash_key key = hash_key_from_seed(1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct peer a = peer_of(cases[i].a), b = peer_of(cases[i].b);
        b.port = 1;
        assert_false(peer_eq(&a, &b));
        a = peer_source(&a);
        b = peer_source(&b);
        assert_int_equal(peer_eq(&a, &b), cases[i].is_same);
        assert_int_equal(peer_hash(&key, &a) == peer_hash(&key, &b), cases[i].is_same);
    }
}

/* ---- rules ---- */

/* The machine that the rules below are about: the linker sends the module's calls here. */
int __wrap_getifaddrs(struct ifaddrs **list);
void __wrap_freeifaddrs(struct ifaddrs *list);

static bool interfaces_fail;

int __wrap_getifaddrs(struct ifaddrs **list)
{
    static struct ifaddrs nodes[4];
    static struct address ips[3], masks[3];
    static const char *const texts[][2] = {{"127.0.0.1", "255.0.0.0"},
                                           {"198.51.100.7", "255.255.255.0"},
                                           {"2001:db8:9::7", "ffff:ffff:ffff::"}};
    if (interfaces_fail) {
        errno = ENOMEM;
        return -1;
    }
    /* The first one is down: it has no address. */
    nodes[0].ifa_next = &nodes[1];
    for (size_t i = 0; i < 3; i++) {
        assert_true(address_literal(&ips[i], sv_from_cstr(texts[i][0]), 0));
        assert_true(address_literal(&masks[i], sv_from_cstr(texts[i][1]), 0));
        nodes[i + 1].ifa_addr = &ips[i].sa.any;
        nodes[i + 1].ifa_netmask = &masks[i].sa.any;
        nodes[i + 1].ifa_next = i < 2 ? &nodes[i + 2] : NULL;
    }
    *list = nodes;
    return 0;
}

void __wrap_freeifaddrs(struct ifaddrs *list)
{
    assert_non_null(list);
}

static void address__a_rule_means_the_peers_of_its_network(void **state)
{
    (void)state;
    static const struct {
        const char *address, *mask, *peer;
        bool matches;
    } cases[] = {
        {"192.0.2.0/24", "", "192.0.2.255", true},
        {"192.0.2.0/24", "", "192.0.3.0", false},
        {"192.0.2.77/24", "", "192.0.2.1", true}, /* bits of the host do not count */
        {"192.0.2.128/25", "", "192.0.2.127", false},
        {"192.0.2.128/25", "", "192.0.2.200", true},
        {"192.0.2.1/32", "", "192.0.2.1", true},
        {"192.0.2.1/32", "", "192.0.2.2", false},
        {"0.0.0.0/0", "", "203.0.113.9", true},
        {"0.0.0.0/0", "", "::1", false},
        {"::/0", "", "2001:db8::1", true},
        {"::/0", "", "192.0.2.1", false},
        {"2001:db8::/33", "", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "", "2001:db8:8000::1", false},
        {"::1/128", "", "::1", true},
        {"192.0.2.0", "255.255.255.0", "192.0.2.9", true},
        {"192.0.2.0", "255.255.255.0", "192.0.1.9", false},
        {"2001:db8::", "ffff:ffff::", "2001:db8:5::", true},
        {"192.0.2.0/24", "", "::ffff:192.0.2.9", true},
        {"all", "", "2001:db8::1", true},
        {"all", "", "192.0.2.1", true},
        {"samehost", "", "127.0.0.1", true},
        {"samehost", "", "127.0.0.2", false},
        {"samehost", "", "192.0.2.254", false},
        {"samenet", "", "127.0.0.2", true},
        {"samenet", "", "192.0.2.254", false},
        {"samehost", "", "198.51.100.7", true},
        {"samehost", "", "198.51.100.8", false},
        {"samenet", "", "198.51.100.8", true},
        {"samenet", "", "198.51.101.8", false},
        {"samehost", "", "2001:db8:9::7", true},
        {"samenet", "", "2001:db8:9:1::7", true},
        {"samenet", "", "2001:db8:8::7", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cidr cidr;
        struct hf_err err;
        struct peer peer = peer_of(cases[i].peer);
        enum hf_rc rc =
            cidr_parse(&cidr, sv_from_cstr(cases[i].address), sv_from_cstr(cases[i].mask), &err);
        if (rc != HF_OK)
            fail_msg("case %zu: %s", i, err.message);
        if (cidr_match(&cidr, &peer) != cases[i].matches)
            fail_msg("case %zu: %s and %s", i, cases[i].address, cases[i].peer);
        struct peer local = {.family = AF_UNIX};
        assert_false(cidr_match(&cidr, &local));
    }
    /* Where the machine cannot be asked, nobody is of its house. */
    struct cidr house = {.kind = CIDR_SAMENET};
    struct peer self = peer_of("127.0.0.1");
    assert_true(cidr_match(&house, &self));
    interfaces_fail = true;
    assert_false(cidr_match(&house, &self));
    interfaces_fail = false;
    struct cidr none = {.kind = CIDR_NONE};
    struct peer peer = peer_of("127.0.0.1");
    assert_false(cidr_match(&none, &peer));
}

static void address__a_rule_that_cannot_be_read_is_refused(void **state)
{
    (void)state;
    static const struct {
        struct sv address, mask;
    } cases[] = {
        {SV_INIT(""), SV_INIT("")},
        {SV_INIT("192.0.2.1"), SV_INIT("")},
        {SV_INIT("192.0.2.0/33"), SV_INIT("")},
        {SV_INIT("192.0.2.0/-1"), SV_INIT("")},
        {SV_INIT("192.0.2.0/"), SV_INIT("")},
        {SV_INIT("192.0.2.0/24x"), SV_INIT("")},
        {SV_INIT("::/129"), SV_INIT("")},
        {SV_INIT("/24"), SV_INIT("")},
        {SV_INIT("192.0.2.0/24"), SV_INIT("255.255.255.0")},
        {SV_INIT("192.0.2.0"), SV_INIT("24")},
        {SV_INIT("192.0.2.0"), SV_INIT("ffff::")},
        {SV_INIT("::1"), SV_INIT("255.255.255.0")},
        {SV_INIT("all"), SV_INIT("255.0.0.0")},
        {SV_INIT("db.example"), SV_INIT("")},
        {SV_INIT(".example.com"), SV_INIT("")},
        {SV_INIT("192.0.2.0\0/24"), SV_INIT("")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cidr cidr;
        struct hf_err err;
        struct peer peer = peer_of("192.0.2.0");
        assert_int_equal(cidr_parse(&cidr, cases[i].address, cases[i].mask, &err), HF_RC_INVALID);
        assert_string_not_equal(err.hint, "");
        assert_false(cidr_match(&cidr, &peer));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(address__literals_are_read_and_names_are_left),
        cmocka_unit_test(address__a_directory_becomes_the_socket_in_it),
        cmocka_unit_test(address__a_path_that_the_system_does_not_take_is_refused),
        cmocka_unit_test(address__what_the_kernel_tells_is_taken_with_care),
        cmocka_unit_test(address__equal_is_the_same_socket),
        cmocka_unit_test(address__a_peer_is_its_ip_and_port),
        cmocka_unit_test(address__a_source_is_an_address_or_a_network_of_ipv6),
        cmocka_unit_test(address__a_rule_means_the_peers_of_its_network),
        cmocka_unit_test(address__a_rule_that_cannot_be_read_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
