/*
 * A users file of any text.
 *
 * Checked beside the absence of crashes and leaks: all users are found by their names, and no other
 * is; a secret that is a verifier has been parsed; what is refused is blamed on a line, and no
 * message holds what stands in quotes behind a name.
 */
#include <string.h>

#include "fuzz.h"
#include "proxy/users.h"
#include "wire/password.h"

static struct proxy_config no_roles;

/* The secret of a line, if it has one: what follows the third quote, without the word that every
 * verifier begins with. */
static struct sv secret_in(struct sv line)
{
    size_t quotes = 0;
    for (size_t i = 0; i < line.size; i++) {
        quotes += line.data[i] == '"';
        if (quotes == 3) {
            const struct sv secret = sv_drop(line, i + 1);
            return sv_starts_with(secret, SV("SCRAM-SHA-256$")) ? sv_drop(secret, 14) : secret;
        }
    }
    return SV("");
}

/* The line that a message names. */
static struct sv blamed(const struct hf_err *err, struct sv text)
{
    struct sv line = SV("");
    unsigned long number = 0;
    if (strncmp(err->message, "line ", 5) == 0)
        number = strtoul(err->message + 5, NULL, 10);
    while (number > 0 && sv_split(&text, '\n', &line))
        number--;
    return line;
}

static void check_silence(const struct hf_err *err, struct sv text)
{
    char secret[16];
    const struct sv line = blamed(err, text), view = sv_take(secret_in(line), 12);
    /* Short ones say nothing; one that is in the name as well may be said as a name; and where
     * quotes are doubled, this is too simple to tell name and secret apart. */
    if (view.size < 12 || memmem(line.data, line.size, "\"\"", 2) != NULL ||
        !sv_copy(view, secret, sizeof secret) ||
        memmem(line.data, (size_t)(view.data - line.data), secret, view.size) != NULL)
        return;
    FUZZ_CHECK(strstr(err->message, secret) == NULL && strstr(err->hint, secret) == NULL);
}

/* Names as they stand in the text, without its quotes: found or not, the answer must be sound. */
static void check_users(struct users *users, struct sv text)
{
    struct sv piece;
    uint32_t found = 0;
    while (sv_split(&text, '"', &piece)) {
        const struct user *user = users_find(users, piece);
        if (user == NULL)
            continue;
        found++;
        FUZZ_CHECK(piece.size > 0 && piece.size < PROXY_NAME_SIZE);
        const bool is_scram = password_kind(user_secret(user)) == PASSWORD_SCRAM;
        FUZZ_CHECK(is_scram == (user_verifier(user) != NULL));
    }
    FUZZ_CHECK(users_count(users) == 0 || found > 0 || users_find(users, SV("")) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mem mem;
    struct users *users = NULL;
    struct hf_err err = {0};
    const struct sv text = sv_from((const char *)data, size);
    mem_init(&mem, 0);
    if (users_new(&users, text, &no_roles, 1, &mem, &err) == HF_OK) {
        check_users(users, text);
    } else {
        FUZZ_CHECK(users == NULL && err.message[0] != '\0');
        FUZZ_CHECK(strncmp(err.message, "line ", 5) == 0 || err.rc == HF_RC_LIMIT);
        check_silence(&err, text);
    }
    users_free(users);
    mem_deinit(&mem);
    return 0;
}
