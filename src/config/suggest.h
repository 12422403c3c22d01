/*
 * "Did you mean": the name nearest to one that does not exist, or the section where it does.
 */
#ifndef HF_CONFIG_SUGGEST_H
#define HF_CONFIG_SUGGEST_H

#include "base/err.h"
#include "base/sv.h"
#include "proxy/proxy_config.h"

struct suggest {
    struct sv written;
    const char *nearest; /* static; NULL: nothing is near */
    unsigned distance;   /* of the nearest; at first one more than may be guessed */
};

void suggest_begin(struct suggest *suggest, struct sv written);
void suggest_consider(struct suggest *suggest, const char *name);

/* Considers the names of the sections inside one; "" for those at the top. */
void suggest_sections(struct suggest *suggest, const char *path);

/* The nearest, or NULL. */
const char *suggest_word(const struct suggest *suggest);

/* Sets the hint, if something is near. */
void suggest_hint(const struct suggest *suggest, struct hf_err *err);

/* Sets the hint if another section than `here` (NULL: none) has a setting of exactly this name, or
 * else to where all settings are listed. */
void suggest_elsewhere(const struct proxy_section *here, struct sv key, struct hf_err *err);

#endif
