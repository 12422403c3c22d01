#include "wire/login.h"

#include <string.h>

#include "base/bug.h"
#include "wire/bytes.h"
#include "wire/message.h"
#include "wire/password.h"

enum login_state {
    OVER, /* what all zero bytes are, too */
    WAITS_TLS_ANSWER,
    WAITS_HANDSHAKE,
    WAITS_REQUEST, /* for how we are to prove who we are, if at all */
    WAITS_CHALLENGE,
    WORKS,
    WAITS_SIGNATURE,
    WAITS_ACCEPTANCE,
    WAITS_READY,
};

/* Enough for any message of SCRAM, without the message around it. */
#define SCRAM_TEXT_MAX 640

/* ---- Beginning ---- */

static enum hf_rc end_by_failure(struct login *login)
{
    login->state = OVER;
    login->end = LOGIN_FAILED;
    return login->err.rc;
}

/* Why a message of ours could not be written. */
static enum hf_rc unwritten(struct login *login, enum hf_rc rc)
{
    if (rc == HF_RC_INVALID)
        return err_set(&login->err, rc, "22021",
                       "a value for the login to the server is empty or holds a zero byte");
    return err_set(&login->err, rc, "54000", "no room for a message of the login to the server");
}

static enum hf_rc write_startup(struct login *login, struct buffer *out)
{
    const struct login_config *config = login->config;
    struct build build = build_begin_startup(out);
    bool is_empty = config->user.size == 0;
    build_u32(&build, config->version);
    build_cstr(&build, SV("user"));
    build_cstr(&build, config->user);
    if (config->database.size > 0) {
        build_cstr(&build, SV("database"));
        build_cstr(&build, config->database);
    }
    for (size_t i = 0; i < config->parameter_count; i++) {
        /* An empty name would be the end of the list. */
        is_empty = is_empty || config->parameters[i].name.size == 0;
        build_cstr(&build, config->parameters[i].name);
        build_cstr(&build, config->parameters[i].value);
    }
    build_u8(&build, 0);
    if (is_empty)
        return unwritten(login, HF_RC_INVALID);
    if (build.size > STARTUP_SIZE_MAX) {
        err_set(&login->err, HF_RC_LIMIT, "54000", "the parameters for the server are too long");
        return err_detail(&login->err, "A StartupMessage may have %d bytes; these make %zu.",
                          STARTUP_SIZE_MAX, build.size);
    }
    enum hf_rc rc = build_end(&build);
    login->state = WAITS_REQUEST;
    return rc == HF_OK ? HF_OK : unwritten(login, rc);
}

enum hf_rc login_begin(struct login *login, const struct login_config *config, struct buffer *out)
{
    hf_assert((config->keys == NULL) == (config->verifier == NULL));
    hf_assert(config->version >= STARTUP_VERSION_OLDEST &&
              config->version <= STARTUP_VERSION_NEWEST);
    *login = (struct login){.config = config,
                            .version = config->version,
                            .is_encrypted = config->is_encrypted,
                            .binding = config->binding};
    frame_init(&login->frame, FRAME_BACKEND, FRAME_LOGIN);
    bool is_plain = config->sslmode == LOGIN_SSL_DISABLE || config->sslmode == LOGIN_SSL_ALLOW;
    enum hf_rc rc;
    if (config->is_encrypted || config->is_local || is_plain) {
        rc = write_startup(login, out);
    } else {
        login->state = WAITS_TLS_ANSWER;
        rc = build_request(out, STARTUP_CODE_SSL);
        rc = rc == HF_OK ? HF_OK : unwritten(login, rc);
    }
    return rc == HF_OK ? HF_OK : end_by_failure(login);
}

enum hf_rc login_encrypted(struct login *login, const struct scram_binding *binding,
                           struct buffer *out)
{
    if (login->state != WAITS_HANDSHAKE) {
        err_set(&login->err, HF_RC_INVALID, "08P01", "the server was not asked for TLS");
        return end_by_failure(login);
    }
    login->is_encrypted = true;
    login->binding = *binding;
    return write_startup(login, out) == HF_OK ? HF_OK : end_by_failure(login);
}

/* ---- The answer to the SSLRequest, which is one byte ---- */

static enum hf_rc say_no_tls(struct login *login, struct buffer *out, struct login_event *event)
{
    if (login->config->sslmode != LOGIN_SSL_PREFER) {
        err_set(&login->err, HF_RC_DENIED, "08004", "the server does not support TLS");
        return err_hint(&login->err, "Switch it on there (ssl = on), or set sslmode to prefer or "
                                     "disable for this server.");
    }
    event->kind = LOGIN_NO_TLS;
    return write_startup(login, out);
}

static enum hf_rc read_tls_answer(struct login *login, struct sv view, struct buffer *out,
                                  struct login_event *event)
{
    char answer = view.data[0];
    event->consumed = 1;
    /* The server waits for us now. What comes behind its answer was put there by somebody in
     * between, who hopes that it is taken for what the server says once TLS is on. */
    if ((answer == 'S' || answer == 'N') && view.size > 1) {
        err_set(&login->err, HF_RC_PEER, "08P01",
                "received unencrypted data after the server's answer to the request for TLS");
        return err_detail(&login->err, "This could be either a server-software bug or evidence of "
                                       "an attempted man-in-the-middle attack.");
    }
    if (answer == 'N')
        return say_no_tls(login, out, event);
    if (answer == 'S') {
        login->state = WAITS_HANDSHAKE;
        event->kind = LOGIN_START_TLS;
        return HF_OK;
    }
    /* A server that cannot start a process says so here. Nobody knows yet who speaks, so the words
     * are not passed on. */
    if (answer == 'E')
        return err_set(&login->err, HF_RC_AGAIN, "08006",
                       "the server answered the request for TLS with an error");
    err_set(&login->err, HF_RC_PEER, "08P01", "the server answered the request for TLS wrongly");
    return err_detail(&login->err, "Expected S or N, and got the byte 0x%02x.",
                      (unsigned)(unsigned char)answer);
}

/* ---- Proving who we are ---- */

static bool has_plain_secret(const struct login_config *config)
{
    return config->secret.size > 0 && password_kind(config->secret) == PASSWORD_PLAIN;
}

static enum hf_rc forbidden(struct login *login, const char *method)
{
    err_set(&login->err, HF_RC_DENIED, "28000",
            "the server asks for a way to log in that is not allowed: %s", method);
    return err_hint(&login->err, "Allow it for this server, or change its pg_hba.conf.");
}

/* There is no secret, or it has a form that is no use for what the server asks. */
static enum hf_rc no_use(struct login *login, const char *method)
{
    const struct login_config *config = login->config;
    err_set(&login->err, HF_RC_DENIED, "28000", "no secret of user \"" SV_FMT "\" for %s",
            SV_ARG(config->user), method);
    if (config->secret.size == 0 && config->keys != NULL)
        return err_detail(&login->err, "Only a client's SCRAM keys are known here.");
    if (config->secret.size == 0) {
        err_detail(&login->err, "The server asks for a password, and none is known here.");
        return err_hint(&login->err, "Give the proxy this user's password or secret: in auth_file, "
                                     "or by PGPASSWORD or ~/.pgpass beside a connection string.");
    }
    if (password_kind(config->secret) == PASSWORD_MD5)
        return err_detail(&login->err, "What is known here is an MD5 hash of the password.");
    err_detail(&login->err, "What is known here is a SCRAM verifier: it can check a password, but "
                            "nobody can log in with it.");
    return err_hint(&login->err, "Give the password itself, or let the client log in by SCRAM with "
                                 "the same verifier as the server's.");
}

static enum hf_rc say_password(struct login *login, struct sv text, struct buffer *out)
{
    enum hf_rc rc = build_password(out, text);
    login->is_asked = true;
    login->state = WAITS_ACCEPTANCE;
    return rc == HF_OK ? HF_OK : unwritten(login, rc);
}

static enum hf_rc answer_cleartext(struct login *login, struct buffer *out)
{
    const struct login_config *config = login->config;
    if ((config->methods & LOGIN_METHOD_CLEARTEXT) == 0)
        return forbidden(login, "the password in plain");
    if (!login->is_encrypted && !config->is_local) {
        err_set(&login->err, HF_RC_DENIED, "28000",
                "the server asks for the password in plain over an unencrypted connection");
        return err_hint(&login->err, "Use TLS (sslmode require), or scram-sha-256 in the server's "
                                     "pg_hba.conf.");
    }
    if (!has_plain_secret(config))
        return no_use(login, "a login with the password in plain");
    return say_password(login, config->secret, out);
}

static enum hf_rc answer_md5(struct login *login, struct sv salt, struct buffer *out)
{
    const struct login_config *config = login->config;
    char stored[PASSWORD_MD5_SIZE], answer[PASSWORD_MD5_SIZE];
    if ((config->methods & LOGIN_METHOD_MD5) == 0)
        return forbidden(login, "md5");
    if (salt.size != PASSWORD_SALT_SIZE)
        return message_explain(MESSAGE_BAD, FRAME_BACKEND, 'R', &login->err);
    if (config->secret.size > 0 && password_kind(config->secret) == PASSWORD_MD5)
        memcpy(stored, config->secret.data, sizeof stored);
    else if (has_plain_secret(config))
        password_md5_store(config->secret, config->user, stored);
    else
        return no_use(login, "an md5 login");
    password_md5_answer(stored, salt.data, answer);
    enum hf_rc rc = say_password(login, sv_from(answer, sizeof answer), out);
    bytes_wipe(stored, sizeof stored);
    bytes_wipe(answer, sizeof answer);
    return rc;
}

static enum hf_rc begin_scram(struct login *login, struct sv mechanisms, struct buffer *out)
{
    const struct login_config *config = login->config;
    static const struct scram_binding none;
    char block[SCRAM_TEXT_MAX];
    struct buffer text;
    if ((config->methods & LOGIN_METHOD_SCRAM) == 0)
        return forbidden(login, "scram-sha-256");
    const struct scram_binding *binding = login->is_encrypted ? &login->binding : &none;
    enum scram_choice choice = scram_choose(mechanisms, binding->size > 0);
    if (choice == SCRAM_CHOICE_NONE)
        return err_set(&login->err, HF_RC_PEER, "0A000",
                       "the server offers no SASL mechanism that is known here");
    if (config->keys == NULL && !has_plain_secret(config))
        return no_use(login, "a SCRAM login");
    buffer_init(&text, block, sizeof block);
    scram_client_init(&login->scram, choice, binding);
    enum hf_rc rc = scram_client_first(&login->scram, config->random, &text, &login->err);
    hf_assert(rc == HF_OK); /* it has begun just now, and there is room */
    rc = build_sasl_initial(
        out, choice == SCRAM_CHOICE_PLUS ? SV(SCRAM_SHA_256_PLUS) : SV(SCRAM_SHA_256),
        buffer_view(&text));
    login->is_asked = true;
    login->state = WAITS_CHALLENGE;
    return rc == HF_OK ? HF_OK : unwritten(login, rc);
}

static enum hf_rc write_proof(struct login *login, const struct scram_keys *keys,
                              struct buffer *out)
{
    char block[SCRAM_TEXT_MAX];
    struct buffer text;
    buffer_init(&text, block, sizeof block);
    enum hf_rc rc = scram_client_final(&login->scram, keys, &text, &login->err);
    hf_assert(rc == HF_OK); /* the challenge was read, and there is room */
    rc = build_sasl_response(out, buffer_view(&text));
    bytes_wipe(block, sizeof block);
    login->state = WAITS_SIGNATURE;
    return rc == HF_OK ? HF_OK : unwritten(login, rc);
}

static enum hf_rc answer_challenge(struct login *login, struct sv data, struct buffer *out,
                                   struct login_event *event)
{
    const struct login_config *config = login->config;
    enum hf_rc rc = scram_client_challenge(&login->scram, data, &login->err);
    if (rc != HF_OK)
        return rc;
    if (config->keys != NULL && scram_client_fits(&login->scram, config->verifier))
        return write_proof(login, config->keys, out);
    if (has_plain_secret(config)) {
        scram_stretch_begin(&login->stretch, config->secret, scram_client_salt(&login->scram),
                            login->scram.iterations);
        login->state = WORKS;
        event->kind = LOGIN_WORK;
        return HF_OK;
    }
    err_set(&login->err, HF_RC_DENIED, "28000",
            "the server has another SCRAM secret for user \"" SV_FMT "\" than is known here",
            SV_ARG(config->user));
    err_detail(&login->err, "Salt or number of iterations differ, so the keys do not fit.");
    return err_hint(&login->err, "Copy the verifier (pg_authid.rolpassword) of this server.");
}

void login_work(struct login *login, struct buffer *out, struct login_event *event)
{
    if (login->state != WORKS) {
        login_feed(login, sv_from(NULL, 0), out, event);
        return;
    }
    *event = (struct login_event){.kind = LOGIN_WORK};
    if (!scram_stretch_run(&login->stretch, SCRAM_SLICE))
        return;
    scram_stretch_end(&login->stretch, &login->keys);
    login->is_made = true;
    event->kind = LOGIN_MORE;
    if (write_proof(login, &login->keys, out) != HF_OK) {
        end_by_failure(login);
        event->kind = LOGIN_FAILED;
    }
}

/* AuthenticationOk. */
static enum hf_rc be_accepted(struct login *login)
{
    if (login->state != WAITS_REQUEST && login->state != WAITS_ACCEPTANCE) {
        err_set(&login->err, HF_RC_PEER, "28000",
                "the server has not proved that it knows the user's SCRAM secret");
        return err_detail(&login->err, "It broke off the exchange: it may be an impostor.");
    }
    if (!login->is_asked && (login->config->methods & LOGIN_METHOD_NONE) == 0)
        return forbidden(login, "none at all");
    login->state = WAITS_READY;
    login->is_accepted = true;
    return HF_OK;
}

static enum hf_rc out_of_place(struct login *login, char type)
{
    const struct frame_type *row = frame_type_find(FRAME_BACKEND, type);
    return err_set(&login->err, HF_RC_PEER, "08P01",
                   "message %s from the server out of place in a login", row->name);
}

static enum hf_rc read_auth(struct login *login, struct message message, struct buffer *out,
                            struct login_event *event)
{
    struct message_auth auth;
    enum message_rc rc = message_auth(message, &auth);
    hf_assert(rc == MESSAGE_OK); /* the frame has seen to its length */
    if (login->is_accepted)
        return out_of_place(login, 'R');
    if (auth.kind == BUILD_AUTH_OK)
        return be_accepted(login);
    if (auth.kind == BUILD_AUTH_SASL_CONTINUE && login->state == WAITS_CHALLENGE)
        return answer_challenge(login, auth.data, out, event);
    if (auth.kind == BUILD_AUTH_SASL_FINAL && login->state == WAITS_SIGNATURE) {
        login->state = WAITS_ACCEPTANCE;
        return scram_client_verify(&login->scram, auth.data, &login->err);
    }
    bool is_answer = auth.kind == BUILD_AUTH_SASL_CONTINUE || auth.kind == BUILD_AUTH_SASL_FINAL;
    if (login->state != WAITS_REQUEST || is_answer)
        return out_of_place(login, 'R');
    if (auth.kind == BUILD_AUTH_CLEARTEXT)
        return answer_cleartext(login, out);
    if (auth.kind == BUILD_AUTH_MD5)
        return answer_md5(login, auth.data, out);
    if (auth.kind == BUILD_AUTH_SASL)
        return begin_scram(login, auth.data, out);
    err_set(&login->err, HF_RC_PEER, "0A000",
            "the server asks for a way to log in that is not known here: number %u", auth.kind);
    return err_hint(&login->err, "Use scram-sha-256 or cert in the server's pg_hba.conf.");
}

/* ---- What else a server says ---- */

/* What the caller must do depends on the class of the SQLSTATE: what is short now (class 53), shut
 * or shutting (57P), or an unlucky connection (08) can be well the next time. */
static enum hf_rc judge_sqlstate(struct sv sqlstate)
{
    if (sv_starts_with(sqlstate, SV("28")))
        return HF_RC_DENIED;
    bool passes = sv_starts_with(sqlstate, SV("53")) || sv_starts_with(sqlstate, SV("57P")) ||
                  sv_starts_with(sqlstate, SV("08"));
    /* It is 08P01 when the server did not like what we said, and it will not the next time. */
    return passes && !sv_eq(sqlstate, SV("08P01")) ? HF_RC_AGAIN : HF_RC_PEER;
}

/* For printing with %.*s more than SV_FMT does: as much as fits into an hf_err. */
#define TEXT_ARG(view) (int)((view).size < 255 ? (view).size : 255), sv_print_data(view)

static enum hf_rc read_error(struct login *login, const struct frame_part *part,
                             struct login_event *event)
{
    struct message_error error;
    char sqlstate[6] = "08004"; /* the connection was rejected: for a server that says no code */
    message_error_fields(message_of(part), &error);
    if (error.sqlstate.size == 5)
        memcpy(sqlstate, error.sqlstate.data, 5);
    struct sv text = error.message.size > 0 ? error.message : SV("the server gave no reason");
    err_set(&login->err, judge_sqlstate(error.sqlstate), sqlstate, "%.*s", TEXT_ARG(text));
    err_detail(&login->err, "%.*s", TEXT_ARG(error.detail));
    err_hint(&login->err, "%.*s", TEXT_ARG(error.hint));
    if (part->is_last)
        event->message = part->bytes;
    /* pg_hba.conf may allow one of TLS and plain only. Another reason to refuse is as good with
     * the other one, so it is not tried. */
    const struct login_config *config = login->config;
    if (!login->is_accepted && strcmp(sqlstate, "28000") == 0 && !config->is_local) {
        if (config->sslmode == LOGIN_SSL_PREFER && login->is_encrypted)
            login->again = LOGIN_AGAIN_PLAIN;
        if (config->sslmode == LOGIN_SSL_ALLOW && !login->is_encrypted)
            login->again = LOGIN_AGAIN_TLS;
    }
    return login->err.rc;
}

static bool is_option_asked(const struct login_config *config, struct sv option)
{
    for (size_t i = 0; i < config->parameter_count; i++)
        if (sv_eq(config->parameters[i].name, option))
            return true;
    return false;
}

/* Judged as libpq does it: less than was asked for, and nothing that was not. */
static enum hf_rc read_negotiate(struct login *login, struct message message,
                                 struct login_event *event)
{
    struct message_negotiate negotiate;
    enum message_rc rc = message_negotiate(message, &negotiate);
    if (rc != MESSAGE_OK)
        return message_explain(rc, FRAME_BACKEND, 'v', &login->err);
    if (login->state != WAITS_REQUEST || login->is_negotiated)
        return out_of_place(login, 'v');
    bool is_good = negotiate.version >= STARTUP_VERSION_OLDEST &&
                   negotiate.version <= login->version &&
                   (negotiate.version != login->version || negotiate.options.size > 0);
    struct sv rest = negotiate.options, option;
    while (is_good && message_list_next(&rest, &option))
        is_good = is_option_asked(login->config, option);
    if (!is_good) {
        err_set(&login->err, HF_RC_PEER, "08P01", "the server negotiates the protocol wrongly");
        return err_detail(&login->err, "It was asked for %u.%u, and wants %u.%u.",
                          login->version >> 16, login->version & 0xffff, negotiate.version >> 16,
                          negotiate.version & 0xffff);
    }
    login->version = negotiate.version;
    login->is_negotiated = true;
    event->kind = LOGIN_NEGOTIATED;
    return HF_OK;
}

static enum hf_rc read_key(struct login *login, struct message message, struct login_event *event)
{
    struct message_key key;
    enum message_rc rc = message_key(message, &key);
    if (rc != MESSAGE_OK || (login->version == STARTUP_VERSION_OLDEST && key.key.size != 4))
        return message_explain(MESSAGE_BAD, FRAME_BACKEND, 'K', &login->err);
    if (!login->is_accepted)
        return out_of_place(login, 'K');
    login->pid = key.pid;
    login->key_size = (uint16_t)key.key.size;
    memcpy(login->key, key.key.data, key.key.size);
    event->kind = LOGIN_KEY;
    return HF_OK;
}

static enum hf_rc read_parameter(struct login *login, struct message message,
                                 struct login_event *event)
{
    struct message_parameter parameter;
    enum message_rc rc = message_parameter(message, &parameter);
    if (rc != MESSAGE_OK)
        return message_explain(rc, FRAME_BACKEND, 'S', &login->err);
    event->kind = LOGIN_PARAMETER;
    event->name = parameter.name;
    event->value = parameter.value;
    return HF_OK;
}

static enum hf_rc begin_query(struct login *login, struct buffer *out)
{
    const enum hf_rc rc = build_query(out, login->config->query);
    if (rc != HF_OK)
        return unwritten(login, rc);
    frame_init(&login->frame, FRAME_BACKEND, FRAME_SESSION);
    login->is_in_query = true;
    return HF_OK;
}

static enum hf_rc read_ready(struct login *login, struct message message, struct buffer *out,
                             struct login_event *event)
{
    char status;
    enum message_rc rc = message_ready(message, &status);
    if (rc != MESSAGE_OK)
        return message_explain(rc, FRAME_BACKEND, 'Z', &login->err);
    if (!login->is_accepted)
        return out_of_place(login, 'Z');
    if (status != 'I') /* nobody has begun that transaction, so nobody could have its connection */
        return err_set(&login->err, HF_RC_PEER, "08P01",
                       "the server ends the login inside a transaction");
    if (login->config->query.size > 0 && !login->is_in_query)
        return begin_query(login, out);
    login->state = OVER;
    login->end = LOGIN_READY;
    event->kind = LOGIN_READY;
    return HF_OK;
}

static enum hf_rc read_query_error(struct login *login, const struct frame_part *part,
                                   struct login_event *event)
{
    (void)!read_error(login, part, event);
    const struct hf_err said = login->err;
    err_set(&login->err, said.rc, said.sqlstate, "connect_query failed: %s", said.message);
    err_detail(&login->err, "%s", said.detail);
    return err_hint(&login->err, "%s", said.hint);
}

/* What config.query answers. */
static enum hf_rc read_answer(struct login *login, const struct frame_part *part,
                              struct login_event *event)
{
    switch (part->type) {
    case 'E':
        return read_query_error(login, part, event);
    case 'N':
        event->kind = LOGIN_NOTICE;
        event->message = part->bytes;
        return HF_OK;
    case 'S':
        return read_parameter(login, message_of(part), event);
    case 'Z':
        return read_ready(login, message_of(part), NULL, event);
    case 'G':
    case 'H':
    case 'W':
        err_set(&login->err, HF_RC_INVALID, "0A000", "connect_query cannot copy");
        return err_hint(&login->err, "Leave COPY out of it.");
    default: /* rows and the like */
        return HF_OK;
    }
}

static enum hf_rc read_message(struct login *login, const struct frame_part *part,
                               struct buffer *out, struct login_event *event)
{
    struct message message = message_of(part);
    if (login->is_in_query)
        return read_answer(login, part, event);
    switch (part->type) {
    case 'R':
        return read_auth(login, message, out, event);
    case 'E':
        return read_error(login, part, event);
    case 'N':
        event->kind = LOGIN_NOTICE;
        event->message = part->bytes;
        return HF_OK;
    case 'S':
        return read_parameter(login, message, event);
    case 'K':
        return read_key(login, message, event);
    case 'v':
        return read_negotiate(login, message, event);
    case 'Z':
        return read_ready(login, message, out, event);
    default: /* the frame lets no other one pass in a login */
        return out_of_place(login, part->type);
    }
}

/* ---- Feeding ---- */

/* A server that cannot start a process for us says so in the words of protocol 2: E and a text. */
static enum hf_rc read_bad_frame(struct login *login, struct sv view)
{
    if (login->messages > 0 || login->frame.type != 'E')
        return frame_error(&login->frame, &login->err);
    struct sv text = sv_take(sv_drop(view, 1), 200);
    text = sv_trim(sv_take(text, sv_find(text, '\0')));
    if (text.size == 0)
        return frame_error(&login->frame, &login->err);
    err_set(&login->err, HF_RC_AGAIN, "53000", "%.*s", TEXT_ARG(text));
    return err_detail(&login->err, "The server said so before it could start a process.");
}

/* May this message be waited for? `*is_skipped` if it passes unseen. */
static enum hf_rc judge_size(struct login *login, const struct frame_part *part, bool *is_skipped)
{
    bool is_long = part->size > LOGIN_MESSAGE_MAX;
    bool is_row = login->is_in_query && (part->type == 'D' || part->type == 'T');
    *is_skipped = is_long && (part->type == 'N' || is_row);
    if (part->type == 'E')
        return HF_OK;
    if (login->messages < LOGIN_MESSAGES_MAX && part->size <= LOGIN_BYTES_MAX - login->bytes &&
        (!is_long || *is_skipped))
        return HF_OK;
    err_set(&login->err, HF_RC_LIMIT, "54000", "the server says too much in a login");
    return err_detail(&login->err,
                      "The limits are %d messages, %d bytes in all and %d bytes for a message that "
                      "must be read.",
                      LOGIN_MESSAGES_MAX, LOGIN_BYTES_MAX, LOGIN_MESSAGE_MAX);
}

/* Looks at what stands at the front of the view, and takes it if there is enough of it. Returns
 * false when more must be received. */
static bool feed_part(struct login *login, struct sv view, struct buffer *out,
                      struct login_event *event)
{
    struct frame_part part;
    bool is_skipped = true;
    enum hf_rc rc = HF_OK;
    switch (frame_look(&login->frame, view, &part)) {
    case FRAME_MORE:
        return false;
    case FRAME_BAD:
        read_bad_frame(login, view);
        end_by_failure(login);
        event->kind = LOGIN_FAILED;
        return true;
    case FRAME_PART:
        break;
    }
    if (part.is_first)
        rc = judge_size(login, &part, &is_skipped);
    /* Of a long error, what fits is enough. */
    bool is_enough = part.is_last || is_skipped || part.bytes.size >= LOGIN_MESSAGE_MAX;
    if (rc == HF_OK && !is_enough)
        return false;
    if (part.is_first)
        login->messages++;
    login->bytes += (uint32_t)part.bytes.size;
    event->consumed += part.bytes.size;
    frame_take(&login->frame, part.bytes.size);
    if (rc == HF_OK && !is_skipped)
        rc = read_message(login, &part, out, event);
    if (rc != HF_OK) {
        end_by_failure(login);
        event->kind = LOGIN_FAILED;
    }
    return true;
}

void login_feed(struct login *login, struct sv view, struct buffer *out, struct login_event *event)
{
    *event = (struct login_event){.kind = LOGIN_MORE};
    switch ((enum login_state)login->state) {
    case OVER:
        event->kind = login->end == LOGIN_READY ? LOGIN_READY : LOGIN_FAILED;
        return;
    case WAITS_HANDSHAKE:
        event->kind = LOGIN_START_TLS;
        return;
    case WORKS:
        event->kind = LOGIN_WORK;
        return;
    case WAITS_TLS_ANSWER:
        if (view.size > 0 && read_tls_answer(login, view, out, event) != HF_OK) {
            end_by_failure(login);
            event->kind = LOGIN_FAILED;
        }
        return;
    case WAITS_REQUEST:
    case WAITS_CHALLENGE:
    case WAITS_SIGNATURE:
    case WAITS_ACCEPTANCE:
    case WAITS_READY:
        break;
    }
    while (event->kind == LOGIN_MORE &&
           feed_part(login, sv_drop(view, event->consumed), out, event))
        continue;
}

/* ---- The end ---- */

bool login_made(const struct login *login, struct scram_keys *keys, struct scram_verifier *verifier)
{
    if (!login->is_made || !login->is_accepted)
        return false;
    *keys = login->keys;
    scram_verifier_init(verifier, keys, scram_client_salt(&login->scram), login->scram.iterations);
    return true;
}

enum login_again login_again(const struct login *login)
{
    if (login->state == WAITS_HANDSHAKE && login->config->sslmode == LOGIN_SSL_PREFER)
        return LOGIN_AGAIN_PLAIN;
    return (enum login_again)login->again;
}

void login_wipe(struct login *login)
{
    bytes_wipe(login, sizeof *login); /* which leaves it OVER */
}
