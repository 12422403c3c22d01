/*
 * What the files of the options share: option_rows.c has the data, options.c reads by it.
 */
#ifndef HF_CLIENT_OPTIONS_INT_H
#define HF_CLIENT_OPTIONS_INT_H

#include <stddef.h>

/* An option that a profile, or the use for a guard, sets to something else. */
struct option_change {
    const char *section;
    const char *key;
    const char *text;
};

struct option_changes {
    const char *name;
    const struct option_change *list;
    size_t count;
};

/* NULL: there is no profile of that number. */
const struct option_changes *options_changes(int profile);
const struct option_changes *options_changes_for_guard(void);

#endif
