#include "unit.h"

#include "os/log_line.h"

#include <stdio.h>
#include <string.h>

#include "base/ns.h"

#define FIELDS(...) ((const struct log_field[]){__VA_ARGS__, {.key = NULL}})

static const char *form_line(enum log_form form, const char *message,
                             const struct log_field *fields, uint64_t suppressed)
{
    static char out[LOG_LINE_MAX + 1];
    memset(out, 'x', sizeof out);
    const struct log_event event = {
        .level = LOG_AT_INFO, .message = message, .fields = fields, .suppressed = suppressed};
    size_t length = log_line_write(out, form, &event);
    assert_int_equal(strlen(out), length);
    assert_true(length <= LOG_LINE_MAX);
    assert_int_equal(out[length - 1], '\n');
    out[length - 1] = '\0';
    return out;
}

#define KV_HEAD   "ts=1970-01-01T00:00:00.000Z level=info msg="
#define JSON_HEAD "{\"ts\":\"1970-01-01T00:00:00.000Z\",\"level\":\"info\",\"msg\":"

static void log_line__every_kind_is_written_in_both_forms(void **state)
{
    (void)state;
    struct secret secret;
    memset(&secret, 0, sizeof secret);
    assert_int_equal(secret_set(&secret, SV("hunter2"), NULL), HF_OK);
    const struct log_field *fields =
        FIELDS(log_text("endpoint", "db1:5432"), log_text("why", "no route to host"),
               log_int("count", -3), log_bool("is_primary", true),
               log_duration("after", HF_MS(1500)), log_duration("until", HF_NEVER),
               log_secret("password", &secret), log_view("none", sv_from(NULL, 0)));
    assert_string_equal(form_line(LOG_KEY_VALUE, "lost", fields, 0),
                        KV_HEAD "lost endpoint=db1:5432 why=\"no route to host\" count=-3 "
                                "is_primary=true after=1500ms until=never password=*** none=\"\"");
    assert_string_equal(form_line(LOG_JSON, "lost", fields, 7),
                        JSON_HEAD "\"lost\",\"suppressed\":7,\"endpoint\":\"db1:5432\","
                                  "\"why\":\"no route to host\",\"count\":-3,\"is_primary\":true,"
                                  "\"after\":1.5,\"until\":null,\"password\":\"***\","
                                  "\"none\":\"\"}");
}

static void log_line__durations_are_seconds_in_json(void **state)
{
    (void)state;
    const struct {
        int64_t ns;
        const char *text;
    } cases[] = {
        {0, "0"},
        {1, "0.000000001"},
        {HF_SEC(120), "120"},
        {HF_SEC(100) + HF_MS(10), "100.01"},
        {-HF_MS(1500), "-1.5"},
        {INT64_MIN, "-9223372036.854775808"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char expected[200];
        snprintf(expected, sizeof expected, JSON_HEAD "\"m\",\"d\":%s}", cases[i].text);
        assert_string_equal(form_line(LOG_JSON, "m", FIELDS(log_duration("d", cases[i].ns)), 0),
                            expected);
    }
}

static void log_line__no_byte_breaks_out_of_its_value(void **state)
{
    (void)state;
    const struct {
        struct sv value;
        const char *kv;
        const char *json; /* NULL: as in kv */
    } cases[] = {
        {SV_INIT("a\nb"), "\"a\\nb\"", NULL},
        {SV_INIT("a\" msg=x"), "\"a\\\" msg=x\"", NULL},
        {SV_INIT("back\\slash"), "\"back\\\\slash\"", NULL},
        {SV_INIT("\t\r"), "\"\\t\\r\"", NULL},
        {SV_INIT("\x1b[31mred"), "\"\\u001b[31mred\"", NULL},
        {SV_INIT("del\x7f"), "\"del\\u007f\"", NULL},
        {SV_INIT("nul\0x"), "\"nul\\u0000x\"", NULL},
        {SV_INIT("csi\xc2\x9b"
                 "31m"),
         "\"csi\\u009b31m\"", NULL},
        {SV_INIT("gr\xc3\xbc\xc3\x9f"), "\"gr\xc3\xbc\xc3\x9f\"", NULL},
        {SV_INIT("\xe2\x82\xac \xf0\x9f\x90\x98"), "\"\xe2\x82\xac \xf0\x9f\x90\x98\"", NULL},
        {SV_INIT("\xff"), "\"\\xff\"", "\"\\ufffd\""},
        {SV_INIT("\xc3"), "\"\\xc3\"", "\"\\ufffd\""},
        {SV_INIT("\xc0\xaf"), "\"\\xc0\\xaf\"", "\"\\ufffd\\ufffd\""},
        {SV_INIT("\xed\xa0\x80"), "\"\\xed\\xa0\\x80\"", "\"\\ufffd\\ufffd\\ufffd\""},
        {SV_INIT("\xe2\x82x"), "\"\\xe2\\x82x\"", "\"\\ufffd\\ufffdx\""},
        {SV_INIT("\xf4\x90\x80\x80"), "\"\\xf4\\x90\\x80\\x80\"",
         "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
        {SV_INIT("a=b"), "\"a=b\"", NULL},
        {SV_INIT(""), "\"\"", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char expected[200];
        const struct log_field *fields = FIELDS(log_view("v", cases[i].value));
        snprintf(expected, sizeof expected, KV_HEAD "m v=%s", cases[i].kv);
        assert_string_equal(form_line(LOG_KEY_VALUE, "m", fields, 0), expected);
        snprintf(expected, sizeof expected, JSON_HEAD "\"m\",\"v\":%s}",
                 cases[i].json != NULL ? cases[i].json : cases[i].kv);
        assert_string_equal(form_line(LOG_JSON, "m", fields, 0), expected);
    }
}

static void log_line__long_values_are_cut_and_many_fields_left_out(void **state)
{
    (void)state;
    static char longer[5000];
    memset(longer, 'a', sizeof longer - 1);
    const struct log_field *fields =
        FIELDS(log_text("v1", longer), log_text("v2", longer), log_text("v3", longer),
               log_text("v4", longer), log_int("small", 5));
    const char *line = form_line(LOG_JSON, longer, fields, 1);
    assert_non_null(strstr(line, "a...\",\"suppressed\":1,\"v1\":\"aaa"));
    assert_non_null(strstr(line, "a...\",\"v2\":\"aaa"));
    assert_null(strstr(line, "\"v3\""));
    assert_null(strstr(line, "\"v4\""));
    assert_string_equal(line + strlen(line) - strlen("a...\",\"small\":5,\"left_out\":2}"),
                        "a...\",\"small\":5,\"left_out\":2}");
    line = form_line(LOG_KEY_VALUE, "m", fields, 0);
    assert_string_equal(line + strlen(line) - strlen("a... small=5 left_out=1"),
                        "a... small=5 left_out=1");
}

/* Escapes make text up to six times as long: neither the value's limit nor the line's may depend on
 * what is in it. */
static void log_line__it_never_exceeds_its_size(void **state)
{
    (void)state;
    static char bytes[1500];
    memset(bytes, 1, sizeof bytes);
    for (size_t size = 0; size < sizeof bytes; size++) {
        const struct sv value = sv_from(bytes, size);
        const struct log_field *fields = FIELDS(log_view("a", value), log_view("b", value),
                                                log_view("c", value), log_view("d", value));
        const char *line = form_line(size % 2 == 0 ? LOG_JSON : LOG_KEY_VALUE, "m", fields, 0);
        if (size % 2 == 0)
            assert_int_equal(line[strlen(line) - 1], '}');
    }
}

static void log_line__levels_have_names(void **state)
{
    (void)state;
    assert_string_equal(log_level_name(LOG_AT_DEBUG), "debug");
    assert_string_equal(log_level_name(LOG_AT_INFO), "info");
    assert_string_equal(log_level_name(LOG_AT_WARNING), "warning");
    assert_string_equal(log_level_name(LOG_AT_ERROR), "error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_line__every_kind_is_written_in_both_forms),
        cmocka_unit_test(log_line__durations_are_seconds_in_json),
        cmocka_unit_test(log_line__no_byte_breaks_out_of_its_value),
        cmocka_unit_test(log_line__long_values_are_cut_and_many_fields_left_out),
        cmocka_unit_test(log_line__it_never_exceeds_its_size),
        cmocka_unit_test(log_line__levels_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
