/*
 * Settings as the console names them: by section and key ("pools.pool_size"), by the key alone, or
 * by PgBouncer's name ("default_pool_size"), whose times are whole seconds and whose booleans are 0
 * and 1. Found in the option rows; there is no second list of settings, only one of other names.
 */
#ifndef HF_PROXY_ADMIN_SETTING_H
#define HF_PROXY_ADMIN_SETTING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/sv.h"
#include "proxy/proxy_config.h"

struct admin_setting {
    const struct proxy_section *section;
    const struct opt_row *row;
};

/* False: there is none of that name; `err` says so, with the likeliest one. */
bool admin_setting_find(struct sv name, struct admin_setting *out, struct hf_err *err);

/* PgBouncer's names, by number; false behind the last one. */
bool admin_setting_alias(size_t index, const char **name, struct admin_setting *out);

/* The value as PgBouncer writes it, and as it is without a configuration: its default. */
void admin_setting_print(const struct admin_setting *setting, const struct proxy_config *config,
                         char *out, size_t size);

/*
 * The configuration with another value for one setting: a copy, checked as a file is. What has been
 * taken from `pools` or `limits` by databases and roles, and is still the same there, changes with
 * it. NULL: refused, and `err` says why; or the setting needs a restart.
 */
struct proxy_config *admin_setting_change(const struct proxy_config *config,
                                          const struct admin_setting *setting, struct sv value,
                                          struct hf_err *err);

#endif
