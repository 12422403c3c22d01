/*
 * The body of an answer of Patroni's from any bytes.
 *
 * Checked beside the absence of crashes: each place that was taken has a host and a port, and a
 * document that was accepted is refused without its last brace.
 */
#include <string.h>

#include "fuzz.h"
#include "pg/patroni.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct errand_answer answer;
    const char *body = (const char *)data;
    memset(&answer, 0, sizeof answer);
    const enum hf_rc rc = patroni_read(body, size, &answer);
    FUZZ_CHECK(rc == answer.rc && answer.count <= ERRAND_PLACES_MAX);
    if (rc != HF_OK) {
        FUZZ_CHECK(rc == HF_RC_PEER && strlen(answer.err.message) > 0);
        return 0;
    }
    for (uint32_t i = 0; i < answer.count; i++) {
        FUZZ_CHECK(memchr(answer.places[i].host, '\0', sizeof answer.places[i].host) != NULL);
        FUZZ_CHECK(answer.places[i].host[0] != '\0' && answer.places[i].port != 0);
    }
    /* What follows the document is not looked at; the document's own end is needed. */
    size_t end = size;
    while (end > 0 && patroni_read(body, end, &answer) == HF_OK)
        end--;
    FUZZ_CHECK(body[end] == '}');
    return 0;
}
