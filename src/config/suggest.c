#include "config/suggest.h"

#include <string.h>

void suggest_begin(struct suggest *suggest, struct sv written)
{
    /* One mistake may be guessed in a short word and up to four in a long one: these names are
     * long, and made of the same words. */
    const unsigned far = written.size >= 14 ? 4 : written.size >= 8 ? 3 : written.size >= 4 ? 2 : 1;
    *suggest = (struct suggest){.written = written, .distance = far + 1};
}

void suggest_consider(struct suggest *suggest, const char *name)
{
    const unsigned distance = sv_distance(suggest->written, sv_from_cstr(name), suggest->distance);
    if (distance >= suggest->distance)
        return;
    suggest->distance = distance;
    suggest->nearest = name;
}

void suggest_sections(struct suggest *suggest, const char *path)
{
    const size_t size = strlen(path);
    for (size_t i = 0; i < proxy_section_count(); i++) {
        const char *name = proxy_section_at(i)->path;
        if (size > 0 && (strncmp(name, path, size) != 0 || name[size] != '.'))
            continue;
        name += size > 0 ? size + 1 : 0;
        if (strchr(name, '.') == NULL && *name != '\0')
            suggest_consider(suggest, name);
    }
}

const char *suggest_word(const struct suggest *suggest)
{
    return suggest->nearest;
}

void suggest_hint(const struct suggest *suggest, struct hf_err *err)
{
    if (suggest->nearest != NULL)
        err_hint(err, "Did you mean \"%s\"?", suggest->nearest);
}

void suggest_elsewhere(const struct proxy_section *here, struct sv key, struct hf_err *err)
{
    err_hint(err, "`holdfast config reference` lists all settings.");
    for (size_t i = 0; i < proxy_section_count(); i++) {
        const struct proxy_section *section = proxy_section_at(i);
        if (section == here || (opt_find(&section->tables[0], key) == NULL &&
                                opt_find(&section->tables[1], key) == NULL))
            continue;
        err_hint(err, "It belongs into the section \"%s\".", section->path);
        return;
    }
}
