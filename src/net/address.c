#include "net/address.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#define PATH_OFFSET offsetof(struct sockaddr_un, sun_path)
#define PATH_SIZE   (sizeof((struct sockaddr_un *)0)->sun_path)

#define V4_SIZE 4
#define V6_SIZE 16

/* The 64 bits of an IPv6 address that its network has; the rest is the host's to choose. */
#define V6_NETWORK_SIZE 8

/* ---- making ---- */

bool address_host_is_unix(struct sv host)
{
    return host.size > 0 && (host.data[0] == '/' || host.data[0] == '@');
}

enum hf_rc address_unix(struct address *address, struct sv directory, uint16_t port,
                        struct hf_err *err)
{
    memset(address, 0, sizeof *address);
    char path[PATH_SIZE];
    int size = -1;
    if (directory.size < sizeof path && memchr(directory.data, '\0', directory.size) == NULL)
        size = snprintf(path, sizeof path, "%.*s/.s.PGSQL.%u", (int)directory.size, directory.data,
                        (unsigned)port);
    if (size < 0 || (size_t)size >= sizeof path) {
        err_set(err, HF_RC_INVALID, "22023",
                "cannot use \"" SV_FMT "\" as a directory of unix sockets", SV_ARG(directory));
        err_detail(err,
                   "The path of the socket in it would hold a zero byte or be longer than %zu"
                   " bytes, all that the system takes.",
                   sizeof path - 1);
        return err_hint(err, "Use a directory with a shorter path, or a link to it.");
    }
    struct sockaddr_un *un = &address->sa.path;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, (size_t)size);
    address->size = (socklen_t)(PATH_OFFSET + (size_t)size + 1);
    /* In the abstract name space a name begins with a zero byte and ends where the size says. */
    if (path[0] == '@') {
        un->sun_path[0] = '\0';
        address->size--;
    }
    return HF_OK;
}

/* The part of a literal behind '%': the interface of a link-local address, by name or number. */
static bool scope_parse(struct sv scope, uint32_t *id)
{
    int64_t number;
    char name[IF_NAMESIZE];
    if (sv_to_int(scope, 1, UINT32_MAX, &number) == SV_NUMBER_OK)
        *id = (uint32_t)number;
    else
        *id = sv_copy(scope, name, sizeof name) ? if_nametoindex(name) : 0;
    return *id > 0;
}

bool address_literal(struct address *address, struct sv host, uint16_t port)
{
    memset(address, 0, sizeof *address);
    char text[INET6_ADDRSTRLEN];
    size_t scope_at = sv_find(host, '%');
    if (!sv_copy(sv_take(host, scope_at), text, sizeof text))
        return false;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (scope_at == host.size && inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        address->sa.v4 = v4;
        address->size = sizeof v4;
        return true;
    }
    if (inet_pton(AF_INET6, text, &v6.sin6_addr) != 1)
        return false;
    if (scope_at < host.size && !scope_parse(sv_drop(host, scope_at + 1), &v6.sin6_scope_id))
        return false;
    address->sa.v6 = v6;
    address->size = sizeof v6;
    return true;
}

void address_any_v4(struct address *address, uint16_t port)
{
    memset(address, 0, sizeof *address);
    address->sa.v4.sin_family = AF_INET;
    address->sa.v4.sin_port = htons(port);
    address->size = sizeof address->sa.v4;
}

void address_any_v6(struct address *address, uint16_t port)
{
    memset(address, 0, sizeof *address);
    address->sa.v6.sin6_family = AF_INET6;
    address->sa.v6.sin6_port = htons(port);
    address->size = sizeof address->sa.v6;
}

void address_from_sockaddr(struct address *address, const struct sockaddr *sa, socklen_t size)
{
    memset(address, 0, sizeof *address);
    if (size < sizeof sa->sa_family)
        return;
    socklen_t used = 0;
    switch (sa->sa_family) {
    case AF_INET:
        used = size >= sizeof address->sa.v4 ? sizeof address->sa.v4 : 0;
        break;
    case AF_INET6:
        used = size >= sizeof address->sa.v6 ? sizeof address->sa.v6 : 0;
        break;
    case AF_UNIX:
        used = size <= sizeof address->sa.path ? size : 0;
        break;
    default:
        break;
    }
    memcpy(&address->sa, sa, used);
    address->size = used;
}

/* ---- asking ---- */

uint16_t address_port(const struct address *address)
{
    switch (address_family(address)) {
    case AF_INET:
        return ntohs(address->sa.v4.sin_port);
    case AF_INET6:
        return ntohs(address->sa.v6.sin6_port);
    default:
        return 0;
    }
}

void address_set_port(struct address *address, uint16_t port)
{
    if (address_family(address) == AF_INET)
        address->sa.v4.sin_port = htons(port);
    else if (address_family(address) == AF_INET6)
        address->sa.v6.sin6_port = htons(port);
}

/* The name of a unix socket: up to its zero byte if it is a path, all that is left if it is
 * abstract. Empty for a socket that was bound to nothing. */
static struct sv path_of(const struct address *address)
{
    const char *path = address->sa.path.sun_path;
    size_t size = address->size - PATH_OFFSET;
    return sv_from(path, size > 0 && path[0] != '\0' ? strnlen(path, size) : size);
}

bool address_eq(const struct address *a, const struct address *b)
{
    int family = address_family(a);
    if (family != address_family(b) || address_port(a) != address_port(b))
        return false;
    switch (family) {
    case AF_INET:
        return a->sa.v4.sin_addr.s_addr == b->sa.v4.sin_addr.s_addr;
    case AF_INET6:
        return memcmp(&a->sa.v6.sin6_addr, &b->sa.v6.sin6_addr, V6_SIZE) == 0 &&
               a->sa.v6.sin6_scope_id == b->sa.v6.sin6_scope_id;
    case AF_UNIX:
        return sv_eq(path_of(a), path_of(b));
    default:
        return true;
    }
}

static void text_of_path(const struct address *address, char out[ADDRESS_TEXT_SIZE])
{
    struct sv path = path_of(address);
    if (path.size == 0) {
        memcpy(out, "unix", sizeof "unix");
        return;
    }
    for (size_t i = 0; i < path.size; i++) {
        char c = path.data[i];
        out[i] = c >= ' ' && c <= '~' ? c : '?';
    }
    if (path.data[0] == '\0')
        out[0] = '@';
    out[path.size] = '\0';
}

_Static_assert(PATH_SIZE + 1 <= ADDRESS_TEXT_SIZE, "the longest path fits");

char *address_text(const struct address *address, char out[ADDRESS_TEXT_SIZE])
{
    char ip[INET6_ADDRSTRLEN];
    unsigned port = address_port(address);
    uint32_t scope;
    switch (address_family(address)) {
    case AF_INET:
        inet_ntop(AF_INET, &address->sa.v4.sin_addr, ip, sizeof ip);
        snprintf(out, ADDRESS_TEXT_SIZE, "%s:%u", ip, port);
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &address->sa.v6.sin6_addr, ip, sizeof ip);
        scope = address->sa.v6.sin6_scope_id;
        if (scope > 0)
            snprintf(out, ADDRESS_TEXT_SIZE, "[%s%%%u]:%u", ip, (unsigned)scope, port);
        else
            snprintf(out, ADDRESS_TEXT_SIZE, "[%s]:%u", ip, port);
        break;
    case AF_UNIX:
        text_of_path(address, out);
        break;
    default:
        memcpy(out, "none", sizeof "none");
        break;
    }
    return out;
}

/* ---- peers ---- */

struct peer peer_from_address(const struct address *address)
{
    struct peer peer = {.family = (uint8_t)address_family(address), .port = address_port(address)};
    const struct in6_addr *v6 = &address->sa.v6.sin6_addr;
    if (peer.family == AF_INET) {
        memcpy(peer.ip, &address->sa.v4.sin_addr, V4_SIZE);
    } else if (peer.family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(v6)) {
        peer.family = AF_INET;
        memcpy(peer.ip, v6->s6_addr + V6_SIZE - V4_SIZE, V4_SIZE);
    } else if (peer.family == AF_INET6) {
        memcpy(peer.ip, v6->s6_addr, V6_SIZE);
    }
    return peer;
}

char *peer_text(const struct peer *peer, char out[PEER_TEXT_SIZE])
{
    if (peer->family == AF_INET || peer->family == AF_INET6)
        inet_ntop(peer->family, peer->ip, out, PEER_TEXT_SIZE);
    else if (peer->family == AF_UNIX)
        memcpy(out, "unix", sizeof "unix");
    else
        memcpy(out, "none", sizeof "none");
    return out;
}

struct peer peer_source(const struct peer *peer)
{
    struct peer source = *peer;
    source.port = 0;
    if (source.family == AF_INET6)
        memset(source.ip + V6_NETWORK_SIZE, 0, V6_SIZE - V6_NETWORK_SIZE);
    return source;
}

bool peer_eq(const struct peer *a, const struct peer *b)
{
    return a->family == b->family && a->port == b->port && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

uint64_t peer_hash(const struct hash_key *key, const struct peer *peer)
{
    char bytes[sizeof(struct peer)];
    memcpy(bytes, peer, sizeof bytes);
    return hash_bytes(key, sv_from(bytes, sizeof bytes));
}

/* ---- rules about peers ---- */

static size_t ip_size(int family)
{
    return family == AF_INET ? V4_SIZE : V6_SIZE;
}

/* An IP address as bytes; returns its family, or AF_UNSPEC if the text is none. */
static uint8_t ip_parse(struct sv text, uint8_t ip[V6_SIZE])
{
    char copy[INET6_ADDRSTRLEN];
    if (!sv_copy(text, copy, sizeof copy))
        return AF_UNSPEC;
    if (inet_pton(AF_INET, copy, ip) == 1)
        return AF_INET;
    return inet_pton(AF_INET6, copy, ip) == 1 ? AF_INET6 : AF_UNSPEC;
}

static void mask_from_bits(uint8_t mask[V6_SIZE], unsigned bits)
{
    memset(mask, 0, V6_SIZE);
    for (unsigned i = 0; i < bits; i++)
        mask[i / 8] |= (uint8_t)(0x80U >> (i % 8));
}

static enum hf_rc cidr_refuse(struct sv address, struct hf_err *err)
{
    err_set(err, HF_RC_INVALID, "F0000", "cannot read \"" SV_FMT "\" as an address of a rule",
            SV_ARG(address));
    return err_hint(err, "Write an address with its length (192.0.2.0/24, ::1/128), \"all\","
                         " \"samehost\" or \"samenet\"; host names are not looked up.");
}

static enum hf_rc cidr_refuse_mask(struct sv mask, struct hf_err *err)
{
    err_set(err, HF_RC_INVALID, "F0000", "cannot read \"" SV_FMT "\" as a mask of an address",
            SV_ARG(mask));
    return err_hint(err, "Behind the slash stands how many bits are compared: 0 to 32 of an IPv4"
                         " address, 0 to 128 of an IPv6 one. A mask in its own column is of the"
                         " same kind as the address, as 255.255.255.0.");
}

enum hf_rc cidr_parse(struct cidr *cidr, struct sv address, struct sv mask, struct hf_err *err)
{
    memset(cidr, 0, sizeof *cidr);
    static const struct {
        struct sv word;
        enum cidr_kind kind;
    } words[] = {
        {SV_INIT("all"), CIDR_ALL},
        {SV_INIT("samehost"), CIDR_SAMEHOST},
        {SV_INIT("samenet"), CIDR_SAMENET},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!sv_eq(address, words[i].word))
            continue;
        if (mask.size > 0)
            return cidr_refuse_mask(mask, err);
        cidr->kind = (uint8_t)words[i].kind;
        return HF_OK;
    }
    size_t slash = sv_find(address, '/');
    struct cidr network = {.kind = CIDR_NETWORK};
    network.family = ip_parse(sv_take(address, slash), network.ip);
    if (network.family == AF_UNSPEC || (slash == address.size && mask.size == 0))
        return cidr_refuse(address, err);
    if (slash == address.size) {
        if (ip_parse(mask, network.mask) != network.family)
            return cidr_refuse_mask(mask, err);
    } else {
        int64_t bits;
        struct sv text = sv_drop(address, slash + 1);
        if (mask.size > 0)
            return cidr_refuse_mask(mask, err);
        if (sv_to_int(text, 0, (int64_t)ip_size(network.family) * 8, &bits) != SV_NUMBER_OK)
            return cidr_refuse_mask(text, err);
        mask_from_bits(network.mask, (unsigned)bits);
    }
    *cidr = network;
    return HF_OK;
}

static bool ip_is_within(const uint8_t *ip, const uint8_t *network, const uint8_t *mask,
                         size_t size)
{
    uint8_t differs = 0;
    for (size_t i = 0; i < size; i++)
        differs |= (uint8_t)((ip[i] ^ network[i]) & mask[i]);
    return differs == 0;
}

/* The IP in a sockaddr of getifaddrs(), or NULL if it is of another family. */
static const uint8_t *ip_of(const struct sockaddr *sa, int family)
{
    if (sa == NULL || sa->sa_family != family)
        return NULL;
    if (family == AF_INET)
        return (const uint8_t *)&((const struct sockaddr_in *)(const void *)sa)->sin_addr;
    return (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
}

/* Whether the peer has an address of one of our interfaces, or is in the network of one. */
static bool matches_interfaces(const struct peer *peer, bool whole_network)
{
    static const uint8_t all[V6_SIZE] = {255, 255, 255, 255, 255, 255, 255, 255,
                                         255, 255, 255, 255, 255, 255, 255, 255};
    struct ifaddrs *interfaces;
    if (getifaddrs(&interfaces) != 0)
        return false;
    bool matches = false;
    for (const struct ifaddrs *i = interfaces; i != NULL && !matches; i = i->ifa_next) {
        const uint8_t *ip = ip_of(i->ifa_addr, peer->family);
        const uint8_t *mask = whole_network ? ip_of(i->ifa_netmask, peer->family) : all;
        if (ip != NULL && mask != NULL)
            matches = ip_is_within(peer->ip, ip, mask, ip_size(peer->family));
    }
    freeifaddrs(interfaces);
    return matches;
}

bool cidr_match(const struct cidr *cidr, const struct peer *peer)
{
    if (peer->family != AF_INET && peer->family != AF_INET6)
        return false;
    switch ((enum cidr_kind)cidr->kind) {
    case CIDR_NONE:
        return false;
    case CIDR_ALL:
        return true;
    case CIDR_NETWORK:
        return cidr->family == peer->family &&
               ip_is_within(peer->ip, cidr->ip, cidr->mask, ip_size(peer->family));
    case CIDR_SAMEHOST:
    case CIDR_SAMENET:
        return matches_interfaces(peer, cidr->kind == CIDR_SAMENET);
    }
    return false;
}
