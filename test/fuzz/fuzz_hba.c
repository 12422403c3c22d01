/*
 * Rules of any text, and connections that ask them.
 *
 * Checked beside the absence of crashes and leaks: a decision names a line of the text and a
 * method; the same question gets the same answer; a unix socket is never let in by a rule for
 * addresses, nor an address by one for sockets; what is refused is blamed on a line.
 */
#include <netinet/in.h>
#include <string.h>

#include "fuzz.h"
#include "proxy/hba.h"

static void ask(const struct hba *hba, const struct hba_request *request, uint32_t lines)
{
    const struct hba_rule *rule = hba_match(hba, request);
    FUZZ_CHECK(hba_match(hba, request) == rule);
    if (rule == NULL)
        return;
    FUZZ_CHECK(rule->line >= 1 && rule->line <= lines);
    FUZZ_CHECK(rule->method <= PROXY_AUTH_PEER);
    FUZZ_CHECK(rule->method != PROXY_AUTH_CERT || request->is_tls);
}

static void ask_all(const struct hba *hba, uint32_t lines)
{
    static const struct peer peers[] = {
        {.family = AF_UNIX},
        {.family = AF_INET, .ip = {127, 0, 0, 1}},
        {.family = AF_INET, .ip = {192, 0, 2, 1}},
        {.family = AF_INET6, .ip = {0x20, 0x01, 0x0d, 0xb8}},
        {.family = AF_UNSPEC},
    };
    static const char *const names[] = {"", "a", "all", "app", "replication", "sameuser"};
    for (size_t p = 0; p < sizeof peers / sizeof peers[0]; p++) {
        for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
            struct hba_request request = {.peer = &peers[p],
                                          .is_tls = n % 2 == 1,
                                          .is_replication = n == 4,
                                          .database = sv_from_cstr(names[n]),
                                          .user = sv_from_cstr(names[(n + p) % 3])};
            ask(hba, &request, lines);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mem mem;
    struct hba *hba = NULL;
    struct hf_err err = {0};
    const struct sv text = sv_from((const char *)data, size);
    uint32_t lines = 1;
    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n';
    mem_init(&mem, 0);
    if (hba_new(&hba, text, &mem, &err) == HF_OK) {
        FUZZ_CHECK(hba_count(hba) > 0 && hba_count(hba) <= lines);
        /* samehost and samenet ask the kernel, which is slow and not what is tested. */
        if (size < 7 || memmem(data, size, "same", 4) == NULL)
            ask_all(hba, lines);
    } else {
        FUZZ_CHECK(hba == NULL && err.message[0] != '\0');
        FUZZ_CHECK(strncmp(err.message, "line ", 5) == 0 ||
                   strncmp(err.message, "there is no rule", 16) == 0 || size > HBA_TEXT_MAX);
    }
    hba_free(hba);
    mem_deinit(&mem);
    return 0;
}
