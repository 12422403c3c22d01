/*
 * Any text with words replaced, and any error about it. Of each line the first part, up to a tab,
 * is kept and the second one replaced; what stands behind the first empty line is an ErrorResponse.
 *
 * Checked beside the absence of crashes: the new text is the old one with the words put in, so that
 * putting the old words back gives the old text; places go back to where they came from, in order;
 * an error that is read here can be read as it comes out, with the same code.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "wire/frame.h"
#include "wire/message.h"
#include "wire/retext.h"

enum {
    TEXT_MAX = 4096
};

/* Reads the lines: the text and its words. Returns the text. */
static struct sv read_words(struct retext *retext, struct sv *rest, char *text)
{
    static const struct sv puts[] = {SV_INIT("hf_1"), SV_INIT("hf__0"), SV_INIT("hf_zzzzzz")};
    struct sv line, kept;
    size_t size = 0;
    while (sv_split(rest, '\n', &line) && line.size > 0 && size + line.size < TEXT_MAX) {
        bool has_word = sv_find(line, '\t') < line.size;
        sv_split(&line, '\t', &kept);
        memcpy(text + size, kept.data, kept.size);
        size += kept.size;
        if (!has_word)
            continue;
        uint32_t before = retext->count;
        bool is_added = retext_add(retext, size, line.size, puts[before % 3], SV("name"));
        FUZZ_CHECK(is_added == (before < RETEXT_WORDS_MAX));
        if (line.size > 0)
            memcpy(text + size, line.data, line.size);
        size += line.size;
        if (!is_added)
            break;
    }
    return sv_from(text, size);
}

static void check_text(struct retext *retext, struct sv text, char *out)
{
    size_t size = retext_size(retext, text), from = 0, at = 0, last = 0;
    retext_write(retext, text, out);
    for (uint32_t i = 0; i < retext->count; i++) {
        const struct retext_word *word = &retext->words[i];
        size_t kept = word->at - from;
        FUZZ_CHECK(memcmp(out + at, text.data + from, kept) == 0);
        at += kept;
        FUZZ_CHECK(sv_eq(sv_from(out + at, word->put_size), retext_put(retext, i)));
        at += word->put_size;
        from = word->at + word->size;
    }
    FUZZ_CHECK(size - at == text.size - from);
    FUZZ_CHECK(memcmp(out + at, text.data + from, size - at) == 0);
    for (size_t place = 1; place <= size + 1; place++) {
        size_t now = retext_position(retext, place);
        FUZZ_CHECK(now >= last && now <= text.size + 1);
        last = now;
    }
}

static void check_error(const struct retext *retext, struct sv body)
{
    static char block[1 << 20];
    struct message_error was, is;
    struct buffer out;
    buffer_init(&out, block, sizeof block);
    if (retext_error(retext, 'E', body, &out) != HF_OK) {
        FUZZ_CHECK(buffer_held(&out) == 0);
        return;
    }
    struct sv bytes = sv_drop(buffer_view(&out), FRAME_HEADER_SIZE);
    FUZZ_CHECK(message_error_fields((struct message){body, true}, &was) == MESSAGE_OK);
    FUZZ_CHECK(message_error_fields((struct message){bytes, true}, &is) == MESSAGE_OK);
    FUZZ_CHECK(sv_eq(was.sqlstate, is.sqlstate) && sv_eq(was.severity, is.severity));
    FUZZ_CHECK(sv_eq(was.detail, is.detail) && sv_eq(was.hint, is.hint));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[TEXT_MAX], out[TEXT_MAX + RETEXT_WORDS_MAX * RETEXT_PUT_MAX];
    struct sv rest = sv_from((const char *)data, size);
    struct retext retext;
    if (size > TEXT_MAX)
        return 0;
    retext_init(&retext);
    struct sv read = read_words(&retext, &rest, text);
    check_text(&retext, read, out);
    /* Of its size, so that a byte too far is seen. */
    char *exact = malloc(rest.size > 0 ? rest.size : 1);
    FUZZ_CHECK(exact != NULL);
    if (rest.size > 0)
        memcpy(exact, rest.data, rest.size);
    check_error(&retext, sv_from(exact, rest.size));
    free(exact);
    return 0;
}
