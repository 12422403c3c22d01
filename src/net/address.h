/*
 * Where a socket is: an address of TCP (IPv4, IPv6) or of a unix socket, as the system calls take
 * it; and what of it is kept and compared.
 *
 *     struct address   116 bytes; for connect(), accept(), bind(); printed into logs
 *     struct peer      20 bytes; who a client is, kept for as long as it is connected
 *     struct cidr      which peers a rule means: pg_hba.conf's `address` and `mask`
 *
 * Names are not looked up here (net/resolve.h does): a host is a directory (begins with / or, in
 * Linux' abstract name space, with @), a literal, or a name:
 *
 *     if (address_host_is_unix(host))
 *         rc = address_unix(&address, host, port, err);
 *     else if (!address_literal(&address, host, port))
 *         ask the resolver
 *
 * An IPv4 address that comes mapped into IPv6 (::ffff:192.0.2.1, from a socket that serves both) is
 * IPv4 as a peer, so that rules for it fit, however the socket was opened.
 *
 * An address of zero bytes is none: address_is_set() is false. Plain values; any thread.
 */
#ifndef HF_NET_ADDRESS_H
#define HF_NET_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/sv.h"

struct address {
    socklen_t size; /* of what is used of `sa`; 0: no address */
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un path;
    } sa;
};

/* "[ffff:...:ffff%4294967295]:65535" or a path, and its zero byte. */
#define ADDRESS_TEXT_SIZE 112

/* ---- making ---- */

/* The host is a directory for unix sockets, or an abstract one. */
bool address_host_is_unix(struct sv host);

/* DIRECTORY/.s.PGSQL.PORT, as libpq and PostgreSQL name it. Fails when that is too long for the
 * kernel, or holds a zero byte. */
enum hf_rc address_unix(struct address *address, struct sv directory, uint16_t port,
                        struct hf_err *err) HF_MUST_USE;

/* From "192.0.2.1", "2001:db8::1", "fe80::1%eth0"; false: not a literal, so perhaps a name. */
bool address_literal(struct address *address, struct sv host, uint16_t port);

/* Every address of this machine, to listen on. */
void address_any_v4(struct address *address, uint16_t port);
void address_any_v6(struct address *address, uint16_t port);

/* From the kernel, as accept() and getpeername() fill it. A family that is not known, or a size
 * that does not fit it, gives no address. */
void address_from_sockaddr(struct address *address, const struct sockaddr *sa, socklen_t size);

/* ---- asking ---- */

static inline bool address_is_set(const struct address *address)
{
    return address->size > 0;
}

static inline const struct sockaddr *address_sockaddr(const struct address *address)
{
    return &address->sa.any;
}

/* AF_INET, AF_INET6, AF_UNIX; AF_UNSPEC if there is none. */
static inline int address_family(const struct address *address)
{
    return address_is_set(address) ? (int)address->sa.any.sa_family : AF_UNSPEC;
}

static inline bool address_is_unix(const struct address *address)
{
    return address_family(address) == AF_UNIX;
}

/* 0 for a unix socket. */
uint16_t address_port(const struct address *address);
void address_set_port(struct address *address, uint16_t port);

/* The same socket: family, IP address, port and scope, or path. */
bool address_eq(const struct address *a, const struct address *b);

/* For a log: "192.0.2.1:5432", "[::1]:5432", "/run/postgresql/.s.PGSQL.5432", "@/name", "unix" for
 * a socket without a name (a client's), "none". Bytes that cannot be printed come as '?'. Returns
 * out. */
char *address_text(const struct address *address, char out[ADDRESS_TEXT_SIZE]);

/* ---- peers ---- */

/* Long-lived and many, so it is small: what is left of an address once it is connected. */
struct peer {
    uint8_t family; /* AF_INET, AF_INET6, AF_UNIX; AF_UNSPEC if nothing is known */
    uint8_t unused;
    uint16_t port;
    uint8_t ip[16]; /* IPv4 in the first four; what is not used is zero */
};

_Static_assert(sizeof(struct peer) <= 20, "a client keeps a peer for its whole life");

/* An IPv6 address in full and its zero byte. */
#define PEER_TEXT_SIZE INET6_ADDRSTRLEN

struct peer peer_from_address(const struct address *address);

/* The IP alone, as SHOW and PostgreSQL's texts have it: "192.0.2.1", "::1", "unix". Returns out. */
char *peer_text(const struct peer *peer, char out[PEER_TEXT_SIZE]);

/* What limits for each source are counted by: without its port, and of IPv6 the first 64 bits, as
 * whoever has one address of a network has them all. */
struct peer peer_source(const struct peer *peer);

bool peer_eq(const struct peer *a, const struct peer *b);
uint64_t peer_hash(const struct hash_key *key, const struct peer *peer);

/* ---- rules about peers ---- */

enum cidr_kind {
    CIDR_NONE = 0, /* fits nobody */
    CIDR_ALL,      /* every peer that came by TCP */
    CIDR_NETWORK,
    CIDR_SAMEHOST, /* an address of this machine */
    CIDR_SAMENET,  /* of a network that this machine is in */
};

struct cidr {
    uint8_t kind;   /* enum cidr_kind */
    uint8_t family; /* of a network */
    uint8_t ip[16];
    uint8_t mask[16];
};

/* Reads what pg_hba.conf has: `address` is "all", "samehost", "samenet", "192.0.2.0/24", or an
 * address with `mask` (else empty) beside it. Host names are refused: a rule that asks the DNS who
 * a client is trusts whoever answers. */
enum hf_rc cidr_parse(struct cidr *cidr, struct sv address, struct sv mask,
                      struct hf_err *err) HF_MUST_USE;

/* The rule means this peer; never one of a unix socket. SAMEHOST and SAMENET ask the kernel for its
 * interfaces each time, as those come and go: some 50 us, for logins. */
bool cidr_match(const struct cidr *cidr, const struct peer *peer);

#endif
