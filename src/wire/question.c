#include "wire/question.h"

#include "base/bug.h"
#include "wire/build.h"

/* No statement that wire/prepared.h names is called so: behind "hf_" come digits there. */
#define NAME SV("hf__question")

/* More than all that stands around the text, and a Sync. */
#define AROUND_SIZE 128

static enum hf_rc put_bind(struct buffer *out)
{
    struct build build = build_begin(out, 'B');
    build_cstr(&build, SV("")); /* the portal */
    build_cstr(&build, NAME);
    for (int list = 0; list < 3; list++) /* formats, values, formats of results: all is text */
        build_u16(&build, 0);
    return build_end(&build);
}

static enum hf_rc put_execute(struct buffer *out)
{
    struct build build = build_begin(out, 'E');
    build_cstr(&build, SV("")); /* the portal */
    build_u32(&build, 0);       /* all rows */
    return build_end(&build);
}

enum hf_rc question_put(struct buffer *out, struct sv text)
{
    if (buffer_free(out) < AROUND_SIZE || buffer_free(out) - AROUND_SIZE < text.size)
        return HF_RC_LIMIT;
    bool is_whole = build_close_statement(out, NAME) == HF_OK &&
                    build_parse(out, NAME, text) == HF_OK && put_bind(out) == HF_OK &&
                    put_execute(out) == HF_OK && build_close_statement(out, NAME) == HF_OK;
    hf_assert(is_whole);
    return HF_OK;
}
