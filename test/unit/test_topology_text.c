#include "unit.h"

#include "core/topology.h"

#include "topology_rig.h"

static void topology_text__each_piece_of_news_is_a_sentence_with_its_names(void **state)
{
    (void)state;
    static const struct {
        struct topology_action news;
        const char *text;
    } cases[] = {
        {{.kind = TOPOLOGY_ACT_PUBLISH}, "a snapshot is due"},
        {{.kind = TOPOLOGY_ACT_ASK, .endpoint = 1}, "b is asked now"},
        {{.kind = TOPOLOGY_NEWS_ADDED}, "a is a member now"},
        {{.kind = TOPOLOGY_NEWS_REMOVED}, "a is no member any more"},
        {{.kind = TOPOLOGY_NEWS_UP, .health = ENDPOINT_UP, .role = ENDPOINT_REPLICA},
         "a is up (replica)"},
        {{.kind = TOPOLOGY_NEWS_SUSPECT, .health = ENDPOINT_SUSPECT, .why = TOPOLOGY_WHY_ACCUSED},
         "a is suspect: calls have failed there"},
        {{.kind = TOPOLOGY_NEWS_DOWN,
          .why = TOPOLOGY_WHY_REFUSED,
          .outcome = {.code = OUTCOME_CONNECT_REFUSED}},
         "a is down: it takes no connections: nothing listens on the port"},
        {{.kind = TOPOLOGY_NEWS_ROLE, .role = ENDPOINT_PRIMARY, .timeline = 1},
         "a is the primary, on timeline 1"},
        {{.kind = TOPOLOGY_NEWS_ROLE,
          .endpoint = 1,
          .role = ENDPOINT_REPLICA,
          .old_role = ENDPOINT_PRIMARY,
          .timeline = 2},
         "b is a replica, on timeline 2, was primary"},
        {{.kind = TOPOLOGY_NEWS_FENCED, .timeline = 1, .cluster_timeline = 3},
         "a is fenced: it claims to be the primary on timeline 1, the cluster is on 3"},
        {{.kind = TOPOLOGY_NEWS_RIVALS, .other = 1, .timeline = 4},
         "a and b both claim to be the primary on timeline 4: neither is written to until one is "
         "gone"},
        {{.kind = TOPOLOGY_NEWS_FOREIGN, .identifier = 5, .cluster_identifier = 6},
         "a is refused: its system identifier is 5, the cluster's is 6"},
        {{.kind = TOPOLOGY_NEWS_ALIAS, .endpoint = 1, .other = 0},
         "b is the same server as a, and is not used"},
        {{.kind = TOPOLOGY_NEWS_CORRUPT}, "a has corrupt data: look at its log, and replace it"},
        {{.kind = TOPOLOGY_NEWS_LEVEL,
          .endpoint = TOPOLOGY_NO_ENDPOINT,
          .change = {.from = DEGRADE_FULL, .to = DEGRADE_READ_ONLY, .cause = DEGRADE_CAUSE_LOST}},
         "the level is read_only, was full: lost"},
        {{.kind = TOPOLOGY_NEWS_LOST, .count = 3, .endpoint = TOPOLOGY_NO_ENDPOINT},
         "3 pieces of news were lost"},
        {{.kind = TOPOLOGY_NEWS_ADDED, .endpoint = TOPOLOGY_NO_ENDPOINT},
         "somebody is a member now"},
    };
    struct rig rig;
    char text[256];
    rig_init(&rig, NULL, 2);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        topology_text(&rig.t, &cases[i].news, text, sizeof text);
        assert_string_equal(text, cases[i].text);
    }
}

static void topology_text__each_reason_has_words(void **state)
{
    (void)state;
    for (int why = 0; why < TOPOLOGY_WHYS; why++)
        assert_true(strlen(topology_why_text((enum topology_why)why)) > 5);
}

static void topology_text__the_last_news_are_the_reason(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, NULL, 1);
    assert_int_equal(topology_reason(&rig.t)->kind, TOPOLOGY_NEWS_ADDED);
    rig_settle(&rig);
    assert_int_equal(topology_reason(&rig.t)->kind, TOPOLOGY_NEWS_ROLE);
    rig_silence(&rig, 0, OUTCOME_TIMEOUT);
    assert_int_equal(topology_reason(&rig.t)->kind, TOPOLOGY_NEWS_SUSPECT);
    assert_int_equal(topology_reason(&rig.t)->outcome.code, OUTCOME_TIMEOUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topology_text__each_piece_of_news_is_a_sentence_with_its_names),
        cmocka_unit_test(topology_text__each_reason_has_words),
        cmocka_unit_test(topology_text__the_last_news_are_the_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
