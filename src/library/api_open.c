/*
 * hf_open() and hf_open_with(): what callers say, in a struct, a connection string or a file, made
 * into one client_config.
 *
 * They stand above client/ and config/, because they are where both meet: the options are the
 * client's, the reading of files is config's, and neither knows the other's business.
 */
#include <string.h>

#include "client/errors.h"
#include "client/open.h"
#include "client/options.h"
#include "config/library_file.h"
#include "holdfast.h"
#include "os/mem.h"

/* Defaults, profile, and what the file says, if there is one. */
static enum hf_rc read_base(struct client_config *config, const struct hf_options *options,
                            struct hf_err *why)
{
    if (options->file == NULL) {
        options_defaults(config, OPTIONS_DATABASE);
        return options_profile(config, options->profile, why);
    }
    struct mem mem;
    mem_init(&mem, 0);
    enum hf_rc rc =
        library_file_read(config, options->file, options->database, options->profile, &mem, why);
    mem_deinit(&mem);
    return rc;
}

static int open_config(struct hf_db **db, struct client_config *config,
                       const struct hf_options *options, struct hf_error *err)
{
    struct hf_err why;
    if (read_base(config, options, &why) != HF_OK ||
        options_apply(config, options, &why) != HF_OK || options_check(config, &why) != HF_OK)
        return error_from_err(err, HF_E_CONFIG, &why);
    if (options->file != NULL && config->conninfo[0] == '\0') {
        error_set(err, HF_E_CONFIG, "%.400s says nowhere where the database is", options->file);
        error_hint(err, "Add databases: with an entry that has hosts, or library.conninfo.");
        return HF_E_CONFIG;
    }
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
