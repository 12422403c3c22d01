/*
 * Who may come in, and how they must prove who they are: rules in pg_hba.conf's own format and
 * order. The first rule that fits a connection decides; where none fits, nobody comes in.
 *
 *     # TYPE     DATABASE      USER      ADDRESS          METHOD
 *     local      all           all                        scram-sha-256
 *     hostssl    app,app_test  "Bob",eve 192.0.2.0/24     scram-sha-256
 *     host       all           all       samenet          reject
 *
 * What is understood, and what is not:
 *
 *     types       local host hostssl hostnossl; hostnogssenc is host, as GSS is never spoken here
 *     databases   names, all, sameuser, replication (physical replication, which all does not mean)
 *     users       names, all
 *     addresses   all, samehost, samenet, 192.0.2.0/24, an address and a mask; no host names
 *     methods     trust reject password md5 scram-sha-256 cert (in hostssl) peer (in local)
 *     options     map=NAME (of cert, peer, clientcert=verify-full; see ident.h), and in hostssl
 *                 clientcert=verify-ca or verify-full, and clientname=CN or DN
 *
 * A word in quotes is a name and no keyword. Lists are separated by commas, # begins a comment, a
 * backslash at the end continues a line. Everything else that PostgreSQL knows (group names with +,
 * files with @, regular expressions with /, include, samerole, other methods and options) is
 * refused with its line: a rule that was skipped or read in another sense would let in the wrong
 * ones.
 *
 * Rules are immutable; any thread may match.
 */
#ifndef HF_PROXY_HBA_H
#define HF_PROXY_HBA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sv.h"
#include "net/address.h"
#include "os/mem.h"
#include "proxy/proxy_config.h"

#define HBA_RULES_MAX 10000
#define HBA_TEXT_MAX  ((size_t)1 << 20) /* bytes of a file */

struct hba;

/* A connection that wants in. */
struct hba_request {
    const struct peer *peer; /* AF_UNIX: only `local` rules fit */
    bool is_tls;
    bool is_replication; /* physical: replication=true, not replication=database */
    struct sv database;
    struct sv user;
};

/* What a rule demands of a client's certificate beside its method. */
enum hba_clientcert {
    HBA_CLIENTCERT_NO,
    HBA_CLIENTCERT_CA,   /* an authority has signed it */
    HBA_CLIENTCERT_FULL, /* and its name may be the user */
};

struct hba_rule {
    uint32_t line; /* of the file, for the log */
    enum proxy_auth method;
    enum hba_clientcert clientcert;
    bool is_by_subject; /* the whole subject is the certificate's name, not its common name */
    struct sv map;      /* of ident.h; empty: none */
};

/* Reads rules. The message of a failure begins with "line N: ". A text without any rule is a
 * failure too, as nobody could come in. */
enum hf_rc hba_new(struct hba **hba, struct sv text, struct mem *mem,
                   struct hf_err *err) HF_MUST_USE;

/* The rule that decides; NULL: none fits. It lives as long as the rules do. */
const struct hba_rule *hba_match(const struct hba *hba, const struct hba_request *request);

/* How many rules there are; and one of them, for what is to be true of each. */
uint32_t hba_count(const struct hba *hba);
const struct hba_rule *hba_at(const struct hba *hba, uint32_t index);

/* NULL is allowed. */
void hba_free(struct hba *hba);

#endif
