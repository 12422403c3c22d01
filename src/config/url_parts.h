/*
 * A connection string taken in two: settings of ours, and a string that is libpq's alone.
 *
 *     postgresql://app@db1/?pool_size=5&sslmode=require
 *         rest      postgresql://app@db1/?sslmode=require
 *         settings  pools.pool_size = 5
 *
 * What is not a setting of ours stays in the rest, byte by byte, so that nobody but libpq reads it.
 * Both forms of a string are known, URL and key=value, with their ways to write what is special:
 * %XX in one, quotes and backslashes in the other.
 *
 * The parts hold what the string held, passwords included: url_parts_wipe() at the end.
 */
#ifndef HF_CONFIG_URL_PARTS_H
#define HF_CONFIG_URL_PARTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/opt.h"
#include "base/sv.h"
#include "config/suggest.h"
#include "proxy/proxy_config.h"

#define URL_PARTS_SIZE 4096 /* of a connection string */
#define URL_PARTS_MAX  64   /* settings */

struct url_setting {
    const struct proxy_section *section; /* proxy, pools or databases */
    const struct opt_row *row;
    struct sv value; /* decoded */
};

struct url_parts {
    char rest[URL_PARTS_SIZE];
    struct url_setting settings[URL_PARTS_MAX];
    size_t count;
    struct suggest suggest; /* for a key that neither we nor libpq know; else nothing is near */

    /* private */
    char values[URL_PARTS_SIZE];
    size_t used;
};

enum hf_rc url_parts_split(struct url_parts *parts, const char *string,
                           struct hf_err *err) HF_MUST_USE;

/* Is there a setting of this name? */
bool url_parts_has(const struct url_parts *parts, const char *key);

void url_parts_wipe(struct url_parts *parts);

#endif
