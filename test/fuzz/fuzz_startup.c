/*
 * Any bytes as the beginning of a connection. The first byte says what came before: an SSLRequest,
 * a GSSENCRequest, encryption.
 *
 * Checked beside the absence of crashes: what is decided is decided the same way however the bytes
 * were split; nothing longer than the limit is waited for; what was read, written again, is the
 * same packet; the words of options stay within their room.
 */
#include <string.h>

#include "fuzz.h"
#include "wire/build.h"
#include "wire/bytes.h"
#include "wire/startup.h"

static struct startup begin(uint8_t before)
{
    struct startup startup;
    startup_init(&startup);
    startup.is_ssl_asked = (before & 1) != 0;
    startup.is_gssenc_asked = (before & 2) != 0;
    if ((before & 4) != 0)
        startup_encrypted(&startup);
    return startup;
}

static void check_inside(struct sv whole, struct sv part)
{
    FUZZ_CHECK(part.size == 0 ||
               (part.data >= whole.data && part.data + part.size <= whole.data + whole.size));
}

static void check_options(struct sv options)
{
    char *scratch = malloc(options.size > 0 ? options.size : 1);
    struct startup_option option;
    size_t words = 0;
    FUZZ_CHECK(scratch != NULL);
    while (startup_option_next(&options, scratch, &option)) {
        FUZZ_CHECK(option.kind != STARTUP_OPTION_SETTING || option.name.size > 0);
        FUZZ_CHECK(sv_find(option.name, '=') == option.name.size);
        FUZZ_CHECK(sv_find(option.name, '-') == option.name.size);
        words++;
    }
    FUZZ_CHECK(options.size == 0 && words <= STARTUP_SIZE_MAX);
    free(scratch);
}

static void check_session(struct sv packet, const struct startup_session *session)
{
    static struct build_parameter parameters[STARTUP_SIZE_MAX / 3];
    static char block[STARTUP_SIZE_MAX];
    struct startup_parameter parameter;
    struct buffer out;
    size_t count = 0, unknown = 0;
    for (struct sv rest = session->parameters; startup_parameter_next(&rest, &parameter); count++) {
        parameters[count] = (struct build_parameter){parameter.name, parameter.value};
        unknown += parameter.kind == STARTUP_PROTOCOL;
    }
    buffer_init(&out, block, sizeof block);
    FUZZ_CHECK(build_startup(&out, session->version_asked, parameters, count) == HF_OK);
    FUZZ_CHECK(sv_eq(buffer_view(&out), packet));
    FUZZ_CHECK(unknown == session->unknown_options);
    FUZZ_CHECK(session->user.size > 0 && session->database.size > 0);
    FUZZ_CHECK(session->version <= STARTUP_VERSION_NEWEST &&
               session->version >= STARTUP_VERSION_OLDEST);
    check_inside(packet, session->user);
    check_inside(packet, session->database);
    check_inside(packet, session->options);
    check_options(session->options);
    buffer_clear(&out);
    FUZZ_CHECK(build_negotiate(&out, session->version, session->parameters) == HF_OK);
}

static void check_packet(enum startup_kind kind, struct sv view,
                         const struct startup_packet *packet)
{
    struct sv whole = sv_take(view, packet->size);
    FUZZ_CHECK(packet->size <= view.size && packet->size <= STARTUP_SIZE_MAX);
    switch (kind) {
    case STARTUP_MORE:
        FUZZ_CHECK(packet->size == 0 && view.size < STARTUP_SIZE_MAX);
        break;
    case STARTUP_BAD:
    case STARTUP_DIRECT_TLS:
        FUZZ_CHECK(packet->size == 0 && view.size > 0);
        break;
    case STARTUP_SSL:
    case STARTUP_GSSENC:
        FUZZ_CHECK(packet->size == 8 && view.size == 8);
        break;
    case STARTUP_CANCEL:
        FUZZ_CHECK(packet->key.size >= 4 && packet->key.size <= 256);
        check_inside(whole, packet->key);
        break;
    case STARTUP_SESSION:
        check_session(whole, &packet->session);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct sv view = sv_from((const char *)data + 1, size - 1);
    struct startup startup = begin(data[0]), again = startup;
    struct startup_packet packet;
    struct hf_err err;
    enum startup_kind kind = startup_read(&startup, view, &packet);
    check_packet(kind, view, &packet);
    FUZZ_CHECK((startup_error(&startup, &err) == HF_OK) == (kind != STARTUP_BAD));
    /* Byte by byte, up to where it is decided. A tail is an error only once it is there. */
    enum startup_kind early = STARTUP_MORE;
    size_t end = 0;
    while (early == STARTUP_MORE && end < view.size)
        early = startup_read(&again, sv_take(view, ++end), &packet);
    bool has_tail = (early == STARTUP_SSL || early == STARTUP_GSSENC) && view.size > 8;
    FUZZ_CHECK(early == (has_tail ? early : kind));
    FUZZ_CHECK(!has_tail || kind == STARTUP_BAD);
    if (kind == STARTUP_BAD)
        FUZZ_CHECK(startup_read(&startup, view, &packet) == STARTUP_BAD);
    return 0;
}
