/*
 * What comes of settings: read from a StartupMessage, written as SQL and as ParameterStatus. The
 * store itself is settings.c.
 */
#include "wire/settings.h"

#include <stdio.h>

#include "base/bug.h"
#include "wire/build.h"
#include "wire/frame.h"

/* ---- From a StartupMessage ---- */

/* Five that PostgreSQL reports and nobody sets, and those that it takes while a backend starts and
 * not any more later (guc_tables.c: PGC_BACKEND and PGC_SU_BACKEND). */
static const struct sv bound_names[] = {
    SV_INIT("integer_datetimes"),     SV_INIT("in_hot_standby"),
    SV_INIT("is_superuser"),          SV_INIT("server_encoding"),
    SV_INIT("server_version"),        SV_INIT("ignore_system_indexes"),
    SV_INIT("jit_debugging_support"), SV_INIT("jit_profiling_support"),
    SV_INIT("log_connections"),       SV_INIT("log_disconnections"),
    SV_INIT("post_auth_delay"),       SV_INIT("local_preload_libraries"),
};

/* Settings for which SET NAME TO 'TEXT' means the same as the text in a StartupMessage, because
 * PostgreSQL takes the literal as it is. It does not for lists of identifiers (search_path and its
 * like), where the whole text would become one identifier; and of names that are unknown here it
 * cannot be known. Those go through set_config(), which takes any text as it is but costs about
 * 10 us more of the server's CPU time (PostgreSQL 15: 12 us against 22). */
static const struct sv literal_names[] = {
    SV_INIT("application_name"),
    SV_INIT("bytea_output"),
    SV_INIT("client_encoding"),
    SV_INIT("client_min_messages"),
    SV_INIT("DateStyle"),
    SV_INIT("default_transaction_isolation"),
    SV_INIT("default_transaction_read_only"),
    SV_INIT("extra_float_digits"),
    SV_INIT("idle_in_transaction_session_timeout"),
    SV_INIT("IntervalStyle"),
    SV_INIT("lock_timeout"),
    SV_INIT("standard_conforming_strings"),
    SV_INIT("statement_timeout"),
    SV_INIT("TimeZone"),
};

/* The name as it stands in a table, or an empty one. */
static struct sv find_in(const struct sv *names, size_t count, struct sv name)
{
    for (size_t i = 0; i < count; i++)
        if (sv_eq_nocase(names[i], name))
            return names[i];
    return sv_from(NULL, 0);
}

bool settings_can_follow(struct sv name)
{
    return find_in(bound_names, sizeof bound_names / sizeof bound_names[0], name).size == 0;
}

static struct sv literal_name(struct sv name)
{
    return find_in(literal_names, sizeof literal_names / sizeof literal_names[0], name);
}

static void count_fixed(struct settings_startup *startup, struct sv what)
{
    if (startup->fixed++ == 0)
        snprintf(startup->fixed_first, sizeof startup->fixed_first, SV_FMT, SV_ARG(what));
}

static void put_asked(struct settings_edit *edit, struct settings_startup *startup, struct sv name,
                      struct sv value)
{
    if (settings_can_follow(name))
        settings_edit_put(edit, name, value);
    else
        count_fixed(startup, name);
}

/* The words of `options`. */
static enum hf_rc read_options(struct sv rest, struct settings_edit *edit,
                               struct settings_startup *startup, struct hf_err *err)
{
    char scratch[STARTUP_SIZE_MAX];
    struct startup_option option;
    hf_assert(rest.size <= sizeof scratch);
    while (startup_option_next(&rest, scratch, &option)) {
        switch (option.kind) {
        case STARTUP_OPTION_SETTING:
            put_asked(edit, startup, option.name, option.value);
            break;
        case STARTUP_OPTION_SWITCH:
            count_fixed(startup, option.value);
            break;
        case STARTUP_OPTION_BAD:
            return err_set(err, HF_RC_INVALID, "42601", "-c " SV_FMT " requires a value",
                           SV_ARG(option.value));
        }
    }
    return HF_OK;
}

static enum hf_rc no_room(struct hf_err *err)
{
    err_set(err, HF_RC_LIMIT, "53200", "no room for the settings of the session");
    err_detail(err,
               "A session may have %d settings with values of %d bytes; or those of all sessions "
               "together take all the memory there is for them.",
               SETTINGS_COUNT_MAX, SETTINGS_VALUE_MAX);
    return HF_RC_LIMIT;
}

enum hf_rc settings_startup(struct settings *store, const struct startup_session *session,
                            struct settings_startup *out, struct hf_err *err)
{
    struct settings_edit edit = settings_edit_begin(store, 0);
    struct startup_parameter parameter;
    *out = (struct settings_startup){0};
    enum hf_rc rc = read_options(session->options, &edit, out, err);
    edit.failure = rc != HF_OK ? rc : edit.failure;
    for (struct sv rest = session->parameters; startup_parameter_next(&rest, &parameter);)
        if (parameter.kind == STARTUP_SETTING)
            put_asked(&edit, out, parameter.name, parameter.value);
    /* Names are not empty and nothing holds a zero byte, or the packet would have ended there: so
     * what fails beside the words of `options` is room. */
    if (settings_edit_end(&edit, &out->set) == HF_OK || rc != HF_OK)
        return rc;
    return no_room(err);
}

/* ---- As SQL ---- */

/* A literal that means the bytes of the text to any session, made of ASCII characters only: so it
 * does not matter what the session's client_encoding takes other bytes for (in some, the second
 * byte of a character may look like a backslash). With a backslash in it, it says itself (E) that
 * this escapes, whatever standard_conforming_strings says. */
static void put_literal(struct build *build, struct sv text)
{
    bool is_plain = true;
    for (size_t i = 0; i < text.size && is_plain; i++)
        is_plain = text.data[i] >= ' ' && text.data[i] <= '~' && text.data[i] != '\\';
    build_bytes(build, is_plain ? SV("'") : SV("E'"));
    for (size_t i = 0; i < text.size;) {
        size_t start = i;
        while (i < text.size && text.data[i] >= ' ' && text.data[i] <= '~' &&
               text.data[i] != '\\' && text.data[i] != '\'')
            i++;
        build_bytes(build, sv_from(text.data + start, i - start));
        if (i == text.size)
            break;
        unsigned char c = (unsigned char)text.data[i++];
        static const char digits[] = "0123456789abcdef";
        const char escape[] = {'\\', 'x', digits[c >> 4], digits[c & 15]};
        build_bytes(build, c == '\'' ? SV("''") : sv_from(escape, sizeof escape));
    }
    build_bytes(build, SV("'"));
}

struct diff {
    const struct settings *store;
    uint32_t have;
    uint32_t want;
    struct build build;
    uint32_t calls; /* of set_config() so far, in the statement at hand */
};

/* NULL data: to be reset. */
static void put_statement(struct diff *diff, struct sv name, struct sv value)
{
    if (diff->calls > 0)
        build_bytes(&diff->build, SV(";"));
    diff->calls = 0;
    build_bytes(&diff->build, value.data != NULL ? SV("SET ") : SV("RESET "));
    build_bytes(&diff->build, name);
    if (value.data != NULL) {
        build_bytes(&diff->build, SV(" TO "));
        put_literal(&diff->build, value);
    }
    build_bytes(&diff->build, SV(";"));
}

static void put_call(struct diff *diff, struct sv name, struct sv value)
{
    build_bytes(&diff->build, diff->calls++ == 0 ? SV("SELECT ") : SV(","));
    build_bytes(&diff->build, SV("pg_catalog.set_config("));
    put_literal(&diff->build, name);
    build_bytes(&diff->build, SV(","));
    if (value.data != NULL)
        put_literal(&diff->build, value);
    else
        build_bytes(&diff->build, SV("NULL"));
    /* The answer would hold the value, and fail if the client_encoding cannot express it. */
    build_bytes(&diff->build, SV(",false)IS NULL"));
}

/* Who the session acts as: what may be set depends on it, and setting the authorization resets the
 * role. So what is there of them goes first, and what is wanted comes last. */
#define ROLE          SV("role")
#define AUTHORIZATION SV("session_authorization")

static bool is_identity(struct sv name)
{
    return sv_eq_nocase(name, ROLE) || sv_eq_nocase(name, AUTHORIZATION);
}

static bool moves_identity(const struct diff *diff)
{
    struct settings_walk walk = {0};
    struct settings_change change;
    while (settings_change_next(diff->store, diff->have, diff->want, &walk, &change))
        if (is_identity(change.name))
            return true;
    return false;
}

static void put_identity(struct diff *diff, uint32_t set, struct sv name, bool is_reset)
{
    struct sv value = settings_find(diff->store, set, name);
    if (value.data != NULL)
        put_call(diff, name, is_reset ? sv_from(NULL, 0) : value);
}

/* All changes that are made by statements, or all that are made by calls. */
static void put_changes(struct diff *diff, bool is_call)
{
    struct settings_walk walk = {0};
    struct settings_change change;
    while (settings_change_next(diff->store, diff->have, diff->want, &walk, &change)) {
        struct sv literal = literal_name(change.name);
        if (is_identity(change.name) || is_call != (literal.size == 0))
            continue;
        if (is_call)
            put_call(diff, change.name, change.want);
        else
            put_statement(diff, literal, change.want);
    }
}

enum hf_rc settings_diff(const struct settings *store, uint32_t have, uint32_t want,
                         struct buffer *out)
{
    struct diff diff = {.store = store, .have = have, .want = want};
    if (have == want)
        return HF_OK;
    bool has_moved = moves_identity(&diff);
    diff.build = build_begin(out, 'Q');
    if (has_moved) {
        put_identity(&diff, have, ROLE, true);
        put_identity(&diff, have, AUTHORIZATION, true);
    }
    put_changes(&diff, false);
    put_changes(&diff, true);
    if (has_moved) {
        put_identity(&diff, want, AUTHORIZATION, false);
        put_identity(&diff, want, ROLE, false);
    }
    build_u8(&diff.build, 0);
    return build_end(&diff.build);
}

/* ---- As ParameterStatus ---- */

enum hf_rc settings_status(const struct settings *store, uint32_t was, uint32_t now,
                           struct buffer *out)
{
    struct settings_walk walk = {0};
    struct settings_change change;
    size_t size = 0;
    while (settings_change_next(store, was, now, &walk, &change))
        if (change.want.data != NULL)
            size += FRAME_HEADER_SIZE + change.name.size + change.want.size + 2;
    if (size > buffer_free(out))
        return HF_RC_LIMIT;
    walk = (struct settings_walk){0};
    while (settings_change_next(store, was, now, &walk, &change)) {
        if (change.want.data == NULL)
            continue;
        enum hf_rc rc = build_parameter_status(out, change.name, change.want);
        hf_assert(rc == HF_OK);
    }
    return HF_OK;
}
