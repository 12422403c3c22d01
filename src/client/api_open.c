/*
 * hf_open() and hf_open_with(): what callers say, made into a client_config.
 */
#include <string.h>

#include "client/errors.h"
#include "client/open.h"
#include "client/options.h"
#include "holdfast.h"

#ifndef HF_VERSION
#error "the build names the version"
#endif

const char *hf_version(void)
{
    return HF_VERSION;
}

static int open_config(struct hf_db **db, struct client_config *config,
                       const struct hf_options *options, struct hf_error *err)
{
    struct hf_err why;
    options_defaults(config, OPTIONS_DATABASE);
    if (options_profile(config, options->profile, &why) != HF_OK ||
        options_apply(config, options, &why) != HF_OK || options_check(config, &why) != HF_OK)
        return error_from_err(err, HF_E_CONFIG, &why);
    return db_open(db, config, &options->hooks, err);
}

int hf_open_with(struct hf_db **db, const struct hf_options *options, struct hf_error *err)
{
    static const struct hf_options none;
    if (db == NULL)
        return error_set(err, HF_E_USAGE, "hf_open_with() needs a place for the database");
    *db = NULL;
    struct client_config config;
    int code = open_config(db, &config, options != NULL ? options : &none, err);
    options_wipe(&config);
    return code;
}

static bool is_file(const char *where)
{
    size_t size = strlen(where);
    return (size > 4 && strcmp(where + size - 4, ".yml") == 0) ||
           (size > 5 && strcmp(where + size - 5, ".yaml") == 0);
}

int hf_open(struct hf_db **db, const char *where, struct hf_error *err)
{
    struct hf_options options = {0};
    if (where == NULL)
        where = "";
    if (is_file(where))
        options.file = where;
    else
        options.conninfo = where;
    return hf_open_with(db, &options, err);
}
