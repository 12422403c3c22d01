/*
 * Who may come in: hba rules, name maps and users together, as a configuration names them, read
 * from their files, and shared by all who are logging in.
 *
 *     access_new()    at the start and at each reload; a failure leaves what is in force
 *     access_hold()   by each login that works with it, at its begin
 *     access_drop()   at its end, and by whoever puts a new one in force
 *
 * Where no hba file is named there are two rules, for unix sockets and for everything else, with
 * proxy.auth_type as their method. Where that is trust, the second rule is for addresses of this
 * machine's loopback alone, whatever the proxy listens on: trust beyond that has to stand in an hba
 * file, in so many words.
 *
 * access_new() reads files and so belongs to where waiting is allowed: the main thread. Hold and
 * drop may be called by any thread.
 */
#ifndef HF_PROXY_ACCESS_H
#define HF_PROXY_ACCESS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"
#include "os/mem.h"
#include "proxy/auth_cache.h"
#include "proxy/hba.h"
#include "proxy/ident.h"
#include "proxy/proxy_config.h"
#include "proxy/users.h"

struct access {
    struct hba *hba;
    struct ident *ident;
    struct users *users;
    struct auth_cache *cache; /* NULL: nobody is looked up */
    char *passwords;          /* the passfile's text, owned; NULL: there is none */
    struct mem *mem;
    _Atomic uint32_t holders;
};

/* Held once, by the caller. `before` may be NULL: what was learned of its users is taken over. The
 * message of a failure names file and line. */
enum hf_rc access_new(struct access **access, const struct proxy_config *config,
                      const struct access *before, struct mem *mem, struct hf_err *err) HF_MUST_USE;

/* What the passfile says for a server, a database there and a user; `password` stays as it is where
 * it says nothing. The caller wipes it. */
enum hf_rc access_password(const struct access *access, const struct proxy_host *host,
                           struct sv database, struct sv user, struct secret *password,
                           struct hf_err *err) HF_MUST_USE;

struct access *access_hold(struct access *access);
void access_drop(struct access *access);

#endif
