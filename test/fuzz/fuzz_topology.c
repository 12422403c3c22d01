/*
 * Topology from any sequence of events: each 12 bytes are one.
 *
 * Checked beside the absence of crashes, and beside snapshot_check() in each fill: at most one
 * endpoint takes writes, it claims to be the primary on the snapshot's timeline, what is fenced,
 * foreign or unknown takes nothing, and neither timeline nor generations fall.
 */
#include <string.h>

#include "core/topology.h"
#include "fuzz.h"

#define EVENT_BYTES 12

static void check(const struct topology *t, const struct snapshot *view, uint32_t *timeline)
{
    uint32_t writers = 0;
    for (uint32_t i = 0; i < view->count; i++) {
        const struct topology_endpoint *e = &t->endpoints[i];
        const struct snapshot_endpoint *shown = &view->endpoints[i];
        writers += shown->accepts_writes;
        if (shown->accepts_writes)
            FUZZ_CHECK(shown->role == ENDPOINT_PRIMARY && shown->timeline == view->timeline);
        if (e->is_fenced || e->is_foreign || e->is_rival || shown->role == ENDPOINT_UNKNOWN)
            FUZZ_CHECK(!shown->accepts_writes && !(shown->accepts_reads && !e->is_rival));
        FUZZ_CHECK(shown->role_generation <= t->generations);
    }
    FUZZ_CHECK(writers <= 1 && t->timeline >= *timeline);
    *timeline = t->timeline;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct topology t;
    static struct snapshot view;
    const struct topology_config config = {.warm_up_ns = HF_SEC(5)};
    int64_t now_ns = HF_SEC(1);
    uint32_t timeline = 0;
    topology_init(&t, &config, now_ns);
    for (; size >= EVENT_BYTES; data += EVENT_BYTES, size -= EVENT_BYTES) {
        struct topology_member member = {.weight = data[2], .tier = data[3], .zone = data[4]};
        struct topology_answer answer = {
            .is_in_recovery = (data[2] & 1) != 0,
            .is_read_only = (data[2] & 2) != 0,
            .timeline = data[3] % 8,
            .system_identifier = data[4] % 4,
            .instance = data[5] % 4,
            .written_lsn = data[6],
            .received_lsn = data[7],
            .replayed_lsn = data[8],
            .receiver = (enum topology_receiver)(data[9] % 3),
            .message_age_ns = HF_NEVER,
            .replay_age_ns = data[10],
        };
        struct topology_action action;
        now_ns += (int64_t)(int8_t)data[11] * HF_MS(20); /* backwards too */
        answer.asked_at_ns = now_ns - data[10] * HF_MS(1);
        member.name[0] = (char)('a' + data[1] % 40);
        topology_feed(&t,
                      &(struct topology_event){
                          .kind = (enum topology_event_kind)(data[0] % (TOPOLOGY_EV_TICK + 1)),
                          .now_ns = now_ns,
                          .endpoint = data[1] % 40,
                          .member = &member,
                          .answer = &answer,
                          .outcome = {.code = (enum outcome_code)(data[2] % OUTCOME_CODES),
                                      .sqlstate = data[3] % 2 ? sqlstate_pack("57P03") : 0},
                          .evidence = (enum outcome_endpoint)(data[2] % (OUTCOME_EP_CORRUPT + 1)),
                          .is_on = (data[2] & 1) != 0,
                          .level = (enum degrade_level)(data[2] % DEGRADE_LEVELS),
                          .until_ns = HF_NEVER});
        while ((data[9] & 128) == 0 && topology_next(&t, &action)) {
            char text[256];
            topology_text(&t, &action, text, sizeof text);
            FUZZ_CHECK(strlen(text) > 0);
        }
        FUZZ_CHECK(topology_deadline(&t) >= 0);
        topology_fill(&t, now_ns, &view);
        check(&t, &view, &timeline);
    }
    return 0;
}
