/*
 * A program that starts before its database does, as in a container: it waits, and says for what.
 *
 *     startup_wait CONNINFO [SECONDS]
 *
 * What may pass is waited for (nobody listens yet, the server is still starting); what will not
 * (a wrong password, no such database) ends hf_open() at once.
 */
#include <holdfast.h>
#include <stdio.h>
#include <stdlib.h>

static int on_start(const char *why, int64_t waited_ms, void *arg)
{
    (void)arg;
    printf("after %lld ms: %s\n", (long long)waited_ms, why);
    fflush(stdout);
    return 0; /* anything else would give up */
}

int main(int argc, char **argv)
{
    struct hf_options options = {
        .conninfo = argc > 1 ? argv[1] : "",
        .start_ms = argc > 2 ? 1000 * strtol(argv[2], NULL, 10) : 60000,
        .hooks.on_start = on_start,
    };
    struct hf_error err;
    struct hf_db *db;
    struct hf_rows *rows;
    char text[512];

    printf("libholdfast %s waits for a database\n", hf_version());
    fflush(stdout);
    if (hf_open_with(&db, &options, &err) != HF_SUCCESS ||
        hf_query(db, "SELECT version()", NULL, NULL, &rows, &err) != HF_SUCCESS) {
        printf("%s\n", hf_error_text(&err, text, sizeof(text)));
        hf_close(db);
        return 1;
    }
    hf_rows_next(rows, NULL);
    printf("up: %s\n", hf_rows_text(rows, 0));
    hf_rows_free(rows);
    hf_close(db);
    return 0;
}
