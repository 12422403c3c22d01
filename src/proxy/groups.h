/*
 * Groups of clients, as the configuration has them: who is meant, and what they may take together.
 *
 *     groups:
 *       reports:
 *         application_name: "report*, metabase"
 *         concurrency_max: 4
 *         weight: 50
 *       everybody:
 *         per: role                  each role is a group of its own
 *         clients_max: 200
 *         rate: 500
 *
 * A client is in each group whose role, database, application_name and address all fit; what is not
 * said fits everybody. The limits of all its groups hold. Its weight is the one of the first of
 * them, by name, that has one.
 *
 * Plain data and what it means; the counting is in limits.h.
 */
#ifndef HF_PROXY_GROUPS_H
#define HF_PROXY_GROUPS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sv.h"
#include "net/address.h"

#define GROUPS_MAX            64
#define GROUPS_NAME_SIZE      64  /* as PROXY_NAME_SIZE */
#define GROUPS_PATTERN_SIZE   256 /* the text of a list of patterns */
#define GROUPS_ADDRESSES_MAX  8
#define GROUPS_WEIGHT_DEFAULT 100 /* of whoever is in no group that has a weight */

/* Who counts together. */
enum group_per {
    GROUP_PER_GROUP, /* all that are meant */
    GROUP_PER_ROLE,  /* those of one role; and so on */
    GROUP_PER_DATABASE,
    GROUP_PER_APPLICATION_NAME,
    GROUP_PER_ADDRESS, /* one IP address; of IPv6 the first 64 bits */
};

struct group {
    char name[GROUPS_NAME_SIZE];
    char role[GROUPS_PATTERN_SIZE]; /* patterns, separated by commas; "": everybody */
    char database[GROUPS_PATTERN_SIZE];
    char application_name[GROUPS_PATTERN_SIZE];
    char address[GROUPS_PATTERN_SIZE];
    enum group_per per;
    int64_t clients_max;                         /* 0: no limit, here and below */
    int64_t concurrency_max;                     /* server connections in use */
    int64_t queue_max;                           /* clients that wait because of that; 0: nobody */
    int64_t queue_wait_ns;                       /* how long they wait, for that and for the rate */
    int64_t rate;                                /* transactions that begin in a second */
    int64_t rate_burst;                          /* at once, after a quiet time */
    int64_t weight;                              /* 0: it has none */
    struct cidr addresses[GROUPS_ADDRESSES_MAX]; /* from address, by group_finish() */
    uint32_t address_count;
};

/* Parses what is said of addresses. `*key`: the setting that is wrong; static. */
enum hf_rc group_finish(struct group *group, const char **key, struct hf_err *err) HF_MUST_USE;

/* False: it says nothing about anybody. */
bool group_limits(const struct group *group);

/* A client, as groups see it. */
struct group_member {
    struct sv role;
    struct sv database;
    struct sv application_name;
    const struct peer *peer;
};

bool group_has(const struct group *group, const struct group_member *member);

/* A name in a list of patterns, where * stands for any characters, also none, and ? for one. */
bool group_fits(const char *patterns, struct sv name);

#endif
