#include "cli/subcommand.h"

#include "base/bug.h"

static const struct subcommand *(*const rows[])(void) = {
    cmd_config, cmd_demo, cmd_explain, cmd_help, cmd_import, cmd_proxy,
};

size_t subcommand_count(void)
{
    return sizeof rows / sizeof rows[0];
}

const struct subcommand *subcommand_at(size_t index)
{
    hf_assert(index < subcommand_count());
    return rows[index]();
}

const struct subcommand *subcommand_find(struct sv name)
{
    for (size_t i = 0; i < subcommand_count(); i++) {
        if (sv_eq(name, sv_from_cstr(subcommand_at(i)->name)))
            return subcommand_at(i);
    }
    return NULL;
}

enum hf_rc subcommand_unknown(struct sv name, struct hf_err *err)
{
    /* A third of the letters wrong, or two: beyond that a suggestion would be a guess. */
    const unsigned far = name.size / 3 > 2 ? (unsigned)(name.size / 3) : 2;
    unsigned nearest = far + 1;
    const char *guess = NULL;
    for (size_t i = 0; i < subcommand_count(); i++) {
        const char *candidate = subcommand_at(i)->name;
        const unsigned distance = sv_distance(name, sv_from_cstr(candidate), far);
        if (distance < nearest) {
            nearest = distance;
            guess = candidate;
        }
    }
    err_set(err, HF_RC_INVALID, "42704", "unknown subcommand \"" SV_FMT "\"", SV_ARG(name));
    if (guess != NULL)
        return err_hint(err, "Did you mean \"%s\"?", guess);
    return err_hint(err, "holdfast --help lists them.");
}
