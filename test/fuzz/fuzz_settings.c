/*
 * Any bytes as the settings of two sessions, and as a StartupMessage. Lines NAME=VALUE are
 * settings; those behind the first empty line are of the second set.
 *
 * Checked beside the absence of crashes: what is written to turn a session with the one into one
 * with the other is read here by a parser of its own, which knows no more than what PostgreSQL does
 * with a literal; every statement is one of the three that may be there, and their effects turn the
 * one set into the other, handle for handle. What was made is gone when it was dropped.
 */
#include <string.h>

#include "fuzz.h"
#include "wire/build.h"
#include "wire/message.h"
#include "wire/settings.h"

enum {
    ENTRIES = 1024,
    BYTES = 65536,
    TEXT_MAX = 1 << 20,
};

static uint64_t memory[(BYTES + ENTRIES * 128) / sizeof(uint64_t)];

static void open_store(struct settings *store)
{
    struct settings_config config = {
        .entries_max = ENTRIES, .bytes_max = BYTES, .key = hash_key_from_seed(1)};
    FUZZ_CHECK(settings_size(&config) <= sizeof memory);
    settings_init(store, memory, &config);
}

static uint32_t read_set(struct settings *store, struct sv *rest)
{
    struct settings_edit edit = settings_edit_begin(store, 0);
    struct sv line, name;
    uint32_t set;
    while (sv_split(rest, '\n', &line) && line.size > 0) {
        sv_split(&line, '=', &name);
        settings_edit_put(&edit, name, line);
    }
    enum hf_rc rc = settings_edit_end(&edit, &set);
    FUZZ_CHECK(rc == HF_OK || set == 0);
    return set;
}

/* ---- A parser of what was written ---- */

static bool skip(struct sv *text, struct sv word)
{
    if (!sv_starts_with(*text, word))
        return false;
    *text = sv_drop(*text, word.size);
    return true;
}

static unsigned hex(char c)
{
    FUZZ_CHECK((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* A literal, decoded to `out`. In one without E a backslash means different things to different
 * sessions, so there may be none; and anything but printable ASCII depends on client_encoding. */
static struct sv read_literal(struct sv *text, char *out)
{
    bool is_escaping = skip(text, SV("E"));
    size_t size = 0;
    FUZZ_CHECK(skip(text, SV("'")));
    while (!sv_starts_with(*text, SV("'")) || sv_starts_with(*text, SV("''"))) {
        FUZZ_CHECK(text->size > 0 && text->data[0] >= ' ' && text->data[0] <= '~');
        if (text->data[0] == '\\') {
            FUZZ_CHECK(is_escaping && text->size > 3 && text->data[1] == 'x');
            out[size++] = (char)(hex(text->data[2]) << 4 | hex(text->data[3]));
            *text = sv_drop(*text, 4);
        } else {
            out[size++] = text->data[0];
            *text = sv_drop(*text, text->data[0] == '\'' ? 2 : 1);
        }
    }
    *text = sv_drop(*text, 1);
    return sv_from(out, size);
}

/* A word of letters and underscores, as all names are that stand outside of literals. */
static struct sv read_word(struct sv *text)
{
    size_t size = 0;
    while (size < text->size && text->data[size] != ' ' && text->data[size] != ';')
        size++;
    struct sv word = sv_take(*text, size);
    for (size_t i = 0; i < size; i++) {
        char lower = (char)(word.data[i] | 32);
        FUZZ_CHECK(word.data[i] == '_' || (lower >= 'a' && lower <= 'z'));
    }
    *text = sv_drop(*text, size);
    return word;
}

/* NULL data: reset. */
static void change(struct settings *store, uint32_t *set, struct sv name, struct sv value)
{
    uint32_t out;
    enum hf_rc rc = value.data == NULL ? settings_without(store, *set, name, &out)
                                       : settings_with(store, *set, name, value, &out);
    FUZZ_CHECK(rc == HF_OK);
    settings_drop(store, *set);
    *set = out;
}

static void read_call(struct settings *store, uint32_t *set, struct sv *text)
{
    static char name_text[TEXT_MAX], value_text[TEXT_MAX];
    FUZZ_CHECK(skip(text, SV("pg_catalog.set_config(")));
    struct sv name = read_literal(text, name_text), value = sv_from(NULL, 0);
    FUZZ_CHECK(skip(text, SV(",")));
    if (!skip(text, SV("NULL")))
        value = read_literal(text, value_text);
    FUZZ_CHECK(skip(text, SV(",false)IS NULL")));
    change(store, set, name, value);
}

static void read_statement(struct settings *store, uint32_t *set, struct sv *text)
{
    static char value_text[TEXT_MAX];
    if (skip(text, SV("SELECT "))) {
        do
            read_call(store, set, text);
        while (skip(text, SV(",")));
        FUZZ_CHECK(text->size == 0 || skip(text, SV(";")));
        return;
    }
    if (skip(text, SV("RESET "))) {
        change(store, set, read_word(text), sv_from(NULL, 0));
    } else {
        FUZZ_CHECK(skip(text, SV("SET ")));
        struct sv name = read_word(text);
        FUZZ_CHECK(skip(text, SV(" TO ")));
        change(store, set, name, read_literal(text, value_text));
    }
    FUZZ_CHECK(skip(text, SV(";")));
}

/* ---- The targets ---- */

static void try_diff(struct settings *store, uint32_t have, uint32_t want)
{
    static char block[TEXT_MAX];
    struct buffer out;
    struct frame frame;
    struct frame_part part;
    struct sv text;
    uint32_t set = have;
    buffer_init(&out, block, sizeof block);
    FUZZ_CHECK(settings_diff(store, have, want, &out) == HF_OK);
    FUZZ_CHECK((buffer_held(&out) == 0) == (have == want));
    if (have == want)
        return;
    frame_init(&frame, FRAME_FRONTEND, FRAME_SESSION);
    FUZZ_CHECK(frame_look(&frame, buffer_view(&out), &part) == FRAME_PART && part.is_last);
    FUZZ_CHECK(part.bytes.size == buffer_held(&out));
    FUZZ_CHECK(message_query(message_of(&part), &text) == MESSAGE_OK && text.size > 0);
    settings_keep(store, set);
    while (text.size > 0)
        read_statement(store, &set, &text);
    FUZZ_CHECK(set == want);
    settings_drop(store, set);
}

static void try_status(struct settings *store, uint32_t was, uint32_t now)
{
    static char block[TEXT_MAX];
    struct buffer out;
    struct frame frame;
    struct frame_part part;
    struct message_parameter parameter;
    uint32_t set = was;
    struct sv name, value;
    buffer_init(&out, block, sizeof block);
    FUZZ_CHECK(settings_status(store, was, now, &out) == HF_OK);
    frame_init(&frame, FRAME_BACKEND, FRAME_SESSION);
    settings_keep(store, set);
    while (frame_look(&frame, buffer_view(&out), &part) == FRAME_PART) {
        FUZZ_CHECK(message_parameter(message_of(&part), &parameter) == MESSAGE_OK);
        change(store, &set, parameter.name, parameter.value);
        frame_take(&frame, part.bytes.size);
        buffer_consume(&out, part.bytes.size);
    }
    FUZZ_CHECK(buffer_held(&out) == 0);
    for (uint32_t cursor = 0; settings_each(store, now, &cursor, &name, &value);)
        FUZZ_CHECK(sv_eq(settings_find(store, set, name), value));
    settings_drop(store, set);
}

static void try_pack(struct settings *store, uint32_t set)
{
    static char block[TEXT_MAX];
    struct buffer out;
    uint32_t again;
    buffer_init(&out, block, sizeof block);
    FUZZ_CHECK(settings_pack(store, set, &out) == HF_OK);
    FUZZ_CHECK(settings_unpack(store, buffer_view(&out), &again) == HF_OK && again == set);
    settings_drop(store, again);
}

static void try_startup(struct settings *store, struct sv data)
{
    static char packet[STARTUP_SIZE_MAX + 8];
    struct startup startup;
    struct startup_packet read;
    struct settings_startup settings;
    struct buffer out;
    struct hf_err err;
    buffer_init(&out, packet, sizeof packet);
    struct build build = build_begin_startup(&out);
    build_u32(&build, STARTUP_VERSION_NEWEST);
    build_bytes(&build, data);
    if (build_end(&build) != HF_OK)
        return;
    startup_init(&startup);
    if (startup_read(&startup, buffer_view(&out), &read) != STARTUP_SESSION)
        return;
    enum hf_rc rc = settings_startup(store, &read.session, &settings, &err);
    FUZZ_CHECK(rc == HF_OK || rc == HF_RC_INVALID || rc == HF_RC_LIMIT);
    FUZZ_CHECK(rc == HF_OK || (err.rc == rc && settings.set == 0));
    try_diff(store, 0, settings.set);
    settings_drop(store, settings.set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct settings store;
    struct sv rest = sv_from((const char *)data, size);
    open_store(&store);
    try_startup(&store, rest);
    FUZZ_CHECK(store.map.count == 0);
    if (size > 8192)
        return 0; /* so that everything fits */
    uint32_t have = read_set(&store, &rest), want = read_set(&store, &rest);
    try_diff(&store, have, want);
    try_diff(&store, want, have);
    try_diff(&store, 0, want);
    try_status(&store, have, want);
    try_pack(&store, want);
    settings_drop(&store, have);
    settings_drop(&store, want);
    FUZZ_CHECK(store.map.count == 0 && store.bytes_live == 0 && store.sets == 0);
    return 0;
}
