/*
 * Where the database is: a connection string taken apart, by libpq itself.
 *
 * libpq knows many sources: the string, as URL or as words, service files, the environment, and its
 * own defaults. All of that is asked of it without a connection being made: a connection that is
 * begun with a wrong target_session_attrs has been through all of libpq's reading and checking when
 * it fails, and nothing has been sent or looked up. (target_session_attrs itself means nothing
 * here: roles are found by the watcher.)
 */
#ifndef HF_CLIENT_WHERE_H
#define HF_CLIENT_WHERE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "client/options.h"
#include "core/snapshot.h"

#define WHERE_HOST_BYTES 256

struct where_host {
    char host[WHERE_HOST_BYTES]; /* name, address, or folder of a unix socket */
    char hostaddr[64];           /* "": to be looked up */
    uint16_t port;
    char name[SNAPSHOT_NAME_BYTES]; /* "host:port" */
};

struct where {
    struct where_host hosts[SNAPSHOT_ENDPOINTS_MAX];
    size_t count;
    char conninfo[CLIENT_CONNINFO_SIZE]; /* all but the hosts; holds secrets */
};

enum hf_rc where_parse(struct where *where, const char *conninfo, struct hf_err *err) HF_MUST_USE;

#endif
