#include "unit.h"

#include <string.h>

#include "base/ns.h"
#include "base/opt_check.h"
#include "base/secret.h"

enum mode {
    MODE_ONE,
    MODE_TWO
};

struct config {
    int64_t first_ns;
    int64_t second;
    int32_t narrow;
    bool flag;
    char text[10];
    enum mode mode;
    struct secret secret;
    int64_t share_ppm;
};

static const char *const names[] = {"one", "two", NULL};
static const char *const twice[] = {"one", "two", "one", NULL};

#define DOC .since = "0.1", .sentence = "What it does in words."

static const struct opt_row good[] = {
    {.key = "share",
     .type = OPT_PERCENT,
     OPT_FIELD(struct config, share_ppm),
     .default_text = "5%",
     .max = 1000000,
     DOC},
    {.key = "first",
     .type = OPT_DURATION,
     OPT_FIELD(struct config, first_ns),
     .default_text = "1s",
     .max = HF_NEVER,
     DOC},
    {.key = "second_1",
     .type = OPT_INT,
     OPT_FIELD(struct config, second),
     .default_text = "-1",
     .min = -1,
     .max = INT64_MAX,
     .unit = "things",
     DOC},
    {.key = "narrow",
     .type = OPT_SIZE,
     OPT_FIELD(struct config, narrow),
     .default_text = "1kB",
     .max = INT32_MAX,
     DOC},
    {.key = "flag", .type = OPT_BOOL, OPT_FIELD(struct config, flag), .default_text = "off", DOC},
    {.key = "text",
     .type = OPT_STRING,
     OPT_FIELD(struct config, text),
     .default_text = "x",
     .min = 1,
     .since = "1.12.3",
     .sentence = "Some words here."},
    {.key = "mode",
     .type = OPT_ENUM,
     OPT_FIELD(struct config, mode),
     .default_text = "two",
     .names = names,
     DOC},
    {.key = "secret",
     .type = OPT_SECRET,
     OPT_FIELD(struct config, secret),
     .default_text = "",
     DOC},
};

enum {
    ROWS = sizeof good / sizeof good[0]
};
enum {
    SHARE,
    FIRST,
    SECOND,
    NARROW,
    FLAG,
    TEXT,
    MODE,
    SECRET
};

static void opt_check__sound_rows_pass(void **state)
{
    (void)state;
    const struct opt_table table = OPT_TABLE(good);
    struct hf_err err;
    if (opt_check(&table, sizeof(struct config), &err) != HF_OK)
        fail_msg("%s", err.message);
}

/* A copy of the sound rows, of which the test spoils one. */
static struct opt_row spoilt[ROWS];

static struct opt_row *spoil(int index)
{
    memcpy(spoilt, good, sizeof good);
    return &spoilt[index];
}

static void expect(const char *message)
{
    const struct opt_table table = OPT_TABLE(spoilt);
    struct hf_err err = {0};
    assert_int_not_equal(opt_check(&table, sizeof(struct config), &err), HF_OK);
    if (strstr(err.message, message) == NULL)
        fail_msg("\"%s\" lacks \"%s\"", err.message, message);
}

static void opt_check__keys_are_snake_case_and_unique(void **state)
{
    (void)state;
    static const char *const bad[] = {"",   "_a",  "a_", "a__b", "A", "a-b",
                                      "1a", "a.b", "aB", "a b",  "a{"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        spoil(FIRST)->key = bad[i];
        expect("the key is not snake_case");
    }
    spoil(SECRET)->key = "first";
    expect("row \"first\": the key occurs twice");
}

static void opt_check__fields_fit_their_type_and_the_struct(void **state)
{
    (void)state;
    static const struct {
        int row;
        size_t size;
    } wrong_sizes[] = {
        {FIRST, 4}, {SECOND, 2}, {NARROW, 3}, {FLAG, 4}, {TEXT, 1}, {MODE, 8}, {SECRET, 10},
    };
    for (size_t i = 0; i < sizeof wrong_sizes / sizeof wrong_sizes[0]; i++) {
        spoil(wrong_sizes[i].row)->size = wrong_sizes[i].size;
        expect("the field has not the size of its type");
    }
    spoil(FLAG)->offset = sizeof(struct config);
    expect("row \"flag\": the field lies outside the struct");
    spoil(TEXT)->size = sizeof(struct config) + 1;
    expect("row \"text\": the field lies outside the struct");
    spoil(SECOND)->offset = offsetof(struct config, first_ns);
    expect("row \"second_1\": the field is another row's too");
    spoil(FLAG)->offset = offsetof(struct config, second) + 7;
    expect("row \"flag\": the field is another row's too");
}

static void opt_check__ranges_are_in_order_and_belong_to_the_type(void **state)
{
    (void)state;
    struct opt_row *row = spoil(SECOND);
    row->max = row->min;
    expect("row \"second_1\": min is not below max");
    spoil(FIRST)->min = -1;
    expect("row \"first\": min is negative");
    spoil(NARROW)->max = INT64_C(1) << 31;
    expect("row \"narrow\": the range does not fit the field");
    row = spoil(NARROW);
    row->type = OPT_INT;
    row->min = INT64_MIN;
    expect("row \"narrow\": the range does not fit the field");
    spoil(FLAG)->max = 1;
    expect("row \"flag\": the type has no range");
    spoil(FLAG)->min = 1;
    expect("row \"flag\": the type has no range");
    spoil(TEXT)->min = 2;
    expect("row \"text\": the type has no range");
    spoil(SECRET)->min = 1;
    expect("option \"secret\": it must not be empty");
}

static void opt_check__names_and_unit_stand_where_the_type_wants_them(void **state)
{
    (void)state;
    spoil(FIRST)->unit = "seconds";
    expect("row \"first\": only integers have a unit of their own");
    spoil(SECOND)->names = names;
    expect("row \"second_1\": names belong to enums");
    spoil(MODE)->names = NULL;
    expect("row \"mode\": names belong to enums");
    spoil(MODE)->names = twice;
    expect("row \"mode\": a name occurs twice");
}

static void opt_check__defaults_are_accepted_by_their_row(void **state)
{
    (void)state;
    spoil(FIRST)->default_text = "1";
    expect("default of row \"first\": option \"first\": \"1\" is not a duration");
    spoil(SECOND)->default_text = "-2";
    expect("default of row \"second_1\": option \"second_1\": -2 is too small");
}

static void opt_check__version_and_sentence_are_written_out(void **state)
{
    (void)state;
    static const char *const versions[] = {"", "1", "0.x", "0.1.2.3", "v0.1", "0..1", NULL};
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        spoil(FIRST)->since = versions[i];
        expect("row \"first\": since is not a version");
    }
    static const char *const sentences[] = {
        NULL,
        "",
        "Short.",
        "no capital here.",
        "No full stop here",
        "Two\nlines of words.",
        "Not only ASCII \xc3\xbc.",
        "[Brackets first.",
        "1st words count too.",
        "A delete \x7f in words.",
    };
    for (size_t i = 0; i < sizeof sentences / sizeof sentences[0]; i++) {
        spoil(FIRST)->sentence = sentences[i];
        expect("row \"first\": the sentence is none");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opt_check__sound_rows_pass),
        cmocka_unit_test(opt_check__keys_are_snake_case_and_unique),
        cmocka_unit_test(opt_check__fields_fit_their_type_and_the_struct),
        cmocka_unit_test(opt_check__ranges_are_in_order_and_belong_to_the_type),
        cmocka_unit_test(opt_check__names_and_unit_stand_where_the_type_wants_them),
        cmocka_unit_test(opt_check__defaults_are_accepted_by_their_row),
        cmocka_unit_test(opt_check__version_and_sentence_are_written_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
