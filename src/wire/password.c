#include "wire/password.h"

#include <string.h>

#include "base/bug.h"
#include "wire/bytes.h"
#include "wire/sha256.h"

static bool is_hex(struct sv text)
{
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
            return false;
    }
    return true;
}

enum password_kind password_kind(struct sv secret)
{
    if (secret.size == PASSWORD_MD5_SIZE && sv_starts_with(secret, SV("md5")) &&
        is_hex(sv_drop(secret, 3)))
        return PASSWORD_MD5;
    return sv_starts_with(secret, SV("SCRAM-SHA-256$")) ? PASSWORD_SCRAM : PASSWORD_PLAIN;
}

/* "md5" and the hash of the pieces. */
static void write_md5(const struct sv *pieces, char out[PASSWORD_MD5_SIZE])
{
    out[0] = 'm';
    out[1] = 'd';
    out[2] = '5';
    md5_hex(pieces, 2, out + 3);
}

void password_md5_store(struct sv password, struct sv user, char out[PASSWORD_MD5_SIZE])
{
    const struct sv pieces[] = {password, user};
    write_md5(pieces, out);
}

void password_md5_answer(const char stored[PASSWORD_MD5_SIZE], const char salt[PASSWORD_SALT_SIZE],
                         char out[PASSWORD_MD5_SIZE])
{
    const struct sv pieces[] = {sv_from(stored + 3, MD5_HEX_SIZE),
                                sv_from(salt, PASSWORD_SALT_SIZE)};
    write_md5(pieces, out);
}

/* Texts of any size, compared by digests, so that no time tells where they differ. */
static bool is_same(struct sv a, struct sv b)
{
    char x[SHA256_SIZE], y[SHA256_SIZE];
    sha256(a, x);
    sha256(b, y);
    bool same = bytes_eq_secret(x, y, sizeof x);
    bytes_wipe(x, sizeof x);
    bytes_wipe(y, sizeof y);
    return same;
}

bool password_md5_check(struct sv secret, struct sv user, const char salt[PASSWORD_SALT_SIZE],
                        struct sv answer)
{
    char stored[PASSWORD_MD5_SIZE], expected[PASSWORD_MD5_SIZE];
    enum password_kind kind = password_kind(secret);
    if (kind == PASSWORD_SCRAM || secret.size == 0)
        return false;
    if (kind == PASSWORD_MD5)
        memcpy(stored, secret.data, sizeof stored);
    else
        password_md5_store(secret, user, stored);
    password_md5_answer(stored, salt, expected);
    bool same = is_same(sv_from(expected, sizeof expected), answer);
    bytes_wipe(stored, sizeof stored);
    bytes_wipe(expected, sizeof expected);
    return same;
}

bool password_plain_check(struct sv secret, struct sv user, struct sv password)
{
    char stored[PASSWORD_MD5_SIZE];
    if (secret.size == 0)
        return false;
    switch (password_kind(secret)) {
    case PASSWORD_PLAIN:
        return is_same(secret, password);
    case PASSWORD_MD5:
        password_md5_store(password, user, stored);
        return is_same(secret, sv_from(stored, sizeof stored));
    case PASSWORD_SCRAM:
        break;
    }
    return false;
}
