#include "unit.h"

#include <sys/socket.h>

#include "base/ns.h"
#include "proxy/slow.h"

static struct slow slow;

static int begin(void **state)
{
    (void)state;
    slow_init(&slow, hash_key_from_seed(1));
    return 0;
}

static struct peer ip4(uint8_t last, uint16_t port)
{
    return (struct peer){.family = AF_INET, .port = port, .ip = {192, 0, 2, last}};
}

static struct peer ip6(uint8_t network, uint8_t last)
{
    struct peer peer = {.family = AF_INET6, .ip = {0x20, 0x01, 0x0d, 0xb8}};
    peer.ip[7] = network;
    peer.ip[15] = last;
    return peer;
}

static int64_t failed(struct peer peer, int64_t at_ns)
{
    return slow_failed(&slow, &peer, at_ns);
}

static void succeeded(struct peer peer)
{
    slow_succeeded(&slow, &peer);
}

static void slow__each_failure_doubles_the_wait_up_to_the_longest(void **state)
{
    (void)state;
    static const int64_t waits_ms[] = {250, 500, 1000, 2000, 4000, 8000, 8000, 8000};
    for (size_t i = 0; i < sizeof waits_ms / sizeof waits_ms[0]; i++)
        assert_int_equal(failed(ip4(1, 5000), HF_SEC(1000 + (int64_t)i)), HF_MS(waits_ms[i]));
}

static void slow__the_first_failure_waits_the_same_whenever_the_clock_began(void **state)
{
    (void)state;
    assert_int_equal(failed(ip4(1, 5000), 0), SLOW_FIRST_NS);
    assert_int_equal(failed(ip4(2, 5000), HF_SEC(59)), SLOW_FIRST_NS);
}

static void slow__a_minute_without_failure_forgets(void **state)
{
    (void)state;
    failed(ip4(1, 5000), HF_SEC(100));
    assert_int_equal(failed(ip4(1, 5000), HF_SEC(100) + SLOW_FORGET_NS - 1), 2 * SLOW_FIRST_NS);
    assert_int_equal(failed(ip4(1, 5000), HF_SEC(100) + 2 * SLOW_FORGET_NS - 1), SLOW_FIRST_NS);
}

static void slow__a_login_that_succeeds_forgets(void **state)
{
    (void)state;
    failed(ip4(1, 5000), HF_SEC(100));
    failed(ip4(1, 5000), HF_SEC(100));
    succeeded(ip4(1, 6000));
    assert_int_equal(failed(ip4(1, 7000), HF_SEC(100)), SLOW_FIRST_NS);
}

/* Of addresses, not of ports; of networks, where an address of IPv6 costs nothing. */
static void slow__another_port_is_no_other_guesser_and_another_address_is(void **state)
{
    (void)state;
    failed(ip4(1, 5000), HF_SEC(100));
    assert_int_equal(failed(ip4(1, 5001), HF_SEC(100)), 2 * SLOW_FIRST_NS);
    assert_int_equal(failed(ip4(2, 5000), HF_SEC(100)), SLOW_FIRST_NS);
    failed(ip6(1, 1), HF_SEC(100));
    assert_int_equal(failed(ip6(1, 2), HF_SEC(100)), 2 * SLOW_FIRST_NS);
    assert_int_equal(failed(ip6(2, 1), HF_SEC(100)), SLOW_FIRST_NS);
}

/* However many addresses fail, the table is what it is, and waits stay in their range. */
static void slow__a_flood_of_addresses_is_bounded(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20 * SLOW_PLACES; i++) {
        struct peer peer = {.family = AF_INET, .ip = {10, (uint8_t)(i >> 8), (uint8_t)i, 1}};
        int64_t wait_ns = failed(peer, HF_SEC(100));
        assert_true(wait_ns >= SLOW_FIRST_NS && wait_ns <= SLOW_MOST_NS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(slow__each_failure_doubles_the_wait_up_to_the_longest, begin),
        cmocka_unit_test_setup(slow__the_first_failure_waits_the_same_whenever_the_clock_began,
                               begin),
        cmocka_unit_test_setup(slow__a_minute_without_failure_forgets, begin),
        cmocka_unit_test_setup(slow__a_login_that_succeeds_forgets, begin),
        cmocka_unit_test_setup(slow__another_port_is_no_other_guesser_and_another_address_is,
                               begin),
        cmocka_unit_test_setup(slow__a_flood_of_addresses_is_bounded, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
