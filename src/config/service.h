/*
 * Connection service files of libpq (pg_service.conf): servers by a name that an administrator has
 * given them.
 *
 *     # a comment
 *     [app]
 *     host=db1,db2
 *     port=5432
 *     dbname=app
 *     user=app
 *
 * A database that names a service takes from it what does not stand in the database itself: hosts
 * (with hostaddr in place of host, as libpq connects), dbname, user, password and sslmode. Where a
 * setting of libpq is of no use here (application_name, connect_timeout ...) it is passed over; one
 * that would change which server is entered, or how, and that a database cannot have, is refused.
 *
 * Looked for as libpq does: in PGSERVICEFILE, or else in ~/.pg_service.conf and then in
 * pg_service.conf in PGSYSCONFDIR.
 */
#ifndef HF_CONFIG_SERVICE_H
#define HF_CONFIG_SERVICE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/sv.h"
#include "proxy/proxy_config.h"

#define SERVICE_SIZE_MAX ((size_t)1 << 18)

/* What a service says; empty where it says nothing. */
struct service {
    char host[PROXY_LIST_SIZE];
    char hostaddr[PROXY_LIST_SIZE];
    char port[PROXY_LIST_SIZE];
    char dbname[PROXY_NAME_SIZE];
    char user[PROXY_NAME_SIZE];
    char sslmode[16];
    struct secret password;
};

/* Looks in a text. HF_RC_MISSING: there is no such service. The caller wipes it. Errors name the
 * line and never quote it. */
enum hf_rc service_search(struct sv text, struct sv name, struct service *service,
                          struct hf_err *err) HF_MUST_USE;

/* Finds the service that the database names, and gives the database what it lacks. `has_sslmode`:
 * that of the database is its own. */
enum hf_rc service_apply(struct proxy_database *database, bool has_sslmode,
                         struct hf_err *err) HF_MUST_USE;

void service_wipe(struct service *service);

#endif
