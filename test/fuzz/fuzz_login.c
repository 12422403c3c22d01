/*
 * Any bytes as what a server says to a login. The first two bytes choose how we log in.
 *
 * Checked beside the absence of crashes: it comes to the same end however the bytes are split; what
 * is written are the messages that a client may say; a password in plain leaves only where that is
 * allowed; where nothing but SCRAM is allowed nobody gets in, since these bytes cannot know our
 * secret; the limits hold.
 */
#include <string.h>

#include "fuzz.h"
#include "wire/login.h"

#define PASSWORD "a password in plain"
#define STORED   "md5c3bef4c2e9ae15b3ba7a2dfb7f2ad9f4"
#define VERIFIER                                                                                   \
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"    \
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

/* What a login came to, to be compared with what the same bytes came to when they were split. */
struct end {
    enum login_kind kind;
    enum hf_rc rc;
    char sqlstate[6];
    size_t consumed;
    size_t events;
    size_t said;
    bool is_slow; /* the server asks for more work than is done here */
};

static char out_block[65536];

static void choose(struct login_config *config, uint8_t first, uint8_t second)
{
    static const struct sv secrets[] = {SV_INIT(PASSWORD), SV_INIT(STORED), SV_INIT(VERIFIER),
                                        SV_INIT("")};
    static struct scram_verifier verifier;
    static struct scram_keys keys;
    FUZZ_CHECK(scram_verifier_parse(&verifier, SV(VERIFIER), NULL) == HF_OK);
    *config = (struct login_config){
        .user = SV("ann"),
        .database = SV("shop"),
        .version = (first & 1) != 0 ? STARTUP_VERSION(3, 2) : STARTUP_VERSION(3, 0),
        .sslmode = (enum login_sslmode)((first >> 1 & 7) % 6),
        .is_local = (first & 16) != 0,
        .is_encrypted = (first & 32) != 0,
        .methods = second & LOGIN_METHODS_ALL,
        .secret = secrets[second >> 4 & 3],
        .keys = (second & 64) != 0 ? &keys : NULL,
        .verifier = (second & 64) != 0 ? &verifier : NULL,
        .random = "abcdefghijklmnopq",
    };
    if ((second & 128) != 0)
        config->binding.size = 32;
}

static void check_said(const struct login *login, struct sv said)
{
    const struct login_config *config = login->config;
    bool may_say = (config->methods & LOGIN_METHOD_CLEARTEXT) != 0 &&
                   (login->is_encrypted || config->is_local);
    for (size_t i = 0; i < said.size; i++)
        FUZZ_CHECK(may_say || !sv_starts_with(sv_drop(said, i), SV(PASSWORD)));
}

/* One call; false at the end. */
static bool step(struct login *login, struct sv view, struct buffer *out, struct end *end)
{
    struct login_event event;
    login_feed(login, view, out, &event);
    FUZZ_CHECK(event.consumed <= view.size);
    end->consumed += event.consumed;
    end->kind = event.kind;
    end->events += event.kind != LOGIN_MORE && event.kind != LOGIN_WORK;
    if (event.kind == LOGIN_START_TLS) {
        struct scram_binding binding = login->config->binding;
        FUZZ_CHECK(login_encrypted(login, &binding, out) == HF_OK);
    }
    for (int slices = 0; event.kind == LOGIN_WORK; slices++) {
        end->is_slow = slices > 20;
        if (end->is_slow)
            return false;
        login_work(login, out, &event);
        FUZZ_CHECK(event.consumed == 0 && event.kind != LOGIN_FAILED);
    }
    return event.kind != LOGIN_FAILED && event.kind != LOGIN_READY;
}

/* Feeds so many bytes more at a time. */
static struct end run(const struct login_config *config, struct sv bytes, size_t stride)
{
    static struct login login;
    struct buffer out;
    struct end end = {0};
    size_t shown = 0;
    buffer_init(&out, out_block, sizeof out_block);
    FUZZ_CHECK(login_begin(&login, config, &out) == HF_OK);
    bool goes_on = true;
    while (goes_on && (end.kind != LOGIN_MORE || shown < bytes.size)) {
        if (end.kind == LOGIN_MORE)
            shown = shown + stride < bytes.size ? shown + stride : bytes.size;
        goes_on = step(&login, sv_drop(sv_take(bytes, shown), end.consumed), &out, &end);
    }
    check_said(&login, buffer_view(&out));
    end.rc = login.err.rc;
    memcpy(end.sqlstate, login.err.sqlstate, sizeof end.sqlstate);
    end.said = buffer_held(&out);
    FUZZ_CHECK((end.kind == LOGIN_FAILED) == (end.rc != HF_OK));
    FUZZ_CHECK(end.kind != LOGIN_READY || config->methods != LOGIN_METHOD_SCRAM);
    FUZZ_CHECK(login.messages <= LOGIN_MESSAGES_MAX + 1);
    login_wipe(&login);
    return end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct login_config config;
    if (size < 2)
        return 0;
    choose(&config, data[0], data[1]);
    struct sv bytes = sv_from((const char *)data + 2, size - 2);
    struct end whole = run(&config, bytes, bytes.size + 1), split = run(&config, bytes, 1);
    /* The answer about TLS must come alone, so there it does matter how the bytes arrive. */
    bool asks_tls = config.sslmode >= LOGIN_SSL_PREFER && !config.is_local && !config.is_encrypted;
    if (asks_tls || whole.is_slow || split.is_slow)
        return 0;
    FUZZ_CHECK(whole.kind == split.kind && whole.rc == split.rc);
    FUZZ_CHECK(memcmp(whole.sqlstate, split.sqlstate, sizeof whole.sqlstate) == 0);
    FUZZ_CHECK(whole.events == split.events && whole.said == split.said);
    return 0;
}
