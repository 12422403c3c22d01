/*
 * What a server sends to the questions about a lost commit. The first byte chooses the reader: the
 * rest is a history file, or the columns of a row, parted by line feeds ("-" is SQL's NULL).
 *
 * Checked beside the absence of crashes: a history that is accepted is in order, and only a whole
 * one claims to be; what is read of a row is in range, and any judgement is among its kind.
 */
#include <string.h>

#include "core/commit.h"
#include "fuzz.h"

#define TEXT_BYTES 4096

static void read_history(struct sv text)
{
    struct commit_history history;
    if (commit_history_read(&history, 9, text, NULL) != HF_OK) {
        FUZZ_CHECK(!history.is_whole);
        return;
    }
    FUZZ_CHECK(history.count <= COMMIT_SWITCHES_MAX);
    for (uint32_t i = 0; i < history.count; i++) {
        FUZZ_CHECK(history.switches[i].timeline < 9);
        FUZZ_CHECK(i == 0 || history.switches[i - 1].timeline < history.switches[i].timeline);
        FUZZ_CHECK(i == 0 || history.switches[i - 1].lsn <= history.switches[i].lsn);
    }
}

static void read_row(char *text, bool is_probe)
{
    const char *values[COMMIT_COLUMNS_MAX] = {0};
    struct commit_probe probe = {.xid = 7, .lsn = 5, .at = {.timeline = 1, .started_us = 1}};
    struct commit_answer answer;
    for (int i = 0; i < COMMIT_COLUMNS_MAX && text != NULL; i++) {
        char *end = strchr(text, '\n');
        if (end != NULL)
            *end++ = '\0';
        values[i] = strcmp(text, "-") == 0 ? NULL : text;
        text = end;
    }
    if (is_probe) {
        enum hf_rc rc = commit_probe_read(&probe, values, NULL);
        FUZZ_CHECK(rc == HF_OK || probe.xid == 0);
        FUZZ_CHECK(probe.xid == 0 || (probe.lsn != 0 && probe.at.timeline != 0));
    } else if (commit_answer_read(&answer, values)) {
        struct commit_finding found = commit_judge(&probe, &answer, true, NULL);
        FUZZ_CHECK(found.verdict <= COMMIT_VERDICT_NEVER && found.why < COMMIT_WHYS);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[TEXT_BYTES];
    if (size == 0 || size > sizeof text)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    if (data[0] % 3 == 0)
        read_history(sv_from(text, size - 1));
    else
        read_row(text, data[0] % 3 == 1);
    return 0;
}
