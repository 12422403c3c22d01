#include "os/passfile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "os/file.h"

#define FIELD_SIZE 512

/* Takes a field off the line, up to a colon that no backslash stands before. False: too long. */
static bool take_field(struct sv *line, char out[FIELD_SIZE], struct sv *field)
{
    size_t used = 0, i = 0;
    for (; i < line->size && line->data[i] != ':'; i++) {
        if (line->data[i] == '\\' && i + 1 < line->size)
            i++;
        if (used == FIELD_SIZE)
            return false;
        out[used++] = line->data[i];
    }
    *line = sv_drop(*line, i + 1);
    *field = sv_from(out, used);
    return true;
}

/* A star that stands alone, and without a backslash, is anything. */
static bool field_fits(struct sv *line, struct sv wanted)
{
    char bytes[FIELD_SIZE];
    struct sv field;
    const bool is_any = sv_starts_with(*line, SV("*:"));
    return take_field(line, bytes, &field) && (is_any || sv_eq(field, wanted));
}

static bool line_fits(struct sv *line, const struct passfile_key *key)
{
    return field_fits(line, key->host) && field_fits(line, key->port) &&
           field_fits(line, key->database) && field_fits(line, key->user);
}

enum hf_rc passfile_search(struct sv text, const struct passfile_key *key, struct secret *password,
                           struct hf_err *err)
{
    struct sv line, field;
    char bytes[FIELD_SIZE];
    while (sv_split(&text, '\n', &line)) {
        if (sv_ends_with(line, SV("\r")))
            line = sv_take(line, line.size - 1);
        if (sv_starts_with(line, SV("#")) || !line_fits(&line, key))
            continue;
        const bool fits = take_field(&line, bytes, &field);
        const enum hf_rc rc = fits ? secret_set(password, field, err)
                                   : err_set(err, HF_RC_LIMIT, "22001", "the password is too long");
        explicit_bzero(bytes, sizeof bytes);
        return rc;
    }
    return HF_OK;
}

enum hf_rc passfile_check(const char *path, struct hf_err *err)
{
    struct stat status;
    if (stat(path, &status) != 0 || (status.st_mode & (S_IRWXG | S_IRWXO)) == 0)
        return HF_OK;
    err_set(err, HF_RC_DENIED, "F0000", "others may read the password file \"%s\"", path);
    return err_hint(err, "chmod 600 %s", path);
}

enum hf_rc passfile_find(const char *path, const struct passfile_key *key, struct secret *password,
                         struct hf_err *err)
{
    struct stat status;
    if (stat(path, &status) != 0 || !S_ISREG(status.st_mode))
        return HF_OK;
    if (passfile_check(path, err) != HF_OK)
        return err->rc;
    char *text = malloc(PASSFILE_SIZE_MAX);
    if (text == NULL)
        return err_set(err, HF_RC_AGAIN, "53200", "out of memory");
    enum hf_rc rc = file_read(path, text, PASSFILE_SIZE_MAX, err);
    if (rc == HF_OK)
        rc = passfile_search(sv_from_cstr(text), key, password, err);
    explicit_bzero(text, PASSFILE_SIZE_MAX);
    free(text);
    return rc;
}
