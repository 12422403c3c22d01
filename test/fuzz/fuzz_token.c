/*
 * A session's token from any text.
 *
 * Checked beside the absence of crashes: what is accepted is written again as the same text, and
 * keeps its promise; what is refused says why and leaves the promise alone.
 */
#include <string.h>

#include "core/token.h"
#include "fuzz.h"

#define NOW_NS HF_SEC(9)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sv text = sv_trim(sv_from((const char *)data, size));
    struct route_promise promise = {.lsn = 77};
    struct hf_err err = {0};
    enum hf_rc rc = token_read(sv_from((const char *)data, size), 0, NOW_NS, &promise, &err);
    if (rc != HF_OK) {
        FUZZ_CHECK(rc == HF_RC_INVALID && err.rc == rc && strlen(err.message) > 0);
        FUZZ_CHECK(promise.lsn == 77 && promise.written_at_ns == 0);
        return 0;
    }
    FUZZ_CHECK(text.size < TOKEN_BYTES);
    FUZZ_CHECK((promise.lsn == 0) == (promise.written_at_ns == 0));
    /* The system identifier stands between the first two points. */
    char system[TOKEN_BYTES] = {0}, again[TOKEN_BYTES];
    memcpy(system, text.data + 3, text.size - 3);
    uint64_t system_id = strtoull(system, NULL, 16);
    FUZZ_CHECK(token_write(&promise, system_id, again, NULL) == HF_OK);
    FUZZ_CHECK(sv_eq(text, sv_from_cstr(again)));
    if (system_id != 0)
        FUZZ_CHECK(token_read(text, system_id + 1 == 0 ? 1 : system_id + 1, NOW_NS, &promise,
                              NULL) == HF_RC_INVALID);
    return 0;
}
