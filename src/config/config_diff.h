/*
 * What a reload changes, setting by setting.
 *
 *     struct config_diff diff;
 *     struct config_change change;
 *     config_diff_begin(&diff, before, after);
 *     while (config_diff_next(&diff, &change))
 *         printf("%s: %s -> %s\n", change.key, change.before, change.after);
 *
 * Settings come in the order of their sections. Databases and roles are told apart by name: one
 * that is new or gone is one change, whatever settings it has. Secrets show as ***, also where both
 * sides do.
 */
#ifndef HF_CONFIG_CONFIG_DIFF_H
#define HF_CONFIG_CONFIG_DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/proxy_config.h"

#define CONFIG_CHANGE_KEY_SIZE   192
#define CONFIG_CHANGE_VALUE_SIZE 128 /* longer values are cut, and end in ... */

struct config_change {
    char key[CONFIG_CHANGE_KEY_SIZE];
    char before[CONFIG_CHANGE_VALUE_SIZE]; /* "(none)" for what is new ... */
    char after[CONFIG_CHANGE_VALUE_SIZE];  /* ... or gone */
    bool needs_restart;                    /* a reload leaves it as it is */
};

struct config_diff {
    const struct proxy_config *before;
    const struct proxy_config *after;
    size_t section;
    size_t table;
    size_t cursor;      /* in the table */
    uint32_t at_before; /* of databases or roles */
    uint32_t at_after;
};

void config_diff_begin(struct config_diff *diff, const struct proxy_config *before,
                       const struct proxy_config *after);
bool config_diff_next(struct config_diff *diff, struct config_change *change);

#endif
