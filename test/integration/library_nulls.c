/*
 * A binding hands NULL to whatever it likes: to what frees, to what looks, to what does. Built and
 * run by test_library_install.py; anything but the end of main() is a failure.
 */
#include <assert.h>
#include <holdfast.h>
#include <string.h>

static void what_frees_or_signals_does_nothing(void)
{
    hf_close(NULL);
    hf_rows_free(NULL);
    hf_session_free(NULL);
    hf_cancel_free(NULL);
    hf_cancel_fire(NULL);
    hf_cancel_reset(NULL);
    hf_loop_free(NULL);
    hf_guard_free(NULL);
    hf_pipeline_free(NULL);
    hf_tx_rollback(NULL);
    hf_lease_give(NULL, false);
    hf_level_release(NULL);
    hf_cache_clear(NULL, NULL);
}

static void what_looks_sees_nothing(void)
{
    char text[64];

    assert(hf_rows_next(NULL, NULL) == -1);
    assert(strcmp(hf_rows_text(NULL, 0), "") == 0);
    assert(hf_rows_int(NULL, 0) == 0);
    assert(hf_turn(NULL) == 0);
    assert(hf_loop_fd(NULL) == -1);
    assert(hf_loop_timeout_ms(NULL) == -1);
    assert(hf_loop_pending(NULL) == 0);
    assert(hf_endpoints(NULL, NULL, 0) == 0);
    assert(hf_metrics(NULL, text, sizeof(text)) == 0);
    assert(hf_lease_pg(NULL) == NULL);
    assert(hf_code_name(9999) != NULL);
}

static void what_does_says_that_it_was_called_wrongly(void)
{
    char something;
    struct hf_rows *rows = (struct hf_rows *)&something;
    struct hf_pipeline *pipeline;
    struct hf_session *session;
    struct hf_lease *lease;
    struct hf_error err;
    struct hf_copy *copy;
    struct hf_loop *loop;
    struct hf_tx *tx;

    assert(hf_query(NULL, "SELECT 1", NULL, NULL, &rows, &err) == HF_E_USAGE);
    assert(rows == NULL && err.code == HF_E_USAGE && err.message[0] != '\0');
    assert(hf_exec(NULL, NULL, NULL, NULL, NULL, NULL) == HF_E_USAGE);
    assert(hf_tx(NULL, NULL, NULL, NULL, &err) == HF_E_USAGE);
    assert(hf_tx_begin(NULL, NULL, &tx, &err) == HF_E_USAGE && tx == NULL);
    assert(hf_tx_commit(NULL, &err) == HF_E_USAGE);
    assert(hf_session_new(NULL, &session, &err) == HF_E_USAGE && session == NULL);
    assert(hf_loop_new(NULL, &loop, &err) == HF_E_USAGE && loop == NULL);
    assert(hf_copy_start(NULL, NULL, "", NULL, &copy, &err) == HF_E_USAGE && copy == NULL);
    assert(hf_pipeline_new(NULL, NULL, NULL, &pipeline, &err) == HF_E_USAGE && pipeline == NULL);
    assert(hf_lease_take(NULL, NULL, &lease, &err) == HF_E_USAGE && lease == NULL);
    assert(hf_guard_run(NULL, NULL, NULL, &err) == HF_E_USAGE);
}

int main(void)
{
    what_frees_or_signals_does_nothing();
    what_looks_sees_nothing();
    what_does_says_that_it_was_called_wrongly();
    return 0;
}
