/*
 * An outage that readers hardly notice: the last good result, and where there is none, a fallback.
 *
 *     cache_fallback CONNINFO [ROUNDS]
 *
 * Each round, a tenth of a second, asks for the menu and for the weather. Run it, stop the server,
 * start it again: the menu becomes stale and says how old it is, the weather is made up.
 */
#include <holdfast.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    ROUND_US = 100000,
};

/* Instead of an error, for calls whose operation is "weather". */
static int no_weather(const char *sql, const struct hf_error *why, void *arg, struct hf_rows **rows,
                      struct hf_error *err)
{
    static const char *const names[] = {"sky"};
    static const char *const values[] = {"look out of the window"};

    (void)sql;
    (void)why;
    (void)arg;
    return hf_rows_make(names, 1, values, 1, rows, err);
}

static void ask(struct hf_db *db, const char *sql, const struct hf_call_options *options)
{
    struct hf_rows *rows;
    struct hf_error err;
    bool is_stale = false;
    int64_t age_ms;

    if (hf_query(db, sql, NULL, options, &rows, &err) != HF_SUCCESS) {
        printf("%s: %s\n", options->operation, err.message);
        return;
    }
    age_ms = hf_rows_age_ms(rows, &is_stale);
    hf_rows_next(rows, NULL);
    printf("%s: %s", options->operation, hf_rows_text(rows, 0));
    if (age_ms > 0)
        printf(" (%s, %lld ms old)", is_stale ? "stale" : "cached", (long long)age_ms);
    printf(" [level %s]\n", hf_level_name(hf_level(db)));
    hf_rows_free(rows);
}

int main(int argc, char **argv)
{
    /* A second is what these readers are willing to wait. */
    struct hf_options options = {.conninfo = argc > 1 ? argv[1] : "", .deadline_ms = 1000};
    long rounds = argc > 2 ? strtol(argv[2], NULL, 10) : 3;
    struct hf_error err;
    struct hf_db *db;

    if (hf_open_with(&db, &options, &err) != HF_SUCCESS ||
        hf_fallback_set(db, "weather", no_weather, NULL, &err) != HF_SUCCESS) {
        fprintf(stderr, "%s\n", err.message);
        hf_close(db);
        return 1;
    }
    for (long i = 0; i < rounds; i++) {
        ask(db, "SELECT 'soup, fish, cake'",
            HF_WITH(.operation = "menu", .cache = HF_CACHE_FALLBACK));
        ask(db, "SELECT 'sun'", HF_WITH(.operation = "weather"));
        fflush(stdout);
        usleep(ROUND_US);
    }
    hf_close(db);
    return 0;
}
