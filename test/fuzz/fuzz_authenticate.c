/*
 * Any bytes as what a client says that is to be authenticated. The first two bytes choose the rule
 * and the user's secret.
 *
 * Checked beside the absence of crashes: it comes to the same end however the bytes are split;
 * nobody gets in but by trust, by a certificate, or with the password in the very words; unknown
 * users never do; what is written are messages of a server that authenticates.
 */
#include <string.h>

#include "fuzz.h"
#include "wire/authenticate.h"

#define PASSWORD "pencil"
#define STORED   "md56b5b29e1d2d7b0d4ddd1e4be8cd3b8a7"
#define VERIFIER                                                                                   \
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"    \
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

struct end {
    enum authenticate_kind kind;
    enum hf_rc rc;
    char sqlstate[6];
    size_t consumed;
    size_t said;
};

static void choose(struct authenticate_config *config, uint8_t first, uint8_t second)
{
    static const struct sv secrets[] = {SV_INIT(PASSWORD), SV_INIT(STORED), SV_INIT(VERIFIER),
                                        SV_INIT("SCRAM-SHA-256$rubbish"), SV_INIT("")};
    static const struct sv names[] = {SV_INIT("ann"), SV_INIT("bob"), SV_INIT("")};
    *config = (struct authenticate_config){
        .method = (enum authenticate_method)(first % 8),
        .user = SV("ann"),
        .database = SV("shop"),
        .address = SV("::1"),
        .is_replication = (second & 1) != 0,
        .is_local = (second & 2) != 0,
        .is_encrypted = (second & 4) != 0,
        .secret = secrets[first / 8 % 5],
        .identity = names[first / 40 % 3],
        .is_identified = (second & 64) != 0,
        .has_certificate = (second & 128) != 0,
        .clientcert = (enum authenticate_clientcert)(first / 120 % 3),
        .mock = (enum password_kind)((second >> 4 & 3) % 3),
        .mock_seed = SV("seed"),
        .iterations = 2,
        .random = "abcdefghijklmnopq",
        .salt = "0123456789abcde",
        .md5_salt = {'s', 'a', 'l', 't'},
    };
    if ((second & 8) != 0)
        config->binding.size = 32;
}

static void check_said(struct sv said)
{
    struct frame frame;
    struct frame_part part;
    frame_init(&frame, FRAME_BACKEND, FRAME_LOGIN);
    while (frame_look(&frame, said, &part) == FRAME_PART) {
        FUZZ_CHECK(part.type == 'R' && part.is_last);
        frame_take(&frame, part.bytes.size);
        said = sv_drop(said, part.bytes.size);
    }
    FUZZ_CHECK(said.size == 0);
}

/* Has the client, in one message and nothing before it, said the password? */
static bool says_password(struct sv bytes)
{
    return sv_starts_with(bytes, SV("p\0\0\0\x0b" PASSWORD "\0"));
}

/* Nobody is let in without what the method asks for. */
static void check_admitted(const struct authenticate_config *config, struct sv bytes)
{
    FUZZ_CHECK(config->clientcert == AUTHENTICATE_CLIENTCERT_NO || config->has_certificate);
    switch (config->method) {
    case AUTHENTICATE_TRUST:
        break;
    case AUTHENTICATE_CERT:
        FUZZ_CHECK(config->is_encrypted && config->has_certificate);
        FUZZ_CHECK(config->is_identified && config->identity.size > 0);
        break;
    case AUTHENTICATE_PEER:
        FUZZ_CHECK(config->is_identified && config->identity.size > 0);
        break;
    case AUTHENTICATE_PASSWORD:
        FUZZ_CHECK(config->is_encrypted || config->is_local);
        FUZZ_CHECK(config->secret.size > 0 && says_password(bytes));
        break;
    case AUTHENTICATE_MD5:
    case AUTHENTICATE_SCRAM:
    case AUTHENTICATE_NO_RULE:
    case AUTHENTICATE_REJECT:
        FUZZ_CHECK(false);
    }
}

static void check_end(const struct authenticate *authenticate, struct sv bytes)
{
    const struct scram_verifier *verifier;
    if (authenticate->end == AUTHENTICATE_OK) {
        check_admitted(authenticate->config, bytes);
        return;
    }
    FUZZ_CHECK(authenticate_keys(authenticate, &verifier) == NULL);
    FUZZ_CHECK(authenticate_password(authenticate).size == 0);
}

static struct end run(const struct authenticate_config *config, struct sv bytes, size_t stride)
{
    static struct authenticate authenticate;
    static char block[4096];
    struct buffer out;
    struct authenticate_event event;
    struct end end = {0};
    size_t shown = 0;
    buffer_init(&out, block, sizeof block);
    authenticate_begin(&authenticate, config, &out, &event);
    while (event.kind == AUTHENTICATE_WORK ||
           (event.kind == AUTHENTICATE_MORE && shown < bytes.size)) {
        if (event.kind == AUTHENTICATE_WORK) {
            authenticate_work(&authenticate, &out, &event);
        } else {
            shown = shown + stride < bytes.size ? shown + stride : bytes.size;
            struct sv view = sv_drop(sv_take(bytes, shown), end.consumed);
            authenticate_feed(&authenticate, view, &out, &event);
            FUZZ_CHECK(event.consumed <= view.size);
        }
        end.consumed += event.consumed;
    }
    check_said(buffer_view(&out));
    check_end(&authenticate, bytes);
    end.kind = event.kind;
    end.rc = authenticate.err.rc;
    end.said = buffer_held(&out);
    memcpy(end.sqlstate, authenticate.err.sqlstate, sizeof end.sqlstate);
    FUZZ_CHECK((end.kind == AUTHENTICATE_DENIED) == (end.rc != HF_OK));
    authenticate_wipe(&authenticate);
    return end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct authenticate_config config;
    if (size < 2)
        return 0;
    choose(&config, data[0], data[1]);
    struct sv bytes = sv_from((const char *)data + 2, size - 2);
    struct end whole = run(&config, bytes, bytes.size + 1), split = run(&config, bytes, 1);
    FUZZ_CHECK(whole.kind == split.kind && whole.rc == split.rc && whole.said == split.said);
    FUZZ_CHECK(memcmp(whole.sqlstate, split.sqlstate, sizeof whole.sqlstate) == 0);
    return 0;
}
