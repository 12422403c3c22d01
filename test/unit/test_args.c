#include "unit.h"

#include "cli/args.h"

#include <string.h>

#include "base/ns.h"

struct config {
    char dir[32];
    bool fresh;
    int32_t port_base;
    int64_t restart_ns;
};

static const struct opt_row rows[] = {
    {.key = "dir", .type = OPT_STRING, OPT_FIELD(struct config, dir), .default_text = ""},
    {.key = "fresh", .type = OPT_BOOL, OPT_FIELD(struct config, fresh), .default_text = "off"},
    {.key = "port_base",
     .type = OPT_INT,
     OPT_FIELD(struct config, port_base),
     .default_text = "100",
     .min = 1,
     .max = 999},
    {.key = "restart",
     .type = OPT_DURATION,
     OPT_FIELD(struct config, restart_ns),
     .default_text = "10s",
     .max = HF_NEVER},
};

static const struct subcommand with_operand = {
    .name = "x", .operand = "URL", .options = OPT_TABLE(rows)};
static const struct subcommand without_operand = {.name = "x", .options = OPT_TABLE(rows)};

static enum hf_rc parse(const struct subcommand *subcommand, const char *const *words,
                        struct args *args, struct config *config, struct hf_err *err)
{
    char room[8][64];
    char *argv[8];
    int argc = 0;
    for (; words[argc] != NULL; argc++) {
        assert_true(argc < 8 && strlen(words[argc]) < sizeof room[0]);
        memcpy(room[argc], words[argc], strlen(words[argc]) + 1);
        argv[argc] = room[argc];
    }
    enum hf_rc rc = args_parse(args, subcommand, config, argc, argv, err);
    /* The operand points into room: what it says is all that the caller may use. */
    if (rc == HF_OK && args->operand != NULL)
        args->operand = strcmp(args->operand, "--odd") == 0 ? "--odd" : "url";
    return rc;
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void args__options_and_operand_stand_in_any_order(void **state)
{
    (void)state;
    const struct {
        const char *const *words;
        struct config config;
        const char *operand;
    } cases[] = {
        {WORDS(NULL), {.port_base = 100, .restart_ns = HF_SEC(10)}, NULL},
        {WORDS("--port-base", "7"), {.port_base = 7, .restart_ns = HF_SEC(10)}, NULL},
        {WORDS("--port-base=7", "url"), {.port_base = 7, .restart_ns = HF_SEC(10)}, "url"},
        {WORDS("url", "--fresh"),
         {.fresh = true, .port_base = 100, .restart_ns = HF_SEC(10)},
         "url"},
        {WORDS("--fresh", "--fresh=off"), {.port_base = 100, .restart_ns = HF_SEC(10)}, NULL},
        {WORDS("--restart", "never", "--dir="), {.port_base = 100, .restart_ns = HF_NEVER}, NULL},
        {WORDS("--dir", "a=b", "--", "--odd"),
         {.dir = "a=b", .port_base = 100, .restart_ns = HF_SEC(10)},
         "--odd"},
        {WORDS("--dir", "--fresh"),
         {.dir = "--fresh", .port_base = 100, .restart_ns = HF_SEC(10)},
         NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct args args;
        struct config config;
        struct hf_err err;
        memset(&config, 0x5a, sizeof config);
        assert_int_equal(parse(&with_operand, cases[i].words, &args, &config, &err), HF_OK);
        assert_string_equal(config.dir, cases[i].config.dir);
        assert_int_equal(config.fresh, cases[i].config.fresh);
        assert_int_equal(config.port_base, cases[i].config.port_base);
        assert_int_equal(config.restart_ns, cases[i].config.restart_ns);
        assert_int_equal(args.operand == NULL, cases[i].operand == NULL);
        if (args.operand != NULL)
            assert_string_equal(args.operand, cases[i].operand);
    }
}

static void args__mistakes_are_named_as_they_were_typed(void **state)
{
    (void)state;
    const struct {
        const struct subcommand *subcommand;
        const char *const *words;
        const char *message;
        const char *hint;
    } cases[] = {
        {&with_operand, WORDS("--frsh"), "unknown option \"--frsh\"", "Did you mean \"--fresh\"?"},
        {&with_operand, WORDS("--port_bas=1"), "unknown option \"--port_bas\"",
         "Did you mean \"--port-base\"?"},
        {&with_operand, WORDS("--zzzzzzzzzz"), "unknown option \"--zzzzzzzzzz\"",
         "--help lists the options."},
        {&with_operand, WORDS("-f"), "unknown option \"-f\"",
         "Options have two dashes; --help lists them."},
        {&with_operand, WORDS("--dir"), "--dir needs a value", "Write --dir DIR."},
        {&with_operand, WORDS("--port-base=0"), "--port-base: 0 is too small",
         "Choose a value from 1 to 999."},
        {&with_operand, WORDS("one", "two"), "there is more than one URL",
         "Options begin with --; quote what contains blanks."},
        {&without_operand, WORDS("one"), "\"one\" is one argument too many", ""},
        {&without_operand, WORDS("--", "--fresh"), "\"--fresh\" is one argument too many", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct args args;
        struct config config;
        struct hf_err err;
        assert_int_equal(parse(cases[i].subcommand, cases[i].words, &args, &config, &err),
                         HF_RC_INVALID);
        assert_string_equal(err.message, cases[i].message);
        assert_string_equal(err.hint, cases[i].hint);
    }
}

static void args__a_long_argument_too_many_is_not_quoted_whole(void **state)
{
    (void)state;
    struct args args;
    struct config config;
    struct hf_err err;
    parse(&without_operand, WORDS("postgresql://u:hunter2@h/d"), &args, &config, &err);
    assert_null(strstr(err.message, "hunter2"));
}

static void args__placeholders_say_what_kind_of_value(void **state)
{
    (void)state;
    char room[ARGS_OPTION_SIZE];
    assert_string_equal(args_placeholder(&rows[0], room), "DIR");
    assert_null(args_placeholder(&rows[1], room));
    assert_string_equal(args_placeholder(&rows[2], room), "N");
    assert_string_equal(args_placeholder(&rows[3], room), "TIME");
    const struct opt_row archive_dir = {.key = "archive_dir", .type = OPT_STRING};
    assert_string_equal(args_placeholder(&archive_dir, room), "DIR");
    const struct opt_row size = {.key = "cache", .type = OPT_SIZE};
    assert_string_equal(args_placeholder(&size, room), "SIZE");
    const struct opt_row share = {.key = "share", .type = OPT_PERCENT};
    assert_string_equal(args_placeholder(&share, room), "PERCENT");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(args__options_and_operand_stand_in_any_order),
        cmocka_unit_test(args__mistakes_are_named_as_they_were_typed),
        cmocka_unit_test(args__a_long_argument_too_many_is_not_quoted_whole),
        cmocka_unit_test(args__placeholders_say_what_kind_of_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
