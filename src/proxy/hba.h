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
 *     methods     trust reject password md5 scram-sha-256 cert (in hostssl)
 *
 * A word in quotes is a name and no keyword. Lists are separated by commas, # begins a comment, a
 * backslash at the end continues a line. Everything else that PostgreSQL knows (group names with +,
 * files with @, regular expressions with /, include, samerole, other methods, options) is refused
 * with its line: a rule that was skipped or read in another sense would let in the wrong ones.
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

struct hba_rule {
    uint32_t line; /* of the file, for the log */
    enum proxy_auth method;
};

/* Reads rules. The message of a failure begins with "line N: ". A text without any rule is a
 * failure too, as nobody could come in. */
enum hf_rc hba_new(struct hba **hba, struct sv text, struct mem *mem,
                   struct hf_err *err) HF_MUST_USE;

/* The rule that decides; NULL: none fits. It lives as long as the rules do. */
const struct hba_rule *hba_match(const struct hba *hba, const struct hba_request *request);

/* How many rules there are; for the log. */
uint32_t hba_count(const struct hba *hba);

/* NULL is allowed. */
void hba_free(struct hba *hba);

#endif
