#include "unit.h"

#include <string.h>

#include "base/ns.h"
#include "base/opt.h"
#include "base/rng.h"
#include "base/secret.h"
#include "base/units.h"
#include "dies.h"

enum mode {
    MODE_SESSION,
    MODE_BOUNDED,
    MODE_ANY
};

static const char *const mode_names[] = {"session", "bounded", "any", NULL};

struct config {
    bool is_enabled;
    int64_t pool_size;
    int32_t failures;
    uint32_t window;
    int64_t open_for_ns;
    int64_t wait_ns;
    int64_t buffer_bytes;
    uint32_t packet_bytes;
    int64_t rate_ppm;
    uint32_t budget_ppm;
    enum mode mode;
    char name[8];
    char note[16];
    struct secret password;
    struct secret token;
    int64_t untouched;
};

static const struct opt_row rows[] = {
    {.key = "enabled",
     .type = OPT_BOOL,
     OPT_FIELD(struct config, is_enabled),
     .default_text = "on"},
    {.key = "pool_size",
     .type = OPT_INT,
     OPT_FIELD(struct config, pool_size),
     .default_text = "20",
     .min = 1,
     .max = 1000,
     .unit = "connections",
     .is_reloadable = true},
    {.key = "failures",
     .type = OPT_INT,
     OPT_FIELD(struct config, failures),
     .default_text = "-5",
     .min = INT32_MIN,
     .max = INT32_MAX},
    {.key = "window",
     .type = OPT_INT,
     OPT_FIELD(struct config, window),
     .default_text = "100",
     .min = 1,
     .max = INT32_MAX},
    {.key = "open_for",
     .type = OPT_DURATION,
     OPT_FIELD(struct config, open_for_ns),
     .default_text = "5s",
     .min = HF_MS(10),
     .max = HF_SEC(3600)},
    {.key = "wait",
     .type = OPT_DURATION,
     OPT_FIELD(struct config, wait_ns),
     .default_text = "never",
     .max = HF_NEVER},
    {.key = "buffer",
     .type = OPT_SIZE,
     OPT_FIELD(struct config, buffer_bytes),
     .default_text = "8kB",
     .min = 1024,
     .max = INT64_C(1) << 40},
    {.key = "packet",
     .type = OPT_SIZE,
     OPT_FIELD(struct config, packet_bytes),
     .default_text = "1MB",
     .max = 1 << 30},
    {.key = "rate",
     .type = OPT_PERCENT,
     OPT_FIELD(struct config, rate_ppm),
     .default_text = "50%",
     .max = UNITS_WHOLE_PPM},
    {.key = "budget",
     .type = OPT_PERCENT,
     OPT_FIELD(struct config, budget_ppm),
     .default_text = "0.2",
     .max = UNITS_WHOLE_PPM},
    {.key = "consistency",
     .type = OPT_ENUM,
     OPT_FIELD(struct config, mode),
     .default_text = "session",
     .names = mode_names},
    {.key = "name",
     .type = OPT_STRING,
     OPT_FIELD(struct config, name),
     .default_text = "main",
     .min = 1},
    {.key = "note", .type = OPT_STRING, OPT_FIELD(struct config, note), .default_text = ""},
    {.key = "password", .type = OPT_SECRET, OPT_FIELD(struct config, password), .default_text = ""},
    {.key = "token",
     .type = OPT_SECRET,
     OPT_FIELD(struct config, token),
     .default_text = "t0",
     .min = 1},
};

static const struct opt_table table = OPT_TABLE(rows);

static enum hf_rc set(struct config *config, const char *key, const char *text, struct hf_err *err)
{
    return opt_set(&table, config, sv_from_cstr(key), sv_from_cstr(text), err);
}

static const char *print(const struct config *config, const char *key)
{
    static char text[400];
    struct buffer out;
    buffer_init(&out, text, sizeof text - 1);
    assert_true(opt_print(opt_find(&table, sv_from_cstr(key)), config, &out));
    text[buffer_held(&out)] = '\0';
    return text;
}

static void opt__defaults_fill_every_field_that_has_a_row(void **state)
{
    (void)state;
    struct config config;
    memset(&config, 0x5a, sizeof config);
    config.untouched = 7;
    opt_defaults(&table, &config);
    assert_true(config.is_enabled);
    assert_int_equal(config.pool_size, 20);
    assert_int_equal(config.failures, -5);
    assert_int_equal(config.window, 100);
    assert_int_equal(config.open_for_ns, HF_SEC(5));
    assert_int_equal(config.wait_ns, HF_NEVER);
    assert_int_equal(config.buffer_bytes, 8192);
    assert_int_equal(config.packet_bytes, 1 << 20);
    assert_int_equal(config.rate_ppm, 500000);
    assert_int_equal(config.budget_ppm, 200000);
    assert_int_equal(config.mode, MODE_SESSION);
    assert_string_equal(config.name, "main");
    assert_string_equal(config.note, "");
    assert_false(secret_is_set(&config.password));
    assert_true(sv_eq(secret_reveal(&config.token), SV("t0")));
    assert_int_equal(config.untouched, 7);
}

static void opt__values_are_set_from_text_and_printed_back(void **state)
{
    (void)state;
    static const struct {
        const char *key, *text, *printed;
    } cases[] = {
        {"enabled", "off", "off"},
        {"enabled", "yes", "on"},
        {"pool_size", " 1000 ", "1000"},
        {"pool_size", "1", "1"},
        {"failures", "-2147483648", "-2147483648"},
        {"window", "2147483647", "2147483647"},
        {"open_for", "10ms", "10ms"},
        {"open_for", "59min60s", "1h"},
        {"wait", "0", "0"},
        {"wait", "never", "never"},
        {"buffer", "1.5GB", "1536MB"},
        {"packet", "0", "0"},
        {"rate", "0.125", "12.5%"},
        {"budget", "100%", "100%"},
        {"consistency", "any", "any"},
        {"consistency", " bounded ", "bounded"},
        {"name", "sevenby", "sevenby"},
        {"note", " kept blanks ", " kept blanks "},
        {"note", "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"note", "", ""},
        {"password", "hunter2", "***"},
        {"password", "", ""},
        {"token", "a\nb", "***"},
    };
    struct config config;
    opt_defaults(&table, &config);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct hf_err err;
        if (set(&config, cases[i].key, cases[i].text, &err) != HF_OK)
            fail_msg("%s", err.message);
        assert_string_equal(print(&config, cases[i].key), cases[i].printed);
    }
    assert_int_equal(config.mode, MODE_BOUNDED);
    assert_true(sv_eq(secret_reveal(&config.token), SV("a\nb")));
}

static void opt__refused_values_change_nothing_and_say_why(void **state)
{
    (void)state;
    static const struct {
        const char *key, *text, *message, *hint;
    } cases[] = {
        {"enabled", "maybe", "option \"enabled\": \"maybe\" is not a boolean", "on or off"},
        {"pool_size", "many", "option \"pool_size\": \"many\" is not an integer", "such as 42"},
        {"pool_size", "0", "option \"pool_size\": 0 is too small",
         "Choose a value from 1 to 1000."},
        {"pool_size", "1001", "option \"pool_size\": 1001 is too large",
         "Choose a value from 1 to 1000."},
        {"failures", "2147483648", "option \"failures\": 2147483648 is too large",
         "Choose a value from -2147483648 to 2147483647."},
        {"window", "-1", "option \"window\": -1 is too small", "from 1 to"},
        {"open_for", "5", "option \"open_for\": \"5\" is not a duration: the unit is missing",
         "such as 100ms"},
        {"open_for", "9ms", "option \"open_for\": 9ms is too small",
         "Choose a value from 10ms to 1h."},
        {"open_for", "never", "option \"open_for\": never is too large", "to 1h"},
        {"buffer", "1023", "option \"buffer\": 1023B is too small",
         "Choose a value from 1kB to 1TB."},
        {"packet", "2GB", "option \"packet\": 2GB is too large", "from 0 to 1GB"},
        {"rate", "101%", "option \"rate\": 101% is too large", "Choose a value from 0% to 100%."},
        {"budget", "20", "option \"budget\": \"20\" is not a percentage", "20%"},
        {"consistency", "sesion", "option \"consistency\": \"sesion\" is not known here",
         "Did you mean \"session\"?"},
        {"consistency", "Any", "\"Any\" is not known here", "Did you mean \"any\"?"},
        {"consistency", "strong", "\"strong\" is not known here",
         "Choose one of session, bounded, any."},
        {"name", "", "option \"name\": it must not be empty", ""},
        {"name", "eightby8", "option \"name\": it has 8 bytes, at most 7 are allowed", ""},
        {"note", "a\tb", "option \"note\": byte 2 is a control character (0x09)", ""},
        {"note", "\x7f", "option \"note\": byte 1 is a control character (0x7f)", ""},
        {"token", "", "option \"token\": it must not be empty", ""},
        {"pool", "3", "unknown option \"pool\"", "The options here are enabled, pool_size, "},
        {"poolsize", "3", "unknown option \"poolsize\"", "Did you mean \"pool_size\"?"},
        {"Rate", "3%", "unknown option \"Rate\"", "Did you mean \"rate\"?"},
        {"", "3", "unknown option \"\"", "The options here are"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config config, before;
        struct hf_err err = {0};
        memset(&config, 0, sizeof config); /* the padding too */
        opt_defaults(&table, &config);
        memcpy(&before, &config, sizeof before);
        assert_int_not_equal(set(&config, cases[i].key, cases[i].text, &err), HF_OK);
        assert_memory_equal(&config, &before, sizeof config);
        if (strstr(err.message, cases[i].message) == NULL)
            fail_msg("\"%s\" lacks \"%s\"", err.message, cases[i].message);
        if (strstr(err.hint, cases[i].hint) == NULL)
            fail_msg("\"%s\" lacks \"%s\"", err.hint, cases[i].hint);
        assert_int_equal(set(&config, cases[i].key, cases[i].text, NULL), err.rc);
    }
}

static void opt__a_long_list_of_options_is_cut(void **state)
{
    (void)state;
    struct hf_err err;
    struct opt_row many[40];
    const struct opt_table table_of_many = OPT_TABLE(many);
    for (size_t i = 0; i < 40; i++)
        many[i] = rows[1];
    assert_int_equal(opt_set(&table_of_many, NULL, SV("zzzzzzzzzzzz"), SV(""), &err),
                     HF_RC_INVALID);
    assert_string_equal(err.hint + strlen(err.hint) - 16, ", pool_size, ...");
}

static void opt__a_secret_is_never_quoted(void **state)
{
    (void)state;
    struct config config;
    struct hf_err err;
    char longer[400];
    opt_defaults(&table, &config);
    memset(longer, 'q', sizeof longer);
    assert_int_equal(opt_set(&table, &config, SV("password"), sv_from(longer, sizeof longer), &err),
                     HF_RC_LIMIT);
    assert_string_equal(err.message,
                        "option \"password\": the secret has 400 bytes, at most 255 are allowed");
    assert_int_equal(opt_set(&table, &config, SV("password"), SV("qq\0qq"), &err), HF_RC_INVALID);
    assert_null(strstr(err.message, "qq"));
}

static void opt__nothing_of_a_replaced_text_stays_behind(void **state)
{
    (void)state;
    struct config config;
    opt_defaults(&table, &config);
    assert_int_equal(set(&config, "name", "sevenby", NULL), HF_OK);
    assert_int_equal(set(&config, "name", "x", NULL), HF_OK);
    assert_memory_equal(config.name, "x\0\0\0\0\0\0", sizeof config.name);
}

static void opt__without_a_config_the_text_is_only_judged(void **state)
{
    (void)state;
    struct hf_err err;
    const struct opt_row *row = opt_find(&table, SV("pool_size"));
    assert_int_equal(opt_set_row(row, NULL, SV("7"), &err), HF_OK);
    assert_int_equal(opt_set_row(row, NULL, SV("7000"), &err), HF_RC_INVALID);
}

static void opt__find_knows_whole_keys_only(void **state)
{
    (void)state;
    assert_ptr_equal(opt_find(&table, SV("enabled")), &rows[0]);
    assert_null(opt_find(&table, SV("enable")));
    assert_null(opt_find(&table, SV("enabled ")));
}

static void opt__print_refuses_what_does_not_fit(void **state)
{
    (void)state;
    struct config config;
    char block[4];
    struct buffer out;
    opt_defaults(&table, &config);
    buffer_init(&out, block, sizeof block);
    assert_true(opt_print(opt_find(&table, SV("buffer")), &config, &out));
    assert_false(opt_print(opt_find(&table, SV("enabled")), &config, &out));
    assert_true(sv_eq(buffer_view(&out), SV("8kB")));
}

static void opt__diff_names_exactly_the_changed_options(void **state)
{
    (void)state;
    static const struct {
        const char *key, *text;
    } changes[] = {
        {"enabled", "off"}, {"pool_size", "21"}, {"failures", "6"},      {"window", "7"},
        {"open_for", "6s"}, {"wait", "0"},       {"buffer", "9kB"},      {"packet", "9kB"},
        {"rate", "51%"},    {"budget", "21%"},   {"consistency", "any"}, {"name", "other"},
        {"note", "x"},      {"password", "x"},   {"token", "t1"},
    };
    struct config before, after;
    memset(&before, 0, sizeof before);
    memset(&after, 0x5a, sizeof after); /* padding and fields without a row do not count */
    opt_defaults(&table, &before);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        size_t cursor = 0;
        opt_defaults(&table, &after);
        assert_null(opt_diff(&table, &before, &after, &cursor));
        assert_int_equal(set(&after, changes[i].key, changes[i].text, NULL), HF_OK);
        cursor = 0;
        const struct opt_row *row = opt_diff(&table, &before, &after, &cursor);
        assert_non_null(row);
        assert_string_equal(row->key, changes[i].key);
        assert_null(opt_diff(&table, &before, &after, &cursor));
    }
    size_t cursor = 0, n = 0;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++)
        assert_int_equal(set(&after, changes[i].key, changes[i].text, NULL), HF_OK);
    while (opt_diff(&table, &before, &after, &cursor) != NULL)
        n++;
    assert_int_equal(n, table.count);
}

/* Some text that the row accepts. */
static const char *random_text(const struct opt_row *row, struct rng *rng, char out[UNITS_TEXT_MAX])
{
    int64_t number = row->max > 0 ? rng_range_ns(rng, row->min > 0 ? row->min : 0, row->max) : 0;
    size_t size = 0;
    switch (row->type) {
    case OPT_BOOL:
        return units_print_bool(rng_below(rng, 2) == 0);
    case OPT_DURATION:
        return units_print_duration(number, out);
    case OPT_PERCENT:
        return units_print_percent(number, out);
    case OPT_INT:
    case OPT_SIZE:
        return units_print_int(number, out);
    case OPT_ENUM:
        return row->names[rng_below(rng, 3)];
    case OPT_STRING:
    case OPT_SECRET:
        break;
    }
    do
        out[size++] = (char)rng_range_ns(rng, ' ', '~');
    while (size < row->size - 1 && rng_below(rng, 8) > 0 && size < UNITS_TEXT_MAX - 1);
    out[size] = '\0';
    return out;
}

static void opt__setting_what_was_printed_changes_nothing(void **state)
{
    (void)state;
    struct rng rng;
    struct config config, again;
    rng_init(&rng, 1);
    memset(&config, 0, sizeof config);
    opt_defaults(&table, &config);
    for (int i = 0; i < 20000; i++) {
        const struct opt_row *row = &rows[rng_below(&rng, table.count)];
        char text[UNITS_TEXT_MAX], block[64];
        struct buffer out;
        buffer_init(&out, block, sizeof block);
        const char *given = random_text(row, &rng, text);
        assert_int_equal(opt_set_row(row, &config, sv_from_cstr(given), NULL), HF_OK);
        assert_true(opt_print(row, &config, &out));
        memcpy(&again, &config, sizeof again);
        if (row->type == OPT_SECRET) {
            assert_true(sv_eq(buffer_view(&out), SV("***")));
            continue;
        }
        assert_int_equal(opt_set_row(row, &again, buffer_view(&out), NULL), HF_OK);
        assert_memory_equal(&again, &config, sizeof again);
    }
}

static void set_bad_default(void *unused)
{
    (void)unused;
    struct opt_row bad = rows[1];
    struct opt_table of_bad = {&bad, 1};
    struct config config;
    bad.default_text = "0";
    opt_defaults(&of_bad, &config);
}

static void opt__a_default_that_its_row_refuses_is_a_bug(void **state)
{
    (void)state;
    assert_true(dies(set_bad_default, NULL));
}

static void opt__numbers_are_printed_by_their_type(void **state)
{
    (void)state;
    char out[UNITS_TEXT_MAX];
    assert_string_equal(opt_print_number(OPT_DURATION, HF_SEC(10), out), "10s");
    assert_string_equal(opt_print_number(OPT_SIZE, 65536, out), "64kB");
    assert_string_equal(opt_print_number(OPT_PERCENT, 50000, out), "5%");
    assert_string_equal(opt_print_number(OPT_INT, 20, out), "20");
}

static void opt__every_type_has_a_name(void **state)
{
    (void)state;
    static const char *const names[] = {"boolean",    "integer", "duration", "size",
                                        "percentage", "name",    "text",     "secret"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_string_equal(opt_type_name((enum opt_type)i), names[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opt__defaults_fill_every_field_that_has_a_row),
        cmocka_unit_test(opt__values_are_set_from_text_and_printed_back),
        cmocka_unit_test(opt__refused_values_change_nothing_and_say_why),
        cmocka_unit_test(opt__a_long_list_of_options_is_cut),
        cmocka_unit_test(opt__a_secret_is_never_quoted),
        cmocka_unit_test(opt__nothing_of_a_replaced_text_stays_behind),
        cmocka_unit_test(opt__without_a_config_the_text_is_only_judged),
        cmocka_unit_test(opt__find_knows_whole_keys_only),
        cmocka_unit_test(opt__print_refuses_what_does_not_fit),
        cmocka_unit_test(opt__diff_names_exactly_the_changed_options),
        cmocka_unit_test(opt__setting_what_was_printed_changes_nothing),
        cmocka_unit_test(opt__a_default_that_its_row_refuses_is_a_bug),
        cmocka_unit_test(opt__numbers_are_printed_by_their_type),
        cmocka_unit_test(opt__every_type_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
