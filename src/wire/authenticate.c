#include "wire/authenticate.h"

#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "wire/build.h"
#include "wire/bytes.h"
#include "wire/message.h"

enum authenticate_state {
    OVER, /* what all zero bytes are, too */
    WAITS_PASSWORD,
    CHECKS_PASSWORD, /* by stretching it */
    WAITS_MD5,
    MAKES_VERIFIER,
    WAITS_MECHANISM,
    WAITS_FIRST, /* as WAITS_MECHANISM, which came without the mechanism's first message */
    WAITS_FINAL,
};

/* Enough for what the server says in SCRAM, without the message around it. */
#define SCRAM_TEXT_MAX 512

/* What an answer is compared with for a user who is unknown, so that it takes the same time. */
#define MOCK_MD5   "md500000000000000000000000000000000"
#define MOCK_PLAIN "mock"

/* ---- Ends ---- */

/* What went wrong stands in authenticate.err. */
static void be_denied(struct authenticate *authenticate, struct authenticate_event *event)
{
    authenticate->state = OVER;
    authenticate->end = AUTHENTICATE_DENIED;
    event->kind = AUTHENTICATE_DENIED;
}

static enum hf_rc unwritten(struct authenticate *authenticate)
{
    return err_set(&authenticate->err, HF_RC_LIMIT, "54000",
                   "no room for a message of the authentication");
}

static enum hf_rc accept_client(struct authenticate *authenticate, struct buffer *out,
                                struct authenticate_event *event)
{
    if (build_auth(out, BUILD_AUTH_OK, SV("")) != HF_OK)
        return unwritten(authenticate);
    authenticate->state = OVER;
    authenticate->end = AUTHENTICATE_OK;
    event->kind = AUTHENTICATE_OK;
    return HF_OK;
}

static enum hf_rc deny_password(struct authenticate *authenticate)
{
    struct sv user = authenticate->config->user;
    if (authenticate->log[0] == '\0')
        snprintf(authenticate->log, sizeof authenticate->log,
                 "Password does not match for user \"" SV_FMT "\".", SV_ARG(user));
    return err_set(&authenticate->err, HF_RC_DENIED, "28P01",
                   "password authentication failed for user \"" SV_FMT "\"", SV_ARG(user));
}

/* By a rule of pg_hba.conf, or for want of one, in PostgreSQL's words. */
static enum hf_rc deny_rule(struct authenticate *authenticate, bool is_rule)
{
    const struct authenticate_config *config = authenticate->config;
    struct sv host = config->is_local ? SV("[local]") : config->address;
    const char *what = config->is_replication ? "replication connection" : "connection";
    const char *encryption = config->is_encrypted ? "SSL encryption" : "no encryption";
    char why[64];
    snprintf(why, sizeof why,
             is_rule                  ? "pg_hba.conf rejects %s for"
             : config->is_replication ? "no pg_hba.conf entry for %s from"
                                      : "no pg_hba.conf entry for",
             what);
    if (config->is_replication)
        return err_set(&authenticate->err, HF_RC_DENIED, "28000",
                       "%s host \"" SV_FMT "\", user \"" SV_FMT "\", %s", why, SV_ARG(host),
                       SV_ARG(config->user), encryption);
    return err_set(&authenticate->err, HF_RC_DENIED, "28000",
                   "%s host \"" SV_FMT "\", user \"" SV_FMT "\", database \"" SV_FMT "\", %s", why,
                   SV_ARG(host), SV_ARG(config->user), SV_ARG(config->database), encryption);
}

/* ---- SCRAM ---- */

static bool has_plus(const struct authenticate_config *config)
{
    return config->is_encrypted && config->binding.size > 0;
}

static void note(struct authenticate *authenticate, const char *what)
{
    snprintf(authenticate->log, sizeof authenticate->log, "User \"" SV_FMT "\" %s.",
             SV_ARG(authenticate->config->user), what);
}

/* Nobody's verifier: no proof is right for it. */
static void take_mock(struct authenticate *authenticate)
{
    const struct authenticate_config *config = authenticate->config;
    scram_verifier_mock(&authenticate->verifier, config->mock_seed, config->user,
                        config->iterations);
}

/* The verifier of a user whose secret is one, or a mock. */
static void take_verifier(struct authenticate *authenticate)
{
    const struct authenticate_config *config = authenticate->config;
    if (authenticate->is_mock) {
        take_mock(authenticate);
    } else if (scram_verifier_parse(&authenticate->verifier, config->secret, NULL) != HF_OK) {
        note(authenticate, "does not have a valid SCRAM secret");
        take_mock(authenticate);
    }
}

/* Stretches a text with the salt of the verifier at hand. */
static void begin_work(struct authenticate *authenticate, struct sv text,
                       enum authenticate_state state, struct authenticate_event *event)
{
    scram_stretch_begin(&authenticate->stretch, text, scram_verifier_salt(&authenticate->verifier),
                        authenticate->verifier.iterations);
    authenticate->state = (uint8_t)state;
    event->kind = AUTHENTICATE_WORK;
}

static enum hf_rc begin_scram(struct authenticate *authenticate, enum password_kind form,
                              struct buffer *out, struct authenticate_event *event)
{
    const struct authenticate_config *config = authenticate->config;
    struct scram_verifier *verifier = &authenticate->verifier;
    if (build_auth_sasl(out, has_plus(config)) != HF_OK)
        return unwritten(authenticate);
    authenticate->state = WAITS_MECHANISM;
    if (authenticate->is_mock || form == PASSWORD_SCRAM) {
        take_verifier(authenticate);
    } else if (form == PASSWORD_MD5) {
        note(authenticate, "has an MD5 secret, with which no SCRAM login is possible");
        take_mock(authenticate);
    } else if (config->verifier != NULL) {
        *verifier = *config->verifier;
    } else {
        /* The client is asked already, and makes its own way while we do ours. */
        *verifier = (struct scram_verifier){.iterations = config->iterations,
                                            .salt_size = AUTHENTICATE_SALT_SIZE};
        memcpy(verifier->salt, config->salt, AUTHENTICATE_SALT_SIZE);
        begin_work(authenticate, config->secret, MAKES_VERIFIER, event);
    }
    return HF_OK;
}

static enum hf_rc read_first(struct authenticate *authenticate, struct sv data, struct buffer *out)
{
    char block[SCRAM_TEXT_MAX];
    struct buffer text;
    buffer_init(&text, block, sizeof block);
    enum hf_rc rc = scram_server_first(&authenticate->scram, data, authenticate->config->random,
                                       &text, &authenticate->err);
    if (rc != HF_OK)
        return rc;
    authenticate->state = WAITS_FINAL;
    if (build_auth(out, BUILD_AUTH_SASL_CONTINUE, buffer_view(&text)) != HF_OK)
        return unwritten(authenticate);
    return HF_OK;
}

static enum hf_rc read_mechanism(struct authenticate *authenticate, struct message message,
                                 struct buffer *out)
{
    const struct authenticate_config *config = authenticate->config;
    static const struct scram_binding none;
    struct message_sasl sasl;
    enum message_rc rc = message_sasl(message, &sasl);
    if (rc != MESSAGE_OK)
        return message_explain(rc, FRAME_FRONTEND, 'p', &authenticate->err);
    bool is_plus = has_plus(config) && sv_eq(sasl.mechanism, SV(SCRAM_SHA_256_PLUS));
    if (!is_plus && !sv_eq(sasl.mechanism, SV(SCRAM_SHA_256)))
        return err_set(&authenticate->err, HF_RC_PEER, "08P01",
                       "client selected an invalid SASL authentication mechanism");
    scram_server_init(&authenticate->scram, &authenticate->verifier,
                      has_plus(config) ? &config->binding : &none, is_plus);
    if (sasl.data.data != NULL)
        return read_first(authenticate, sasl.data, out);
    /* A client may choose first and speak then (RFC 4422); it is answered by nothing. */
    authenticate->state = WAITS_FIRST;
    if (build_auth(out, BUILD_AUTH_SASL_CONTINUE, SV("")) != HF_OK)
        return unwritten(authenticate);
    return HF_OK;
}

static enum hf_rc read_final(struct authenticate *authenticate, struct sv data, struct buffer *out,
                             struct authenticate_event *event)
{
    char block[SCRAM_TEXT_MAX];
    struct buffer text;
    buffer_init(&text, block, sizeof block);
    enum hf_rc rc = scram_server_final(&authenticate->scram, data, &text, &authenticate->keys,
                                       &authenticate->err);
    if (rc == HF_RC_DENIED)
        return deny_password(authenticate);
    if (rc != HF_OK)
        return rc;
    authenticate->has_keys = true;
    if (build_auth(out, BUILD_AUTH_SASL_FINAL, buffer_view(&text)) != HF_OK)
        return unwritten(authenticate);
    return accept_client(authenticate, out, event);
}

/* ---- Passwords ---- */

/* The text of a PasswordMessage. PostgreSQL takes no empty ones: some services behind it would take
 * them for a wish to be let in as nobody. */
static enum hf_rc read_text(struct authenticate *authenticate, struct message message,
                            struct sv *text)
{
    if (message_text(message, text) != MESSAGE_OK)
        return err_set(&authenticate->err, HF_RC_PEER, "08P01", "invalid password packet size");
    if (text->size == 0)
        return err_set(&authenticate->err, HF_RC_DENIED, "28P01",
                       "empty password returned by client");
    return HF_OK;
}

/* What to compare with. */
static struct sv secret_of(const struct authenticate *authenticate)
{
    const struct authenticate_config *config = authenticate->config;
    if (!authenticate->is_mock)
        return config->secret;
    return config->mock == PASSWORD_MD5 ? SV(MOCK_MD5) : SV(MOCK_PLAIN);
}

static enum hf_rc read_md5(struct authenticate *authenticate, struct message message,
                           struct buffer *out, struct authenticate_event *event)
{
    const struct authenticate_config *config = authenticate->config;
    struct sv answer;
    enum hf_rc rc = read_text(authenticate, message, &answer);
    if (rc != HF_OK)
        return rc;
    bool is_right =
        password_md5_check(secret_of(authenticate), config->user, config->md5_salt, answer);
    if (!is_right || authenticate->is_mock)
        return deny_password(authenticate);
    return accept_client(authenticate, out, event);
}

static enum password_kind form_of(const struct authenticate_config *config)
{
    return config->secret.size == 0 ? config->mock : password_kind(config->secret);
}

static enum hf_rc read_password(struct authenticate *authenticate, struct message message,
                                struct buffer *out, struct authenticate_event *event)
{
    struct sv text;
    enum hf_rc rc = read_text(authenticate, message, &text);
    if (rc != HF_OK)
        return rc;
    /* What is too long to be kept is too long to be right: secrets in our files are as short. */
    if (secret_set(&authenticate->password, text, NULL) != HF_OK)
        return deny_password(authenticate);
    if (form_of(authenticate->config) == PASSWORD_SCRAM) {
        take_verifier(authenticate);
        begin_work(authenticate, secret_reveal(&authenticate->password), CHECKS_PASSWORD, event);
        return HF_OK;
    }
    bool is_right = password_plain_check(secret_of(authenticate), authenticate->config->user, text);
    if (!is_right || authenticate->is_mock)
        return deny_password(authenticate);
    return accept_client(authenticate, out, event);
}

/* ---- Beginning ---- */

static enum hf_rc begin_password(struct authenticate *authenticate, struct buffer *out)
{
    const struct authenticate_config *config = authenticate->config;
    if (!config->is_encrypted && !config->is_local) {
        err_set(&authenticate->err, HF_RC_DENIED, "28000",
                "password authentication needs an encrypted connection");
        return err_hint(&authenticate->err, "Connect with sslmode=require, or use the method "
                                            "scram-sha-256 in the rule for this connection.");
    }
    authenticate->state = WAITS_PASSWORD;
    if (build_auth(out, BUILD_AUTH_CLEARTEXT, SV("")) != HF_OK)
        return unwritten(authenticate);
    return HF_OK;
}

static enum hf_rc begin_md5(struct authenticate *authenticate, struct buffer *out,
                            struct authenticate_event *event)
{
    const struct authenticate_config *config = authenticate->config;
    enum password_kind form = form_of(config);
    if (form == PASSWORD_SCRAM)
        return begin_scram(authenticate, form, out, event);
    authenticate->state = WAITS_MD5;
    if (build_auth(out, BUILD_AUTH_MD5, sv_from(config->md5_salt, PASSWORD_SALT_SIZE)) != HF_OK)
        return unwritten(authenticate);
    return HF_OK;
}

/* Is the client who it says, by what else is known of it? */
static enum hf_rc check_identity(struct authenticate *authenticate, const char *method)
{
    const struct authenticate_config *config = authenticate->config;
    if (config->is_identified && config->identity.size > 0)
        return HF_OK;
    snprintf(authenticate->log, sizeof authenticate->log, "By its %s it is \"" SV_FMT "\".",
             config->method == AUTHENTICATE_PEER ? "socket" : "certificate",
             SV_ARG(config->identity));
    return err_set(&authenticate->err, HF_RC_DENIED, "28000",
                   "%s authentication failed for user \"" SV_FMT "\"", method,
                   SV_ARG(config->user));
}

/* What the rule demands of the certificate, whatever its method is. */
static enum hf_rc check_certificate(struct authenticate *authenticate)
{
    const struct authenticate_config *config = authenticate->config;
    const bool is_cert = config->method == AUTHENTICATE_CERT;
    if (config->clientcert == AUTHENTICATE_CLIENTCERT_NO && !is_cert)
        return HF_OK;
    if (!config->is_encrypted || !config->has_certificate)
        return err_set(&authenticate->err, HF_RC_DENIED, "28000",
                       "connection requires a valid client certificate");
    if (config->clientcert == AUTHENTICATE_CLIENTCERT_CA && !is_cert)
        return HF_OK;
    return check_identity(authenticate, "certificate");
}

static enum hf_rc begin(struct authenticate *authenticate, struct buffer *out,
                        struct authenticate_event *event)
{
    const struct authenticate_config *config = authenticate->config;
    const bool has_rule =
        config->method != AUTHENTICATE_NO_RULE && config->method != AUTHENTICATE_REJECT;
    if (has_rule && check_certificate(authenticate) != HF_OK)
        return HF_RC_DENIED;
    switch (config->method) {
    case AUTHENTICATE_NO_RULE:
        return deny_rule(authenticate, false);
    case AUTHENTICATE_REJECT:
        return deny_rule(authenticate, true);
    case AUTHENTICATE_TRUST:
    case AUTHENTICATE_CERT: /* it was checked above */
        return accept_client(authenticate, out, event);
    case AUTHENTICATE_PEER:
        if (check_identity(authenticate, "Peer") != HF_OK)
            return HF_RC_DENIED;
        return accept_client(authenticate, out, event);
    case AUTHENTICATE_PASSWORD:
        return begin_password(authenticate, out);
    case AUTHENTICATE_MD5:
        return begin_md5(authenticate, out, event);
    case AUTHENTICATE_SCRAM:
        return begin_scram(authenticate, form_of(config), out, event);
    }
    return deny_rule(authenticate, true);
}

void authenticate_begin(struct authenticate *authenticate, const struct authenticate_config *config,
                        struct buffer *out, struct authenticate_event *event)
{
    hf_assert(config->iterations > 0);
    *authenticate = (struct authenticate){.config = config, .is_mock = config->secret.size == 0};
    *event = (struct authenticate_event){.kind = AUTHENTICATE_MORE};
    frame_init(&authenticate->frame, FRAME_FRONTEND, FRAME_LOGIN);
    if (authenticate->is_mock && config->method >= AUTHENTICATE_PASSWORD &&
        config->method <= AUTHENTICATE_SCRAM)
        note(authenticate, "is unknown, or has no secret");
    if (begin(authenticate, out, event) != HF_OK)
        be_denied(authenticate, event);
}

/* ---- Feeding ---- */

static enum hf_rc read_message(struct authenticate *authenticate, struct message message,
                               struct buffer *out, struct authenticate_event *event)
{
    switch ((enum authenticate_state)authenticate->state) {
    case WAITS_PASSWORD:
        return read_password(authenticate, message, out, event);
    case WAITS_MD5:
        return read_md5(authenticate, message, out, event);
    case WAITS_MECHANISM:
        return read_mechanism(authenticate, message, out);
    case WAITS_FIRST:
        return read_first(authenticate, message.body, out);
    case WAITS_FINAL:
        return read_final(authenticate, message.body, out, event);
    case OVER:
    case CHECKS_PASSWORD:
    case MAKES_VERIFIER:
        break;
    }
    return HF_OK; /* nothing is read in these */
}

/* Takes a message off the front of the view. Returns false when more must be received. */
static bool feed_message(struct authenticate *authenticate, struct sv view, struct buffer *out,
                         struct authenticate_event *event)
{
    struct frame_part part;
    enum hf_rc rc = HF_OK;
    switch (frame_look(&authenticate->frame, view, &part)) {
    case FRAME_MORE:
        return false;
    case FRAME_BAD:
        frame_error(&authenticate->frame, &authenticate->err);
        be_denied(authenticate, event);
        return true;
    case FRAME_PART:
        break;
    }
    if (!part.is_last)
        return false;
    frame_take(&authenticate->frame, part.bytes.size);
    event->consumed += part.bytes.size;
    if (part.type == 'X') {
        authenticate->state = OVER;
        authenticate->end = AUTHENTICATE_GONE;
        event->kind = AUTHENTICATE_GONE;
        return true;
    }
    rc = read_message(authenticate, message_of(&part), out, event);
    if (rc != HF_OK)
        be_denied(authenticate, event);
    return true;
}

void authenticate_feed(struct authenticate *authenticate, struct sv view, struct buffer *out,
                       struct authenticate_event *event)
{
    *event = (struct authenticate_event){.kind = AUTHENTICATE_MORE};
    switch ((enum authenticate_state)authenticate->state) {
    case OVER:
        event->kind = authenticate->end != AUTHENTICATE_MORE
                          ? (enum authenticate_kind)authenticate->end
                          : AUTHENTICATE_DENIED; /* it was wiped */
        return;
    case CHECKS_PASSWORD:
    case MAKES_VERIFIER:
        event->kind = AUTHENTICATE_WORK;
        return;
    case WAITS_PASSWORD:
    case WAITS_MD5:
    case WAITS_MECHANISM:
    case WAITS_FIRST:
    case WAITS_FINAL:
        break;
    }
    while (event->kind == AUTHENTICATE_MORE &&
           feed_message(authenticate, sv_drop(view, event->consumed), out, event))
        continue;
}

/* The password is stretched: are its keys the verifier's? */
static enum hf_rc check_keys(struct authenticate *authenticate, struct buffer *out,
                             struct authenticate_event *event)
{
    if (!scram_verifier_fits(&authenticate->verifier, &authenticate->keys)) {
        bytes_wipe(&authenticate->keys, sizeof authenticate->keys);
        return deny_password(authenticate);
    }
    authenticate->has_keys = true;
    return accept_client(authenticate, out, event);
}

/* The user's plain secret is stretched: what belongs to it is a verifier. */
static void make_verifier(struct authenticate *authenticate)
{
    const struct authenticate_config *config = authenticate->config;
    scram_verifier_init(&authenticate->verifier, &authenticate->keys,
                        sv_from(config->salt, AUTHENTICATE_SALT_SIZE), config->iterations);
    bytes_wipe(&authenticate->keys, sizeof authenticate->keys);
    authenticate->is_made = true;
    authenticate->state = WAITS_MECHANISM;
}

void authenticate_work(struct authenticate *authenticate, struct buffer *out,
                       struct authenticate_event *event)
{
    bool is_check = authenticate->state == CHECKS_PASSWORD;
    if (!is_check && authenticate->state != MAKES_VERIFIER) {
        authenticate_feed(authenticate, sv_from(NULL, 0), out, event);
        return;
    }
    *event = (struct authenticate_event){.kind = AUTHENTICATE_WORK};
    if (!scram_stretch_run(&authenticate->stretch, SCRAM_SLICE))
        return;
    scram_stretch_end(&authenticate->stretch, &authenticate->keys);
    event->kind = AUTHENTICATE_MORE;
    if (!is_check)
        make_verifier(authenticate);
    else if (check_keys(authenticate, out, event) != HF_OK)
        be_denied(authenticate, event);
}

/* ---- What comes of it ---- */

const struct scram_keys *authenticate_keys(const struct authenticate *authenticate,
                                           const struct scram_verifier **verifier)
{
    if (!authenticate->has_keys || authenticate->end != AUTHENTICATE_OK)
        return NULL;
    *verifier = &authenticate->verifier;
    return &authenticate->keys;
}

struct sv authenticate_password(const struct authenticate *authenticate)
{
    if (authenticate->end != AUTHENTICATE_OK)
        return SV("");
    return secret_reveal(&authenticate->password);
}

const struct scram_verifier *authenticate_made(const struct authenticate *authenticate)
{
    return authenticate->is_made ? &authenticate->verifier : NULL;
}

void authenticate_wipe(struct authenticate *authenticate)
{
    bytes_wipe(authenticate, sizeof *authenticate); /* which leaves it OVER */
}
