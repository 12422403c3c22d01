#include "proxy/users.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/bug.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/secret.h"
#include "wire/bytes.h"
#include "wire/password.h"

#define SQLSTATE_CONFIG_FILE "F0000"

struct user {
    struct users *users;
    char name[PROXY_NAME_SIZE];
    struct secret secret;
    enum password_kind kind;
    _Atomic bool has_verifier;      /* set once, after `verifier` */
    struct scram_verifier verifier; /* written under the lock, while has_verifier is not set */
    bool has_pass;                  /* under the lock, with the pass */
    struct user_pass pass;
};

struct users {
    struct mem *mem;
    struct user *list; /* owned */
    uint32_t count;
    uint32_t capacity;
    struct hash_key key;
    struct map map; /* of names */
    void *slots;    /* owned: the map's */
    pthread_mutex_t lock;
};

/* ---- finding ---- */

struct user *users_find(struct users *users, struct sv name)
{
    struct map_find find = map_find(&users->map, hash_bytes(&users->key, name));
    while (map_find_next(&users->map, &find))
        if (sv_eq(sv_from_cstr(users->list[find.index].name), name))
            return &users->list[find.index];
    return NULL;
}

uint32_t users_count(const struct users *users)
{
    return users->count;
}

const char *users_name(const struct users *users, uint32_t index)
{
    hf_assert(index < users->count);
    return users->list[index].name;
}

/* ---- making ---- */

static enum hf_rc add_user(struct users *users, struct sv name, struct sv secret,
                           struct hf_err *err)
{
    hf_assert(users->count < users->capacity);
    struct user *user = &users->list[users->count];
    if (name.size == 0 || !sv_copy(name, user->name, sizeof user->name))
        return err_set(err, HF_RC_INVALID, SQLSTATE_CONFIG_FILE,
                       "a name has 1 to %d bytes, this one has %zu", PROXY_NAME_SIZE - 1,
                       name.size);
    if (users_find(users, name) != NULL)
        return err_set(err, HF_RC_INVALID, SQLSTATE_CONFIG_FILE, "user \"" SV_FMT "\" comes twice",
                       SV_ARG(name));
    enum hf_rc rc = secret_set(&user->secret, secret, err);
    if (rc != HF_OK)
        return err_while(err, "the secret of \"" SV_FMT "\"", SV_ARG(name));
    user->users = users;
    user->kind = password_kind(secret);
    users->count++; /* from here on it is wiped with the others */
    if (user->kind == PASSWORD_SCRAM) {
        if (scram_verifier_parse(&user->verifier, secret, err) != HF_OK)
            return err_while(err, "the secret of \"" SV_FMT "\"", SV_ARG(name));
        atomic_store_explicit(&user->has_verifier, true, memory_order_relaxed);
    }
    const bool fits = map_insert(&users->map, hash_bytes(&users->key, name), users->count - 1);
    hf_assert(fits);
    return HF_OK;
}

/* A line of a users file is no longer than its name and its secret, all of them quotes. */
#define LINE_MAX_BYTES ((size_t)4 * (PROXY_NAME_SIZE + SECRET_SIZE_MAX))

static enum hf_rc read_line(struct users *users, struct sv line, struct hf_err *err)
{
    char name_bytes[LINE_MAX_BYTES], secret_bytes[LINE_MAX_BYTES];
    struct sv name, secret;
    line = sv_trim(line);
    if (line.size == 0 || line.data[0] == ';' || line.data[0] == '#')
        return HF_OK;
    if (line.size > LINE_MAX_BYTES)
        return err_set(err, HF_RC_LIMIT, SQLSTATE_CONFIG_FILE, "the line has %zu bytes", line.size);
    enum hf_rc rc = HF_RC_INVALID;
    const bool has_name = sv_take_quoted(&line, name_bytes, &name);
    line = sv_trim(line);
    if (has_name && sv_take_quoted(&line, secret_bytes, &secret)) {
        rc = add_user(users, name, secret, err);
    } else {
        err_set(err, HF_RC_INVALID, SQLSTATE_CONFIG_FILE, "this is not a name and a secret");
        err_hint(err, "Write both in double quotes, and a quote inside them twice.");
    }
    explicit_bzero(secret_bytes, sizeof secret_bytes);
    /* A line that is broken may have its secret where the name should be. */
    explicit_bzero(name_bytes, sizeof name_bytes);
    return rc;
}

static enum hf_rc read_text(struct users *users, struct sv text, struct hf_err *err)
{
    struct sv line;
    uint32_t number = 0;
    while (sv_split(&text, '\n', &line)) {
        number++;
        if (read_line(users, line, err) != HF_OK)
            return err_while(err, "line %u", (unsigned)number);
    }
    return HF_OK;
}

static enum hf_rc read_roles(struct users *users, const struct proxy_config *config,
                             struct hf_err *err)
{
    for (uint32_t i = 0; i < config->role_count; i++) {
        const struct proxy_role *role = &config->roles[i];
        const struct sv name = sv_from_cstr(role->name);
        if (!secret_is_set(&role->password))
            continue;
        if (users_find(users, name) != NULL)
            return err_set(err, HF_RC_INVALID, SQLSTATE_CONFIG_FILE,
                           "user \"%s\" is in auth_file, and has a password in roles", role->name);
        if (add_user(users, name, secret_reveal(&role->password), err) != HF_OK)
            return err_while(err, "roles");
    }
    return HF_OK;
}

/* Lines bound the users. */
static size_t count_lines(struct sv text)
{
    size_t count = 1;
    for (size_t i = 0; i < text.size; i++)
        count += text.data[i] == '\n';
    return count;
}

static enum hf_rc make_room(struct users *users, size_t capacity, struct hf_err *err)
{
    if (capacity > USERS_MAX + PROXY_ROLES_MAX)
        return err_set(err, HF_RC_LIMIT, "54000", "there are more than %d lines", USERS_MAX);
    users->capacity = (uint32_t)capacity;
    users->list = mem_alloc_array(users->mem, capacity, sizeof users->list[0]);
    users->slots = mem_alloc(users->mem, map_size(users->capacity));
    if (users->list == NULL || users->slots == NULL)
        return mem_refused(users->mem, capacity * sizeof users->list[0], err);
    map_init(&users->map, users->slots, users->capacity);
    return HF_OK;
}

/* Without anybody in it, and with room for so many. */
static enum hf_rc make(struct users **out, size_t capacity, uint64_t seed, struct mem *mem,
                       struct hf_err *err)
{
    struct users *users = mem_alloc(mem, sizeof *users);
    if (users == NULL)
        return mem_refused(mem, sizeof *users, err);
    users->mem = mem;
    users->key = hash_key_from_seed(seed);
    pthread_mutex_init(&users->lock, NULL);
    const enum hf_rc rc = make_room(users, capacity, err);
    if (rc == HF_OK)
        *out = users;
    else
        users_free(users);
    return rc;
}

enum hf_rc users_new_one(struct users **out, struct sv name, struct sv secret, uint64_t seed,
                         struct mem *mem, struct hf_err *err)
{
    struct users *users = NULL;
    enum hf_rc rc = make(&users, 1, seed, mem, err);
    if (rc != HF_OK)
        return rc;
    hf_assert(users != NULL);
    rc = add_user(users, name, secret, err);
    if (rc == HF_OK)
        *out = users;
    else
        users_free(users);
    return rc;
}

enum hf_rc users_new(struct users **out, struct sv text, const struct proxy_config *config,
                     uint64_t seed, struct mem *mem, struct hf_err *err)
{
    struct hf_err scratch;
    err = err != NULL ? err : &scratch;
    if (text.size > USERS_TEXT_MAX)
        return err_set(err, HF_RC_LIMIT, "54000", "the file has more than %zu bytes",
                       USERS_TEXT_MAX);
    struct users *users = NULL;
    enum hf_rc rc = make(&users, count_lines(text) + config->role_count, seed, mem, err);
    if (rc != HF_OK)
        return rc;
    hf_assert(users != NULL);
    rc = read_text(users, text, err);
    if (rc == HF_OK)
        rc = read_roles(users, config, err);
    if (rc != HF_OK) {
        users_free(users);
        return rc;
    }
    *out = users;
    return HF_OK;
}

void users_free(struct users *users)
{
    if (users == NULL)
        return;
    if (users->list != NULL)
        explicit_bzero(users->list, users->capacity * sizeof users->list[0]);
    pthread_mutex_destroy(&users->lock);
    mem_free(users->mem, users->list);
    mem_free(users->mem, users->slots);
    mem_free(users->mem, users);
}

/* ---- what is learned ---- */

struct sv user_secret(const struct user *user)
{
    return secret_reveal(&user->secret);
}

bool user_has_secret(const struct user *user, struct sv secret)
{
    const struct sv own = secret_reveal(&user->secret);
    return own.size == secret.size && bytes_eq_secret(own.data, secret.data, own.size);
}

const struct scram_verifier *user_verifier(const struct user *user)
{
    /* Pairs with the release in user_set_verifier(): who sees the flag sees the verifier whole. */
    return atomic_load_explicit(&user->has_verifier, memory_order_acquire) ? &user->verifier : NULL;
}

void user_set_verifier(struct user *user, const struct scram_verifier *verifier)
{
    pthread_mutex_lock(&user->users->lock);
    if (user->kind == PASSWORD_PLAIN && user_verifier(user) == NULL) {
        user->verifier = *verifier;
        atomic_store_explicit(&user->has_verifier, true, memory_order_release);
    }
    pthread_mutex_unlock(&user->users->lock);
}

bool user_get_pass(struct user *user, struct user_pass *pass)
{
    pthread_mutex_lock(&user->users->lock);
    const bool has_pass = user->has_pass;
    if (has_pass)
        *pass = user->pass;
    pthread_mutex_unlock(&user->users->lock);
    return has_pass;
}

void user_set_pass(struct user *user, const struct scram_keys *keys,
                   const struct scram_verifier *verifier)
{
    if (!scram_verifier_fits(verifier, keys))
        return;
    if (user->kind == PASSWORD_SCRAM && !scram_verifier_fits(&user->verifier, keys))
        return;
    pthread_mutex_lock(&user->users->lock);
    user->pass.keys = *keys;
    user->pass.verifier = *verifier;
    user->has_pass = true;
    pthread_mutex_unlock(&user->users->lock);
}

void user_pass_wipe(struct user_pass *pass)
{
    explicit_bzero(pass, sizeof *pass);
}

void users_adopt(struct users *users, struct users *before)
{
    for (uint32_t i = 0; i < users->count; i++) {
        struct user *user = &users->list[i];
        struct user *old = users_find(before, sv_from_cstr(user->name));
        if (old == NULL || !secret_eq(&user->secret, &old->secret))
            continue;
        struct user_pass pass;
        const struct scram_verifier *verifier = user_verifier(old);
        if (verifier != NULL)
            user_set_verifier(user, verifier);
        if (user_get_pass(old, &pass)) {
            user_set_pass(user, &pass.keys, &pass.verifier);
            user_pass_wipe(&pass);
        }
    }
}
