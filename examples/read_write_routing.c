/*
 * Reads at the replicas, writes at the primary, and what a read may be owed.
 *
 *     read_write_routing 'host=primary,replica port=5432,5432 ...'
 *
 * Nothing says what is a read: the library parses each statement. What is said, per call, is how
 * new the data must be.
 */
#include <holdfast.h>
#include <stdio.h>
#include <unistd.h>

enum {
    SETTLE_US = 500000,
};

static int show(struct hf_db *db, const char *what, const struct hf_call_options *how)
{
    struct hf_call_options options = *how;
    struct hf_decision decision = {.endpoint = ""};
    struct hf_rows *rows;
    struct hf_error err;

    options.decision = &decision;
    if (hf_query(db, "SELECT count(*) FROM visit", NULL, &options, &rows, &err) != HF_SUCCESS) {
        fprintf(stderr, "%s: %s\n", what, err.message);
        return 1;
    }
    hf_rows_next(rows, NULL);
    printf("%s: %lld rows, from %s (%s)\n", what, (long long)hf_rows_int(rows, 0),
           decision.endpoint, decision.reason);
    hf_rows_free(rows);
    return 0;
}

/* The session of a browser, say: one request writes, the next one must see it, whichever process
 * it reaches. What travels with the browser, in a cookie, is the token. */
static int two_processes(struct hf_db *db)
{
    char token[HF_TOKEN_BYTES];
    struct hf_session *first = NULL;
    struct hf_session *second = NULL;
    struct hf_error err;
    int failed = 1;

    if (hf_session_new(db, &first, &err) == HF_SUCCESS &&
        hf_session_new(db, &second, &err) == HF_SUCCESS &&
        hf_exec(db, "INSERT INTO visit VALUES (2)", NULL, HF_WITH(.session = first), NULL, &err) ==
            HF_SUCCESS &&
        hf_session_token(first, token, &err) == HF_SUCCESS &&
        hf_session_adopt(second, token, &err) == HF_SUCCESS)
        failed = show(db, "in the next process", HF_WITH(.session = second));
    else
        fprintf(stderr, "%s\n", err.message);
    hf_session_free(first);
    hf_session_free(second);
    return failed;
}

static void show_servers(struct hf_db *db)
{
    struct hf_endpoint servers[8];
    size_t count = hf_endpoints(db, servers, 8);

    for (size_t i = 0; i < count && i < 8; i++)
        printf("%s is %s and %s, %lld ms behind\n", servers[i].name, servers[i].role,
               servers[i].health, (long long)servers[i].lag_ms);
}

int main(int argc, char **argv)
{
    struct hf_error err;
    struct hf_db *db;
    int failed;

    if (hf_open(&db, argc > 1 ? argv[1] : "", &err) != HF_SUCCESS ||
        hf_exec(db, "DROP TABLE IF EXISTS visit; CREATE TABLE visit (id int)", NULL, NULL, NULL,
                &err) != HF_SUCCESS ||
        hf_exec(db, "INSERT INTO visit VALUES (1)", NULL, NULL, NULL, &err) != HF_SUCCESS) {
        fprintf(stderr, "%s\n", err.message);
        hf_close(db);
        return 1;
    }
    /* Data that may be 5 s old may be from before there was a table. Here it is made just now; a
     * program in earnest finds it there. */
    usleep(SETTLE_US);
    failed =
        show(db, "what this program wrote", HF_WITH(.consistency = HF_SESSION)) ||
        show(db, "at most 5 s old", HF_WITH(.consistency = HF_BOUNDED, .staleness_ms = 5000)) ||
        show(db, "what the primary has", HF_WITH(.consistency = HF_PRIMARY)) || two_processes(db);
    show_servers(db);
    hf_close(db);
    return failed;
}
