#include "wire/startup.h"

#include "base/bug.h"
#include "wire/bytes.h"

#define TLS_HANDSHAKE    0x16 /* the type of the record that a ClientHello comes in */
#define REQUEST_SIZE     8    /* a length and a code */
#define CANCEL_HEAD_SIZE 12   /* and the process */

enum startup_error {
    STARTUP_ERROR_NONE,
    STARTUP_ERROR_LENGTH,
    STARTUP_ERROR_TAIL,  /* plaintext behind a request for encryption */
    STARTUP_ERROR_TWICE, /* encryption asked for again, or within encryption */
    STARTUP_ERROR_VERSION,
    STARTUP_ERROR_CANCEL, /* the size of the key */
    STARTUP_ERROR_LAYOUT, /* of the parameters */
    STARTUP_ERROR_USER,   /* there is none */
    STARTUP_ERROR_REPLICATION,
};

void startup_init(struct startup *startup)
{
    *startup = (struct startup){0};
}

void startup_encrypted(struct startup *startup)
{
    startup->is_encrypted = true;
}

static enum startup_kind refuse(struct startup *startup, enum startup_error error, uint32_t number)
{
    startup->error = (uint8_t)error;
    startup->number = number;
    return STARTUP_BAD;
}

bool startup_parameter_next(struct sv *rest, struct startup_parameter *parameter)
{
    static const struct {
        struct sv name;
        enum startup_parameter_kind kind;
    } known[] = {
        {SV_INIT("user"), STARTUP_USER},
        {SV_INIT("database"), STARTUP_DATABASE},
        {SV_INIT("options"), STARTUP_OPTIONS},
        {SV_INIT("replication"), STARTUP_REPLICATION},
    };
    struct reader r = reader_of(*rest);
    struct sv name = reader_cstr(&r), value = reader_cstr(&r);
    if (r.is_short || name.size == 0)
        return false;
    *rest = sv_from(r.at, r.left);
    *parameter = (struct startup_parameter){STARTUP_SETTING, name, value};
    if (sv_starts_with(name, SV("_pq_.")))
        parameter->kind = STARTUP_PROTOCOL;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (sv_eq(name, known[i].name))
            parameter->kind = known[i].kind;
    return true;
}

/* What parse_bool() of the server accepts: any beginning of these words that fits only one. */
static bool parse_bool(struct sv text, bool *out)
{
    static const struct {
        struct sv word;
        size_t size_min;
        bool value;
    } words[] = {
        {SV_INIT("true"), 1, true}, {SV_INIT("false"), 1, false}, {SV_INIT("yes"), 1, true},
        {SV_INIT("no"), 1, false},  {SV_INIT("on"), 2, true},     {SV_INIT("off"), 2, false},
        {SV_INIT("1"), 1, true},    {SV_INIT("0"), 1, false},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        bool fits = text.size >= words[i].size_min && text.size <= words[i].word.size &&
                    sv_eq_nocase(text, sv_take(words[i].word, text.size));
        if (fits) {
            *out = words[i].value;
            return true;
        }
    }
    return false;
}

static bool parse_replication(struct sv text, enum startup_replication *out)
{
    bool wanted = false;
    if (sv_eq(text, SV("database"))) {
        *out = STARTUP_REPLICATION_DATABASE;
        return true;
    }
    if (!parse_bool(text, &wanted))
        return false;
    *out = wanted ? STARTUP_REPLICATION_PHYSICAL : STARTUP_REPLICATION_NONE;
    return true;
}

/* A name and a value, again and again, then one more zero byte as the last. */
static enum startup_kind read_session(struct startup *startup, struct sv body, uint32_t version,
                                      struct startup_session *session)
{
    struct startup_parameter parameter;
    struct sv rest = body;
    *session = (struct startup_session){
        .version_asked = version,
        .version = version < STARTUP_VERSION_NEWEST ? version : STARTUP_VERSION_NEWEST,
        .parameters = body,
    };
    while (startup_parameter_next(&rest, &parameter)) {
        switch (parameter.kind) {
        case STARTUP_USER:
            session->user = parameter.value;
            break;
        case STARTUP_DATABASE:
            session->database = parameter.value;
            break;
        case STARTUP_OPTIONS:
            session->options = parameter.value;
            break;
        case STARTUP_REPLICATION:
            if (!parse_replication(parameter.value, &session->replication))
                return refuse(startup, STARTUP_ERROR_REPLICATION, 0);
            break;
        case STARTUP_PROTOCOL:
            session->unknown_options++;
            break;
        case STARTUP_SETTING:
            break;
        }
    }
    if (rest.size != 1 || rest.data[0] != '\0')
        return refuse(startup, STARTUP_ERROR_LAYOUT, 0);
    if (session->user.size == 0)
        return refuse(startup, STARTUP_ERROR_USER, 0);
    if (session->database.size == 0)
        session->database = session->user;
    return STARTUP_SESSION;
}

/* An SSLRequest or a GSSENCRequest; `is_asked` is whether it came before. */
static enum startup_kind read_request(struct startup *startup, size_t in_view, bool *is_asked,
                                      enum startup_kind kind)
{
    if (*is_asked || startup->is_encrypted)
        return refuse(startup, STARTUP_ERROR_TWICE, 0);
    if (in_view > REQUEST_SIZE)
        return refuse(startup, STARTUP_ERROR_TAIL, 0);
    *is_asked = true;
    return kind;
}

static enum startup_kind read_packet(struct startup *startup, struct sv view, uint32_t length,
                                     struct startup_packet *packet)
{
    uint32_t code = bytes_u32(view.data + 4);
    struct sv whole = sv_take(view, length);
    if (code == STARTUP_CODE_CANCEL) {
        packet->pid = bytes_u32(view.data + REQUEST_SIZE);
        packet->key = sv_drop(whole, CANCEL_HEAD_SIZE);
        return STARTUP_CANCEL;
    }
    if (code == STARTUP_CODE_SSL)
        return read_request(startup, view.size, &startup->is_ssl_asked, STARTUP_SSL);
    if (code == STARTUP_CODE_GSSENC)
        return read_request(startup, view.size, &startup->is_gssenc_asked, STARTUP_GSSENC);
    return read_session(startup, sv_drop(whole, REQUEST_SIZE), code, &packet->session);
}

/* Judges what stands in the first eight bytes, before the rest is waited for. */
static enum startup_kind judge_head(struct startup *startup, uint32_t length, uint32_t code)
{
    switch (code) {
    case STARTUP_CODE_CANCEL:
        if (length < CANCEL_HEAD_SIZE + STARTUP_CANCEL_KEY_MIN ||
            length > CANCEL_HEAD_SIZE + STARTUP_CANCEL_KEY_MAX)
            return refuse(startup, STARTUP_ERROR_CANCEL, length);
        return STARTUP_MORE;
    case STARTUP_CODE_SSL:
    case STARTUP_CODE_GSSENC:
        if (length != REQUEST_SIZE)
            return refuse(startup, STARTUP_ERROR_LENGTH, length);
        return STARTUP_MORE;
    default:
        if (code >> 16 != STARTUP_VERSION_NEWEST >> 16)
            return refuse(startup, STARTUP_ERROR_VERSION, code);
        return STARTUP_MORE;
    }
}

enum startup_kind startup_read(struct startup *startup, struct sv view,
                               struct startup_packet *packet)
{
    *packet = (struct startup_packet){0};
    if (startup->error != STARTUP_ERROR_NONE)
        return STARTUP_BAD;
    bool is_first = !startup->is_encrypted && !startup->is_ssl_asked && !startup->is_gssenc_asked;
    if (is_first && view.size > 0 && view.data[0] == TLS_HANDSHAKE)
        return STARTUP_DIRECT_TLS;
    if (view.size < 4)
        return STARTUP_MORE;
    uint32_t length = bytes_u32(view.data);
    if (length < REQUEST_SIZE || length > STARTUP_SIZE_MAX)
        return refuse(startup, STARTUP_ERROR_LENGTH, length);
    if (view.size < REQUEST_SIZE)
        return STARTUP_MORE;
    enum startup_kind kind = judge_head(startup, length, bytes_u32(view.data + 4));
    if (kind == STARTUP_BAD || view.size < length)
        return kind;
    kind = read_packet(startup, view, length, packet);
    packet->size = kind == STARTUP_BAD ? 0 : length;
    return kind;
}

enum hf_rc startup_error(const struct startup *startup, struct hf_err *err)
{
    uint32_t number = startup->number;
    switch ((enum startup_error)startup->error) {
    case STARTUP_ERROR_NONE:
        return HF_OK;
    case STARTUP_ERROR_LENGTH:
        err_set(err, HF_RC_PEER, "08P01", "invalid length of startup packet");
        err_detail(err, "The length is %u; from %d to %d is allowed.", number, REQUEST_SIZE,
                   STARTUP_SIZE_MAX);
        return HF_RC_PEER;
    case STARTUP_ERROR_TAIL:
        err_set(err, HF_RC_PEER, "08P01", "received unencrypted data after encryption request");
        err_detail(err, "This could be either a client-software bug or evidence of an "
                        "attempted man-in-the-middle attack.");
        return HF_RC_PEER;
    case STARTUP_ERROR_TWICE:
        return err_set(err, HF_RC_PEER, "08P01", "unexpected encryption request");
    case STARTUP_ERROR_VERSION:
        return err_set(err, HF_RC_PEER, "0A000",
                       "unsupported frontend protocol %u.%u: server supports 3.0 to 3.%u",
                       number >> 16, number & 0xffff, STARTUP_VERSION_NEWEST & 0xffff);
    case STARTUP_ERROR_CANCEL:
        err_set(err, HF_RC_PEER, "08P01", "invalid length of query cancel packet");
        err_detail(err, "The length is %u; the key may have from %d to %d bytes.", number,
                   STARTUP_CANCEL_KEY_MIN, STARTUP_CANCEL_KEY_MAX);
        return HF_RC_PEER;
    case STARTUP_ERROR_LAYOUT:
        return err_set(err, HF_RC_PEER, "08P01",
                       "invalid startup packet layout: expected terminator as last byte");
    case STARTUP_ERROR_USER:
        return err_set(err, HF_RC_PEER, "28000",
                       "no PostgreSQL user name specified in startup packet");
    case STARTUP_ERROR_REPLICATION:
        err_set(err, HF_RC_PEER, "22023", "invalid value for parameter \"replication\"");
        err_hint(err, "Valid values are: \"false\", 0, \"true\", 1, \"database\".");
        return HF_RC_PEER;
    }
    return HF_OK;
}

/* isspace() of the C locale, by which the server splits. */
static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Takes the next word off `rest` and writes it, unescaped, to `out`; NULL data if there is none.
 * Unescaping never lengthens, so a word needs no more room than it took in `rest`. */
static struct sv next_word(struct sv *rest, char *out)
{
    size_t at = 0, size = 0;
    bool is_escaped = false;
    while (at < rest->size && is_space(rest->data[at]))
        at++;
    if (at == rest->size) {
        *rest = sv_drop(*rest, at);
        return sv_from(NULL, 0);
    }
    for (; at < rest->size && (is_escaped || !is_space(rest->data[at])); at++) {
        if (!is_escaped && rest->data[at] == '\\') {
            is_escaped = true;
        } else {
            is_escaped = false;
            out[size++] = rest->data[at];
        }
    }
    *rest = sv_drop(*rest, at);
    return sv_from(out, size);
}

/* NAME=VALUE, whose text stands in `scratch`. */
static void split_setting(struct sv text, char *scratch, struct startup_option *option)
{
    size_t equals = sv_find(text, '=');
    if (equals == text.size || equals == 0) {
        *option = (struct startup_option){.kind = STARTUP_OPTION_BAD, .value = text};
        return;
    }
    size_t start = (size_t)(text.data - scratch);
    for (size_t i = start; i < start + equals; i++)
        if (scratch[i] == '-')
            scratch[i] = '_';
    *option = (struct startup_option){STARTUP_OPTION_SETTING, sv_take(text, equals),
                                      sv_drop(text, equals + 1)};
}

bool startup_option_next(struct sv *rest, char *scratch, struct startup_option *option)
{
    struct sv word = next_word(rest, scratch);
    if (word.data == NULL)
        return false;
    if (sv_eq(word, SV("-c"))) {
        /* The setting is the next word, which takes the place of this one. */
        struct sv next = next_word(rest, scratch);
        split_setting(next.data != NULL ? next : sv_from(scratch, 0), scratch, option);
    } else if (sv_starts_with(word, SV("-c")) || sv_starts_with(word, SV("--"))) {
        split_setting(sv_drop(word, 2), scratch, option);
    } else {
        *option = (struct startup_option){.kind = STARTUP_OPTION_SWITCH, .value = word};
    }
    return true;
}
