#include "unit.h"

#include <string.h>

#include "wire/replies.h"

#define TRIAL_CHECK(condition) assert_true(condition)
#include "replies_both.h"

/*
 * Sequences as text, word by word. To the server:
 *     >X  a client's message X      +X  ours      *X  in a client's stead     ~X  answered locally
 *     .X  a client's that owes nothing            sX  a client's, skipped     fX  full
 *     rX  refused
 * (Describe is written with its target: DS, DP.) From the server:
 *     <X  forwarded       (X  swallowed       !X  a violation
 * (ReadyForQuery is written with its status, Z alone is ZI; a fatal error is EF.) And then:
 *     lX  the local reply to X is due           -X3  three X were dropped by the server
 *     =i idle  =b busy  =o open  =c copying  =d doubtful  =x over             gone  the client left
 * Local replies and drops must come where they are written, and nowhere else.
 */
struct run {
    struct replies replies;
    struct replies_run memory[8];
    const char *text; /* for the message when it fails */
    const char *word;
};

static void fail_at(const struct run *run, const char *what)
{
    fail_msg("%s: at \"%s\" of \"%s\"", what, run->word, run->text);
}

static void expect(const struct run *run, bool is_so, const char *what)
{
    if (!is_so)
        fail_at(run, what);
}

static struct replies_request request_of(const char *word)
{
    struct replies_request request = {.type = word[1], .target = 'P'};
    if (word[1] == 'D')
        request.target = word[2];
    if (word[0] == '+')
        request.whose = REPLIES_OURS;
    else if (word[0] == '*')
        request.whose = REPLIES_STANDIN;
    else if (word[0] == '~')
        request.whose = REPLIES_LOCAL;
    return request;
}

static void send_word(struct run *run)
{
    enum replies_sent expected = REPLIES_OWED;
    if (run->word[0] == '.')
        expected = REPLIES_FREE;
    else if (run->word[0] == 's')
        expected = REPLIES_SKIPPED;
    else if (run->word[0] == 'r')
        expected = REPLIES_REFUSED;
    struct replies_request request = request_of(run->word);
    if (!run->replies.is_attached && run->word[0] == '.')
        request.whose = REPLIES_OURS;
    expect(run, replies_send(&run->replies, request) == expected, "sent otherwise");
}

static void receive_word(struct run *run)
{
    char type = run->word[1], detail = run->word[2];
    enum replies_action expected = REPLIES_FORWARD;
    if (run->word[0] == '(')
        expected = REPLIES_SWALLOW;
    else if (run->word[0] == '!')
        expected = REPLIES_VIOLATION;
    if (type == 'Z' && (detail == '\0' || detail == ' '))
        detail = 'I';
    else if (type != 'Z' && type != 'E')
        detail = 0;
    struct replies_verdict verdict = both_receive(&run->replies, type, detail);
    expect(run, verdict.action == expected, "received otherwise");
    expect(run, type != 'Z' || run->replies.status == detail || expected == REPLIES_VIOLATION,
           "status otherwise");
}

static void expect_rest(struct run *run)
{
    static const struct {
        char letter;
        enum replies_rest rest;
    } rests[] = {
        {'i', REPLIES_IDLE},    {'b', REPLIES_BUSY},     {'o', REPLIES_OPEN},
        {'c', REPLIES_COPYING}, {'d', REPLIES_DOUBTFUL}, {'x', REPLIES_OVER},
    };
    enum replies_rest rest = replies_rest(&run->replies);
    for (size_t i = 0; i < sizeof rests / sizeof rests[0]; i++)
        if (rests[i].letter == run->word[1])
            expect(run, rest == rests[i].rest, "rests otherwise");
    expect(run,
           replies_is_clean(&run->replies) == (rest == REPLIES_IDLE && run->replies.status == 'I'),
           "clean otherwise");
}

static void expect_local(struct run *run)
{
    struct replies_request request;
    expect(run, replies_next_local(&run->replies, &request), "no local reply is due");
    expect(run, request.type == run->word[1] && request.whose == REPLIES_LOCAL,
           "another local reply is due");
    expect(run, request.type != 'D' || request.target == run->word[2], "another target");
}

static void expect_dropped(struct run *run)
{
    static const struct {
        char type;
        enum replies_kind kind;
    } kinds[] = {
        {'Q', REPLIES_QUERY},
        {'F', REPLIES_FUNCTION},
        {'P', REPLIES_PARSE},
        {'B', REPLIES_BIND},
        {'E', REPLIES_EXECUTE},
        {'C', REPLIES_CLOSE},
        {'S', REPLIES_DESCRIBE_STATEMENT},
    };
    struct replies_dropped dropped;
    expect(run, replies_next_dropped(&run->replies, &dropped), "nothing was dropped");
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (kinds[i].type == run->word[1])
            expect(run, dropped.kind == kinds[i].kind, "another kind was dropped");
    expect(run, dropped.count == (uint32_t)(run->word[2] - '0'), "another number was dropped");
}

/* What is not written must not be there. */
static void expect_nothing_else(struct run *run)
{
    struct replies_request request;
    struct replies_dropped dropped;
    if (run->word[0] != '-')
        expect(run, !replies_next_dropped(&run->replies, &dropped), "something was dropped");
    if (run->word[0] != 'l' && run->word[0] != '-')
        expect(run, !replies_next_local(&run->replies, &request), "a local reply is due");
}

static void do_word(struct run *run)
{
    expect_nothing_else(run);
    if (strncmp(run->word, "gone", 4) == 0)
        replies_detach(&run->replies);
    else if (strncmp(run->word, "new", 3) == 0)
        expect(run, replies_attach(&run->replies), "cannot be attached");
    else if (strncmp(run->word, "not", 3) == 0)
        expect(run, !replies_attach(&run->replies), "can be attached");
    else if (strchr("<(!", run->word[0]) != NULL)
        receive_word(run);
    else if (run->word[0] == '=')
        expect_rest(run);
    else if (run->word[0] == 'l')
        expect_local(run);
    else if (run->word[0] == '-')
        expect_dropped(run);
    else
        send_word(run);
}

static void run_text(const char *text)
{
    struct run run = {.text = text, .word = text};
    replies_init(&run.replies, run.memory, 8, 'I');
    assert_true(replies_attach(&run.replies));
    while (*run.word != '\0') {
        do_word(&run);
        run.word += strcspn(run.word, " ");
        run.word += strspn(run.word, " ");
    }
    expect_nothing_else(&run);
}

static void run_all(const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        run_text(texts[i]);
}

#define RUN_ALL(texts) run_all((texts), sizeof(texts) / sizeof((texts)[0]))

static void replies__queries(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "=i >Q =b <T <D <D <C =b <Z =i",
        ">Q <T <C <C <T <D <C <ZT =i", /* several statements */
        ">Q <I <Z =i",
        ">Q <E <ZE =i",
        ">Q <T <D <E <E <Z =i",
        ">Q >Q >Q <C <Z =b <C <Z <C <Z =i",
        ">Q <H <d <d <c <C <Z =i",
        ">Q <H <d <E <Z =i",
        ">Q <W <d <d <c <T <D <C <C <Z =i", /* START_REPLICATION, to the end of a timeline */
        ">Q <W <d <C",                      /* the walsender shuts down */
        ">Q <T <D <C <T <D <C <H <d <c <H <d <c <T <D <C <C <Z =i", /* BASE_BACKUP */
        ">Q !Z =x",
        ">Q !D =x",
        ">Q <T !Z",
        ">Q <T !T",
        ">Q <C !D",
        ">Q <C !I",
        ">Q !s",
        ">Q !1",
        ">Q !n",
        ">Q !t",
        ">Q !V",
        ">Q !d",
        ">Q !c",
        ">Q <H !C",
        ">Q <H <c !Z",
        ">Q <H <c !d",
        ">Q <E !T",
        ">Q <E !C",
        ">Q <C <Z !Z",
        ">Q <I <Z !T",
        ">Q !R",
        ">Q !K",
        ">Q !v",
        ">Q !\x80",
        "!Z",
        "!D",
        "!1",
        "!C",
        "!E",
        "!G",
        "!T",
    };
    RUN_ALL(texts);
}

static void replies__extended_messages(void **state)
{
    (void)state;
    static const char *const texts[] = {
        ">P >B >DP >E >S =b <1 <2 <T <D <C <Z =i",
        ">P >DS >S <1 <t <n <Z =i",
        ">P >DS >S <1 <t <T <Z =i",
        ">B >DP >E >C >S <2 <n <I <3 <Z =i",
        ">P .H =o <1 =o >B >E .H <2 <D <s =o >E .H <D <C =o >S =b <Z =i", /* a portal suspends */
        ">B >E >B >E >S <2 <C <2 <C <Z =i",
        ">S >S <Z =b <Z =i",
        ">B >E >Q <2 <C <T <C <Z =i", /* a Query ends what was open */
        ">E >S <H <d <c <C <Z =i",
        ">B >F <2 <V <Z =i",
        ">F <V <Z =i",
        ">F <E <Z =i",
        ">F <V <E <Z =i",
        ">F <E <E <ZE =i",
        ">S <E <Z =i",
        ">S <E <E <Z =i", /* the commit fails */
        ">P !2",
        ">P !Z",
        ">B !1",
        ">B !D",
        ">C !2",
        ">DS !T",
        ">DS !n",
        ">DS <t !t",
        ">DP !t",
        ">DP !D",
        ">E !T",
        ">E !2",
        ">E !W",
        ">E <C !D",
        ">E <D <s !2 =x",
        ">E !Z",
        ">S !D",
        ">S !1",
        ">S <E !D",
        ">F !D",
        ">F !Z",
        ">F <V !V",
        ">F <E !V",
        ">E <H !C",
        ">E <H <c !c",
        ">P >B >E >S <1 !C",
        ">P >B >E >S <1 <2 <C !C",
    };
    RUN_ALL(texts);
}

static void replies__an_error_drops_up_to_the_sync_and_no_further(void **state)
{
    (void)state;
    static const char *const texts[] = {
        ">P >B >E >S >Q <E -B1 -E1 <Z =b <C <Z =i",
        ">P >B >E >S >P >B >E >S <1 <2 <D <E <Z <E -B1 -E1 <Z =i",
        /* Bind, Execute, Query, and no Sync: the Query is skipped too (pgdog#1356) */
        ">B >E >Q =b <E -E1 -Q1 =o sQ sB .H >S =b <Z =i",
        ">B >F >S <E -F1 <Z =i",
        ">DS >B >S <t <E -B1 <Z =i",
        ">B >B >B >C >DS >S <2 <E -B1 -C1 -S1 <Z =i",
        ">E <E =o sP sQ sC >S <Z =i",
        ">E <E <E =o >S <Z =i", /* undoing failed too */
        ">E >S <E <E <Z =i",
        ">P .H <1 <E =o sB >S <Z", /* a timeout strikes between messages */
        ">S <Z !E",
    };
    RUN_ALL(texts);
}

static void replies__whose_a_reply_is(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "+Q =b (T (D (C (Z =i",
        "+Q (E (ZE =i",
        "+Q >Q (C (Z <T <D <C <Z =i", /* ahead of the client's COMMIT, say */
        "+P +S >Q (1 (Z <C <Z =i",
        "+P +B +E +S (E -B1 -E1 (Z =i",
        "*P >B >E >S (1 <2 <C <Z =i",
        "*P >B >E >S <E -B1 -E1 <Z =i", /* the client learns why its Bind fails */
        "+C *P >B >S (3 (1 <2 <Z =i",
        /* in one run are only the same ones */
        ">P +P *P >P >S <1 (1 (1 <1 <Z =i",
    };
    RUN_ALL(texts);
}

static void replies__local_replies_come_in_their_turn(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "~P lP =i",
        "~P lP >B >E >S <2 <C <Z =i",
        ">B >E ~P ~P ~C >S <2 <C lP lP lC <Z =i",
        ">B ~DS ~DP >S <2 lDS lDP <Z =i",
        ">B ~P >S <E -P1 <Z =i",       /* not at all, after an error before it */
        ">B ~P >S ~P <E -P1 <Z lP =i", /* but after the Sync again */
        ">Q ~P <T <D <C <Z lP =i",
        "~Q lQ ~F lF ~B lB ~E lE ~S lS =i",
    };
    RUN_ALL(texts);
}

static void replies__notices_come_at_any_moment(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "<N <S <A =i",
        ">Q <N <T <S <D <A <N <C <N <Z =i",
        "+Q (N (T (S <A (C (Z =i", /* notifications are never ours */
        "*P >B (N (1 <N <2",
        ">P >S <E <N <S <Z =i",
        ">Q <G <N .d .c <C <Z =i",
    };
    RUN_ALL(texts);
}

static void replies__copies_into_the_server(void **state)
{
    (void)state;
    static const char *const texts[] = {
        ">Q =b <G =c .d .d =c .c =b <C <Z =i",
        ">Q <G .d .f =b <E <Z =i",
        ">Q .d .c <G =b <C <Z =i",          /* all sent at once */
        ">Q <G .d <E =b .d .c <Z .d .c =i", /* late data after an error */
        ">Q <E .d .c <Z =i",
        ">Q .d .c .d .c <G <C <G <C <Z =i", /* two copies in one Query */
        ">Q <G .c <C <G =c .c <C <Z =i",
        ">E .d .c >S <G <C <Z =i",
        ">Q ~P ~S .c <G <C <Z lP lS =i",
        ">P >B >E .d .f >S <1 <2 <G <E <Z =i",
        ".c .f =i",
        ">Q .c >Q <T <C <Z <T <C <Z =i", /* an end without a copy */
        ">Q <G !C",
        ">E >S <G !C",
        ">Q <G !D",
        ">Q <G !Z",
        ">Q <G !d",
        ">Q <G >Q .c !C",
        ">Q >Q <G .c !C",
        ">Q >P .c <G !C",
    };
    RUN_ALL(texts);
}

static void replies__a_sync_in_a_copy_owes_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {
        /* what libpq does: a Sync behind each Execute, another one behind the end of the copy */
        ">P >B >DP >E >S <1 <2 <n <G =c .d .c >S <C <Z =i", ">E >S >S <G >S .c >S <C <Z =i",
        /* without the second one, the server still waits for it */
        ">E >S <G .c =b <C =o >S <Z =i", ">E >S .c ~S <G <C lS =o >S <Z =i",
        ">E >S .c >P <G <C =o <1 =o >S <Z =i", ">E >S .c >Q <G <C =b <C <Z =i",
        ">Q >S <G .c <C <Z =i", ">Q >S <G .c >S <C <Z =b <Z =i",
        ">Q >S .c >S .c <G <C <G <C <Z =i", /* both between two copies of one Query */
        ">E >S .d .c >P >S <G <C <1 <Z =i",
        ">Q .d .c >S <G <C <Z =b <Z =i", /* this one is behind the end */
    };
    RUN_ALL(texts);
}

static void replies__a_failed_copy_may_leave_a_sync_in_doubt(void **state)
{
    (void)state;
    static const char *const texts[] = {
        /* no Sync in the copy: no doubt */
        ">E <G .d <E =o .d .c >S <Z =i",
        ">Q <G .d <E .c >S <Z =b <Z =i",
        /* the Sync was ignored, and only the second one is answered */
        ">E >S <G .d <E =o .c >S =b <Z =d +Q (I (Z =i",
        /* it was not: both are answered */
        ">E >S <G .d <E =o .c >S =b <Z =d <Z =i",
        ">E >S <G .d <E =o <Z =i >S <Z =i",
        /* the answer to what follows ends the doubt, and a late ReadyForQuery is its own */
        ">E >S <G <E >S <Z =d >Q <T <D <C <Z =i",
        ">E >S <G <E >S <Z =d >Q <Z =b <T <C <Z =i",
        ">E >S <G <E >S <Z =d >P >S <1 <Z =i",
        ">E >S >S <G <E >S <Z =d <Z =d <Z =i",
        ">E >S >S <G <E >S <Z =d <Z =d <Z !Z",
        ">E >S >S <G <E <Z =d +Q (C (Z !Z",
        /* a Sync alone is no proof */
        ">E >S <G <E >S <Z >S <Z =d +Q <Z (I (Z =i",
        ">E >S <G <E >S <E <Z =d <Z =i",
        /* within a Query: its own ReadyForQuery comes first */
        ">Q >S <G <E =b <Z =d <Z =i",
        ">Q >S <G <E <E =b <Z =d +Q (I (Z =i",
        ">Q >S .c >S <G <E <Z =b <Z =d",
        ">Q >S .c >Q <G <E <Z =b <C <Z =i",
        /* requests behind the copy, which the server may skip or not */
        ">E >S .c >P >S <G <E =x",
        ">E >S .c ~P >S <G <E =x",
        ">E >S <G <E rP =x",
        ">E >S <G <E <Z >P >S <1 <Z =i",
        /* but without a Sync in the copy, it is certain */
        ">E .c >P >S <G <E -P1 <Z =i",
    };
    RUN_ALL(texts);
}

static void replies__nothing_is_shown_of_a_client_that_is_gone(void **state)
{
    (void)state;
    static const char *const texts[] = {
        ">Q <T <D gone (D (N (S (A (C =b not (Z =i new >Q <T <D <C <Z =i",
        ">P >B >E gone =o rP rQ rd rS +S (1 (2 (D (E not (Z =i rQ new >Q <C <Z =i",
        ">B ~P ~C >E gone (2 (C +S (Z =i",
        ">Q ~P gone (C (Z =i",
        "gone =i (N (S (A rQ +Q (I (Z new >Q <I <Z =i",
        ">Q gone (C (ZT =i not +Q (C (ZI new",
        ">Q gone (C (ZE =i not",
        "not >Q not",
        ">Q <G gone =c .f =b (E (Z =i",
        ">E <G gone =c .f =o +S (E (Z =i",
        ">E >S <G gone =c .f =b (E =o +S (Z =d not rP rQ +Q (Z (I (Z =i new >Q <C <Z",
        ">E >S <G gone =c .f (E +S (Z =d (Z =i new",
        ">P gone .H (1 (E =o +S (Z =i",
        "*P >B gone (E -B1 =o +S (Z =i",
        "gone new +C *P >B >S (3 (1 <2 <Z",
        "gone new +Q >Q (C (Z <C <Z",
        "gone (EF =x not",
    };
    RUN_ALL(texts);
}

static void replies__a_fatal_error_is_the_end(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "<EF =x rQ !Z", ">Q <T <EF =x !D", "+Q (EF =x",      ">P >B >S <1 <EF",
        ">Q <E <EF =x", "*P >B <EF",       ">Q gone (EF =x",
    };
    RUN_ALL(texts);
    struct replies replies;
    struct replies_run memory[2];
    struct hf_err err;
    replies_init(&replies, memory, 2, 'I');
    assert_int_equal(replies_error(&replies, &err), HF_OK);
    replies_receive(&replies, 'E', REPLIES_FATAL);
    assert_int_equal(replies_error(&replies, &err), HF_RC_PEER);
    assert_string_equal(err.sqlstate, "08006");
    /* The first end is the one that is told. */
    replies_receive(&replies, 'D', 0);
    assert_int_equal(replies_error(&replies, &err), HF_RC_PEER);
    assert_string_equal(err.message, "the server closed the connection");
}

static void replies__a_violation_is_explained(void **state)
{
    (void)state;
    static const struct {
        char sent, received;
        const char *message;
    } cases[] = {
        {'P', 'D', "unexpected server message DataRow in answer to a Parse"},
        {'S', 'T', "unexpected server message RowDescription in answer to a Sync"},
        {'H', 'Z', "unexpected server message ReadyForQuery in answer to nothing"},
        {'Q', '?', "unexpected server message of unknown type in answer to a Query"},
        {'D', '1', "unexpected server message ParseComplete in answer to a Describe"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct replies replies;
        struct replies_run memory[2];
        struct hf_err err;
        replies_init(&replies, memory, 2, 'I');
        assert_true(replies_attach(&replies));
        replies_send(&replies, (struct replies_request){.type = cases[i].sent});
        struct replies_verdict verdict = replies_receive(&replies, cases[i].received, 0);
        assert_int_equal(verdict.action, REPLIES_VIOLATION);
        assert_int_equal(replies_error(&replies, &err), HF_RC_PEER);
        assert_string_equal(err.sqlstate, "08P01");
        assert_string_equal(err.message, cases[i].message);
    }
    run_text(">E >S <G <E rP =x !Z");
}

static void replies__verdicts_name_the_request(void **state)
{
    (void)state;
    struct replies replies;
    struct replies_run memory[8];
    replies_init(&replies, memory, 8, 'I');
    assert_true(replies_attach(&replies));
    static const struct replies_request requests[] = {
        {'P', 0, REPLIES_CLIENT, 7}, {'P', 0, REPLIES_STANDIN, 8}, {'C', 0, REPLIES_OURS, 9},
        {'E', 0, REPLIES_CLIENT, 0}, {'E', 0, REPLIES_CLIENT, 0},  {'S', 0, REPLIES_CLIENT, 0},
    };
    static const struct {
        char type;
        struct replies_verdict verdict;
    } answers[] = {
        {'1', {REPLIES_FORWARD, REPLIES_PARSE, REPLIES_CLIENT, true, 7, 0}},
        {'N', {REPLIES_SWALLOW, REPLIES_NONE, REPLIES_STANDIN, false, 8, 1}},
        {'A', {REPLIES_FORWARD, REPLIES_NONE, REPLIES_CLIENT, false, 0, 1}},
        {'1', {REPLIES_SWALLOW, REPLIES_PARSE, REPLIES_STANDIN, true, 8, 1}},
        {'3', {REPLIES_SWALLOW, REPLIES_CLOSE, REPLIES_OURS, true, 9, 1}},
        {'D', {REPLIES_FORWARD, REPLIES_EXECUTE, REPLIES_CLIENT, false, 0, 1}},
        {'s', {REPLIES_FORWARD, REPLIES_EXECUTE, REPLIES_CLIENT, true, 0, 1}},
        {'E', {REPLIES_FORWARD, REPLIES_EXECUTE, REPLIES_CLIENT, true, 0, 2}},
        {'Z', {REPLIES_FORWARD, REPLIES_SYNC, REPLIES_CLIENT, true, 0, 3}},
        {'N', {REPLIES_FORWARD, REPLIES_NONE, REPLIES_CLIENT, false, 0, 4}},
    };
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++)
        assert_int_equal(replies_send(&replies, requests[i]), REPLIES_OWED);
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct replies_verdict verdict = replies_receive(&replies, answers[i].type, 0);
        assert_memory_equal(&verdict, &answers[i].verdict, sizeof verdict);
    }
}

static void replies__requests_count_even_if_ignored_or_dropped(void **state)
{
    (void)state;
    struct replies replies;
    struct replies_run memory[8];
    struct replies_dropped dropped;
    replies_init(&replies, memory, 8, 'I');
    assert_true(replies_attach(&replies));
    for (const char *type = "ESScSBBES"; *type != '\0'; type++)
        replies_send(&replies, (struct replies_request){.type = *type});
    for (const char *type = "GCZ"; *type != '\0'; type++)
        replies_receive(&replies, *type, 'I');
    assert_int_equal(replies.done, 4);
    replies_receive(&replies, 'E', 0);
    assert_int_equal(replies.done, 5);
    assert_true(replies_next_dropped(&replies, &dropped));
    assert_int_equal(replies.done, 6);
    /* Whoever does not ask is not told of the Execute. */
    assert_int_equal(replies_receive(&replies, 'Z', 'I').request, 7);
    assert_int_equal(replies.done, 8);
    assert_false(replies_next_dropped(&replies, &dropped));
}

static void replies__a_full_queue_takes_what_is_the_same(void **state)
{
    (void)state;
    struct replies replies;
    struct replies_run memory[3];
    replies_init(&replies, memory, 3, 'I');
    assert_true(replies_attach(&replies));
    struct replies_request parse = {.type = 'P'}, bind = {.type = 'B'}, sync = {.type = 'S'};
    assert_int_equal(replies_room(&replies), 3);
    assert_int_equal(replies_send(&replies, parse), REPLIES_OWED);
    assert_int_equal(replies_send(&replies, bind), REPLIES_OWED);
    assert_int_equal(replies_send(&replies, parse), REPLIES_OWED);
    assert_int_equal(replies_room(&replies), 0);
    for (int i = 0; i < 70000; i++)
        assert_int_equal(replies_send(&replies, parse), i < 65534 ? REPLIES_OWED : REPLIES_FULL);
    assert_int_equal(replies_send(&replies, sync), REPLIES_FULL);
    assert_int_equal(replies_send(&replies, (struct replies_request){.type = 'H'}), REPLIES_FREE);
    parse.tag = 1;
    assert_int_equal(replies_send(&replies, parse), REPLIES_FULL);
    replies_receive(&replies, '1', 0);
    assert_int_equal(replies_room(&replies), 1);
    assert_int_equal(replies_send(&replies, sync), REPLIES_OWED);
    replies_receive(&replies, '2', 0);
    for (int i = 0; i < 65535; i++)
        assert_int_equal(replies_receive(&replies, '1', 0).kind, REPLIES_PARSE);
    assert_int_equal(replies_receive(&replies, 'Z', 'I').kind, REPLIES_SYNC);
    assert_true(replies_is_clean(&replies));
}

static void replies__what_is_skipped_is_not_due(void **state)
{
    (void)state;
    struct replies replies;
    struct replies_run memory[8];
    struct replies_request local = {.type = 'P', .whose = REPLIES_LOCAL, .tag = 3};
    struct replies_dropped dropped;
    replies_init(&replies, memory, 8, 'I');
    assert_true(replies_attach(&replies));
    replies_send(&replies, (struct replies_request){.type = 'B'});
    replies_send(&replies, local);
    replies_send(&replies, (struct replies_request){.type = 'E', .whose = REPLIES_STANDIN});
    replies_receive(&replies, 'E', 0);
    assert_false(replies_next_local(&replies, &local));
    /* What is dropped is told even if the client has gone meanwhile. */
    replies_detach(&replies);
    assert_true(replies_next_dropped(&replies, &dropped));
    assert_int_equal(dropped.kind, REPLIES_EXECUTE);
    assert_false(replies_next_dropped(&replies, &dropped));
}

static void replies__a_client_that_leaves_waits_for_nothing(void **state)
{
    (void)state;
    struct replies replies;
    struct replies_run memory[8];
    replies_init(&replies, memory, 8, 'I');
    assert_true(replies_attach(&replies));
    assert_int_equal(
        replies_send(&replies, (struct replies_request){.type = 'P', .whose = REPLIES_LOCAL}),
        REPLIES_OWED);
    replies_detach(&replies);
    assert_int_equal(replies_rest(&replies), REPLIES_IDLE);
    assert_true(replies_attach(&replies));
    replies_send(&replies, (struct replies_request){.type = 'Q'});
    replies_receive(&replies, 'T', 0);
    replies_detach(&replies);
    struct replies_verdict verdict = replies_receive(&replies, 'D', 0);
    assert_int_equal(verdict.action, REPLIES_SWALLOW);
    assert_int_equal(verdict.whose, REPLIES_OURS);
    verdict = replies_receive(&replies, 'E', REPLIES_FATAL);
    assert_true(verdict.is_last && verdict.kind == REPLIES_QUERY);
}

static void replies__doubts_are_counted_up_to_a_limit(void **state)
{
    (void)state;
    struct replies replies;
    struct replies_run memory[8];
    replies_init(&replies, memory, 8, 'I');
    assert_true(replies_attach(&replies));
    replies_send(&replies, (struct replies_request){.type = 'E'});
    for (int i = 0; i < 70000; i++)
        replies_send(&replies, (struct replies_request){.type = 'S'});
    replies_receive(&replies, 'G', 0);
    replies_receive(&replies, 'E', 0);
    assert_int_equal(replies.doubt, UINT16_MAX);
}

static void replies__what_cannot_be_told_apart_is_no_end_by_the_server(void **state)
{
    (void)state;
    for (int is_fatal = 0; is_fatal < 2; is_fatal++) {
        struct replies replies;
        struct replies_run memory[8];
        replies_init(&replies, memory, 8, 'I');
        assert_true(replies_attach(&replies));
        replies_send(&replies, (struct replies_request){.type = 'E'});
        replies_send(&replies, (struct replies_request){.type = 'S'});
        replies_receive(&replies, 'G', 0);
        replies_receive(&replies, 'E', is_fatal ? REPLIES_FATAL : 0);
        assert_false(replies_is_ambiguous(&replies));
        assert_int_equal(replies_send(&replies, (struct replies_request){.type = 'Q'}),
                         REPLIES_REFUSED);
        assert_int_equal(replies_is_ambiguous(&replies), !is_fatal);
    }
}

static void replies__only_the_copy_of_an_execute_is_broken_for_certain(void **state)
{
    (void)state;
    for (int is_query = 0; is_query < 2; is_query++) {
        struct replies replies;
        struct replies_run memory[8];
        replies_init(&replies, memory, 8, 'I');
        assert_true(replies_attach(&replies));
        replies_send(&replies, (struct replies_request){.type = is_query ? 'Q' : 'E'});
        assert_false(replies_is_breaking(&replies));
        replies_receive(&replies, 'G', 0);
        assert_int_equal(replies_rest(&replies), REPLIES_COPYING);
        assert_int_equal(replies_is_breaking(&replies), !is_query);
        replies_send(&replies, (struct replies_request){.type = 'c'});
        assert_false(replies_is_breaking(&replies));
    }
}

/* Every place of the ring is the first one once. */
static void replies__the_ring_goes_round(void **state)
{
    (void)state;
    struct replies replies;
    struct replies_run memory[5];
    replies_init(&replies, memory, 5, 'I');
    assert_true(replies_attach(&replies));
    assert_int_equal(replies_size(5), sizeof memory);
    for (uint32_t turn = 1; turn < 40; turn++) {
        for (const char *type = "PBES"; *type != '\0'; type++)
            assert_int_equal(
                replies_send(&replies, (struct replies_request){.type = *type, .tag = turn}),
                REPLIES_OWED);
        for (const char *type = turn % 3 == 0 ? "EZ" : "12DCZ"; *type != '\0'; type++)
            assert_int_equal(replies_receive(&replies, *type, 'I').tag, turn);
        assert_int_equal(replies_rest(&replies), REPLIES_IDLE);
        replies_send(&replies, (struct replies_request){.type = 'Q'});
        replies_receive(&replies, 'I', 0);
        replies_receive(&replies, 'Z', 'I');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies__queries),
        cmocka_unit_test(replies__extended_messages),
        cmocka_unit_test(replies__an_error_drops_up_to_the_sync_and_no_further),
        cmocka_unit_test(replies__whose_a_reply_is),
        cmocka_unit_test(replies__local_replies_come_in_their_turn),
        cmocka_unit_test(replies__notices_come_at_any_moment),
        cmocka_unit_test(replies__copies_into_the_server),
        cmocka_unit_test(replies__a_sync_in_a_copy_owes_nothing),
        cmocka_unit_test(replies__a_failed_copy_may_leave_a_sync_in_doubt),
        cmocka_unit_test(replies__nothing_is_shown_of_a_client_that_is_gone),
        cmocka_unit_test(replies__a_fatal_error_is_the_end),
        cmocka_unit_test(replies__a_violation_is_explained),
        cmocka_unit_test(replies__verdicts_name_the_request),
        cmocka_unit_test(replies__requests_count_even_if_ignored_or_dropped),
        cmocka_unit_test(replies__a_full_queue_takes_what_is_the_same),
        cmocka_unit_test(replies__what_is_skipped_is_not_due),
        cmocka_unit_test(replies__a_client_that_leaves_waits_for_nothing),
        cmocka_unit_test(replies__doubts_are_counted_up_to_a_limit),
        cmocka_unit_test(replies__only_the_copy_of_an_execute_is_broken_for_certain),
        cmocka_unit_test(replies__what_cannot_be_told_apart_is_no_end_by_the_server),
        cmocka_unit_test(replies__the_ring_goes_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
