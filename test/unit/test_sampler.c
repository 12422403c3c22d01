#include "unit.h"

#include "pg/sampler.h"

#include "base/ns.h"
#include "fake_server.h"
#include "os/clock.h"
#include "pg/sampler_int.h"

static void sampler__positions_are_read_as_the_server_writes_them(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t lsn;
    } cases[] = {
        {"0/0", 0},
        {"0/1", 1},
        {"16/B374D848", UINT64_C(0x16B374D848)},
        {"FFFFFFFF/FFFFFFFF", UINT64_MAX},
        {"", 0},
        {"16", 0},
        {"16/", 0},
        {"/16", 0},
        {"x/1", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(sampler_read_lsn(cases[i].text), cases[i].lsn);
}

static void sampler__a_position_after_a_pages_header_is_the_end_of_the_page_before(void **state)
{
    (void)state;
    const uint64_t block = 8192, segment = UINT64_C(16) << 20;
    static const struct {
        uint64_t at, end;
    } cases[] = {
        {0x2000 + 24, 0x2000},       /* an ordinary page */
        {0x2000 + 25, 0x2000 + 25},  /* within a page */
        {0x2000, 0x2000},            /* exactly at its end */
        {0x2000 + 40, 0x2000 + 40},  /* the rest of a record that went over */
        {0x1000000 + 40, 0x1000000}, /* a segment's first page */
        {0x1000000 + 24, 0x1000000 + 24},
        {0x100000 + 40, 0x100000 + 40}, /* a segment of another size would begin here */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(sampler_end_of_records(cases[i].at, block, segment), cases[i].end);
    /* Who does not know the sizes keeps what was said. */
    assert_int_equal(sampler_end_of_records(0x2000 + 24, 0, 0), 0x2000 + 24);
}

/* Turns it in real time until it reports; returns the time that it was told then. */
static int64_t await_report(struct sampler *sampler, struct sampler_report *report)
{
    const int64_t until_ns = clock_now() + HF_SEC(60);
    int64_t told_ns = 0;
    while (!sampler_take(sampler, report)) {
        struct pollfd file = {.fd = sampler->fd, .events = sampler->wants};
        const int64_t left_ns = sampler_deadline(sampler) - clock_now();
        assert_true(clock_now() < until_ns);
        poll(&file, 1, left_ns > 0 ? (int)(left_ns / HF_MS(1) + 1) : 0);
        told_ns = clock_now();
        sampler_turn(sampler, told_ns, sampler->fd >= 0 ? file.revents : 0);
    }
    return told_ns;
}

static void sampler__nobody_there_is_told_at_once_and_asked_for_ever_more_slowly(void **state)
{
    (void)state;
    const struct sampler_config config = {.retry_ns = HF_MS(5), .retry_ns_max = HF_MS(40)};
    const struct sampler_place place = {
        .conninfo = "passfile=/nonexistent", .host = "127.0.0.1", .hostaddr = "", .port = "1"};
    struct sampler sampler;
    struct sampler_report report;
    sampler_init(&sampler, &config, 1, clock_now());
    assert_int_equal(sampler_deadline(&sampler), HF_NEVER); /* nowhere to go yet */
    sampler_turn(&sampler, clock_now(), 0);
    sampler_move(&sampler, &place, clock_now());
    for (int i = 0; i < 8; i++) {
        const int64_t told_ns = await_report(&sampler, &report);
        assert_false(report.is_answer);
        assert_int_equal(report.outcome.code, OUTCOME_CONNECT_REFUSED);
        if (i >= 5) /* 5, 10, 20, and 40 from then on, a tenth more or less */
            assert_in_range(sampler_deadline(&sampler) - told_ns, HF_MS(36), HF_MS(44));
    }
    /* Whoever hears of it can have it asked now. */
    sampler_hurry(&sampler, clock_now());
    assert_true(sampler_deadline(&sampler) <= clock_now());
    sampler_deinit(&sampler);
}

static void sampler__a_server_that_hangs_is_given_its_time_and_no_more(void **state)
{
    (void)state;
    static const struct fake_line script[] = {{.step = FAKE_HANG}};
    const struct sampler_config config = {.connect_ns_max = HF_MS(60)};
    struct fake_server fake;
    struct sampler sampler;
    struct sampler_report report;
    assert_true(fake_start(&fake, script));
    const struct sampler_place place = {.conninfo = "passfile=/nonexistent sslmode=disable",
                                        .host = "127.0.0.1",
                                        .hostaddr = "127.0.0.1",
                                        .port = fake.port};
    sampler_init(&sampler, &config, 1, clock_now());
    const int64_t began_ns = clock_now();
    sampler_move(&sampler, &place, began_ns);
    await_report(&sampler, &report);
    assert_int_equal(report.outcome.code, OUTCOME_CONNECT_TIMEOUT);
    assert_true(clock_now() - began_ns >= HF_MS(60));
    assert_true(report.err.message[0] != '\0');
    sampler_abandon(&sampler);
    assert_int_equal(sampler.fd, -1);
    fake_stop(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sampler__positions_are_read_as_the_server_writes_them),
        cmocka_unit_test(sampler__a_position_after_a_pages_header_is_the_end_of_the_page_before),
        cmocka_unit_test(sampler__nobody_there_is_told_at_once_and_asked_for_ever_more_slowly),
        cmocka_unit_test(sampler__a_server_that_hangs_is_given_its_time_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
