/*
 * Options from any lines `key=value`, set one after the other into one configuration that has a row
 * of every type.
 *
 * Checked beside the absence of crashes: every field stays in its range; a refused line changes
 * nothing and a good one changes no other option; what an option prints sets the same value again;
 * no secret's text appears in a message.
 */
#include <string.h>

#include "base/ns.h"
#include "base/opt.h"
#include "base/secret.h"
#include "base/units.h"
#include "fuzz.h"

enum mode {
    MODE_SESSION,
    MODE_BOUNDED,
    MODE_ANY
};

static const char *const mode_names[] = {"session", "bounded", "any", NULL};

struct config {
    int64_t pool_size;
    int64_t open_for_ns;
    int64_t buffer_bytes;
    uint32_t rate_ppm;
    enum mode mode;
    bool is_enabled;
    char name[8];
    struct secret password;
};

static const struct opt_row rows[] = {
    {.key = "pool_size",
     .type = OPT_INT,
     OPT_FIELD(struct config, pool_size),
     .default_text = "20",
     .min = -5,
     .max = 1000},
    {.key = "open_for",
     .type = OPT_DURATION,
     OPT_FIELD(struct config, open_for_ns),
     .default_text = "5s",
     .max = HF_NEVER},
    {.key = "buffer",
     .type = OPT_SIZE,
     OPT_FIELD(struct config, buffer_bytes),
     .default_text = "8kB",
     .max = INT64_C(1) << 40},
    {.key = "rate",
     .type = OPT_PERCENT,
     OPT_FIELD(struct config, rate_ppm),
     .default_text = "50%",
     .max = UNITS_WHOLE_PPM},
    {.key = "mode",
     .type = OPT_ENUM,
     OPT_FIELD(struct config, mode),
     .default_text = "session",
     .names = mode_names},
    {.key = "enabled",
     .type = OPT_BOOL,
     OPT_FIELD(struct config, is_enabled),
     .default_text = "on"},
    {.key = "name",
     .type = OPT_STRING,
     OPT_FIELD(struct config, name),
     .default_text = "main",
     .min = 1},
    {.key = "password", .type = OPT_SECRET, OPT_FIELD(struct config, password), .default_text = ""},
};

static const struct opt_table table = OPT_TABLE(rows);

static void check_ranges(const struct config *config)
{
    FUZZ_CHECK(config->pool_size >= -5 && config->pool_size <= 1000);
    FUZZ_CHECK(config->open_for_ns >= 0);
    FUZZ_CHECK(config->buffer_bytes >= 0 && config->buffer_bytes <= INT64_C(1) << 40);
    FUZZ_CHECK(config->rate_ppm <= UNITS_WHOLE_PPM);
    FUZZ_CHECK(config->mode <= MODE_ANY);
    FUZZ_CHECK(strnlen(config->name, sizeof config->name) >= 1);
    FUZZ_CHECK(strnlen(config->name, sizeof config->name) < sizeof config->name);
    FUZZ_CHECK(strlen(secret_reveal(&config->password).data) == config->password.size);
}

static void check_round_trip(const struct opt_row *row, const struct config *config)
{
    char block[64];
    struct buffer out;
    struct config again = *config;
    size_t cursor = 0;
    buffer_init(&out, block, sizeof block);
    FUZZ_CHECK(opt_print(row, config, &out));
    if (row->type == OPT_SECRET) {
        FUZZ_CHECK(buffer_held(&out) == 0 || sv_eq(buffer_view(&out), SV(SECRET_MASK)));
        return;
    }
    FUZZ_CHECK(opt_set_row(row, &again, buffer_view(&out), NULL) == HF_OK);
    FUZZ_CHECK(opt_diff(&table, config, &again, &cursor) == NULL);
}

/* A refused secret is spoken of in fixed words, whatever it is. */
static void check_silence(const struct hf_err *err, struct sv secret)
{
    char too_long[sizeof err->message];
    snprintf(too_long, sizeof too_long,
             "option \"password\": the secret has %zu bytes, at most %d are allowed", secret.size,
             SECRET_SIZE_MAX);
    FUZZ_CHECK(strcmp(err->message, too_long) == 0 ||
               strcmp(err->message, "option \"password\": the secret contains a zero byte") == 0);
    FUZZ_CHECK(err->hint[0] == '\0' && err->detail[0] == '\0');
}

static void set_line(struct config *config, struct sv line)
{
    struct config before = *config;
    struct hf_err err = {0};
    struct sv key, text = line;
    size_t cursor = 0;
    if (!sv_split(&text, '=', &key))
        return;
    enum hf_rc rc = opt_set(&table, config, key, text, &err);
    const struct opt_row *row = opt_find(&table, key);
    const struct opt_row *changed = opt_diff(&table, &before, config, &cursor);
    if (rc == HF_OK) {
        FUZZ_CHECK(changed == NULL || changed == row);
        FUZZ_CHECK(opt_diff(&table, &before, config, &cursor) == NULL);
        check_round_trip(row, config);
    } else {
        FUZZ_CHECK(changed == NULL && err.rc == rc && err.message[0] != '\0');
        if (row != NULL && row->type == OPT_SECRET)
            check_silence(&err, text);
    }
    check_ranges(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config config;
    struct sv rest = sv_from((const char *)data, size), line;
    opt_defaults(&table, &config);
    /* A few lines find as much as many, and far sooner. */
    for (int lines = 0; lines < 16 && sv_split(&rest, '\n', &line); lines++)
        set_line(&config, line);
    return 0;
}
