/*
 * The listener by which a client came in, and the rules that its section gives it: which databases
 * and users, TLS, how one proves who he is, and the pool mode. Where it says nothing, what holds
 * everywhere holds.
 *
 * They are looked up in the configuration in force each time, so a reload changes them for who
 * comes next.
 */
#ifndef HF_PROXY_DOOR_H
#define HF_PROXY_DOOR_H

#include <stdbool.h>

#include "base/err.h"
#include "proxy/hba.h"
#include "proxy/proxy_config.h"

struct client;

/* May this user come to this database from here? */
bool door_admits(const struct client *client, struct hf_err *err);

/* What is demanded of its connection: client_tls.sslmode, or what stands in its place. */
enum proxy_sslmode door_sslmode(const struct client *client);

/* The rule that decides: `rule`, or one of the listener's own. */
const struct hba_rule *door_rule(const struct client *client, const struct hba_rule *rule);

/* PROXY_ROLE_AS_DATABASE: as database and role say. */
enum proxy_role_mode door_mode(const struct client *client);

#endif
