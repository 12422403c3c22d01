/*
 * Metrics as text: lines as Prometheus takes them, escapes, and what becomes of a page that does
 * not fit.
 */
#include "unit.h"

#include <stdbool.h>
#include <string.h>

#include "base/promtext.h"
#include "dies.h"

static char text[1024];
static struct promtext p;

static void write_page(size_t size)
{
    promtext_init(&p, text, size);
    promtext_family(&p, "hf_calls_total", PROMTEXT_COUNTER, "Calls that were begun.");
    promtext_u64(&p, NULL, 7);
    promtext_family(&p, "hf_seconds", PROMTEXT_SUMMARY, "How long\\they\ntook.");
    promtext_seconds(&p, (const struct promtext_label[]){{"quantile", "0.5"}, {NULL, NULL}},
                     2517000);
    promtext_part_seconds(&p, "_sum", NULL, -1);
    promtext_part_u64(&p, "_count", NULL, UINT64_MAX);
    promtext_family(&p, "hf_lag", PROMTEXT_GAUGE, "Bytes.");
    promtext_i64(
        &p, (const struct promtext_label[]){{"name", "a\"b\\c\nd"}, {"role", "x"}, {NULL, NULL}},
        -1);
}

static const char page[] = "# HELP hf_calls_total Calls that were begun.\n"
                           "# TYPE hf_calls_total counter\n"
                           "hf_calls_total 7\n"
                           "# HELP hf_seconds How long\\\\they\\ntook.\n"
                           "# TYPE hf_seconds summary\n"
                           "hf_seconds{quantile=\"0.5\"} 0.002517000\n"
                           "hf_seconds_sum -0.000000001\n"
                           "hf_seconds_count 18446744073709551615\n"
                           "# HELP hf_lag Bytes.\n"
                           "# TYPE hf_lag gauge\n"
                           "hf_lag{name=\"a\\\"b\\\\c\\nd\",role=\"x\"} -1\n";

static void promtext__a_page_reads_as_the_format_wants_it(void **state)
{
    (void)state;
    write_page(sizeof text);
    assert_string_equal(text, page);
    assert_int_equal(promtext_end(&p), strlen(page));
}

static void promtext__a_page_is_cut_at_a_line_and_says_what_it_needs(void **state)
{
    (void)state;
    for (size_t size = 1; size <= sizeof page; size++) {
        memset(text, 'x', sizeof text);
        write_page(size);
        const size_t kept = strlen(text);
        assert_int_equal(promtext_end(&p), strlen(page));
        assert_true(kept < size);
        assert_memory_equal(text, page, kept);
        assert_true(kept == 0 || text[kept - 1] == '\n');
        /* The next line did not fit. */
        const char *next = strchr(page + kept, '\n');
        assert_true(next == NULL || (size_t)(next + 1 - page) >= size);
        assert_int_equal(text[size], 'x');
    }
    write_page(0);
    assert_int_equal(promtext_end(&p), strlen(page));
}

static void promtext__a_long_value_is_cut_and_its_line_is_whole(void **state)
{
    (void)state;
    char value[200];
    memset(value, '"', sizeof value);
    value[sizeof value - 1] = '\0';
    promtext_init(&p, text, sizeof text);
    promtext_family(&p, "hf_x", PROMTEXT_GAUGE, "X.");
    promtext_u64(&p, (const struct promtext_label[]){{"name", value}, {NULL, NULL}}, 1);
    assert_non_null(strstr(text, "\\\"\"} 1\n"));
}

static void bad_name(void *arg)
{
    promtext_init(&p, text, sizeof text);
    promtext_family(&p, arg, PROMTEXT_GAUGE, "X.");
}

static void promtext__a_name_that_would_spoil_the_page_is_a_bug(void **state)
{
    (void)state;
    static const char *const names[] = {"", "9a", "a-b", "a b", "a\n"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_true(dies(bad_name, (void *)(uintptr_t)names[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(promtext__a_page_reads_as_the_format_wants_it),
        cmocka_unit_test(promtext__a_page_is_cut_at_a_line_and_says_what_it_needs),
        cmocka_unit_test(promtext__a_long_value_is_cut_and_its_line_is_whole),
        cmocka_unit_test(promtext__a_name_that_would_spoil_the_page_is_a_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
