/*
 * A configuration from nothing but a connection string, as libpq reads it:
 *
 *     holdfast proxy 'postgresql://app@db1:5432,db2:5432/?sslmode=require&pool_mode=transaction'
 *     holdfast proxy 'host=/run/postgresql user=app pool_size=5'
 *
 * Everything behind the servers is proxied: the database "*", with the hosts of the string. Beside
 * libpq's own parameters (host, hostaddr, port, user, password, passfile, dbname, sslmode, sslcert,
 * sslkey, sslrootcert, target_session_attrs, connect_timeout) the string may hold any setting of
 * the sections proxy and pools, but port. Other parameters of libpq are refused: a client gives
 * them itself.
 *
 * Who may come in. A proxy that stands in front of a server must not be an easier way in:
 *
 *   - With a password (in the string, PGPASSWORD, or the passfile) clients log in as that user,
 *     with that password, by SCRAM. An application changes host and port in its URL, nothing else.
 *   - Without one, the servers let this machine in as they find right (trust), and so does the
 *     proxy, for clients of this machine: it listens on loopback only. A user in the string is who
 *     servers are entered as, whoever the client says it is; without one each client is who it
 *     says.
 *   - Without one but with a unix socket or a client certificate, the servers let in *this
 *     process*, and trust would lend its identity to everybody on the machine. That is refused,
 *     unless the string says auth_type=trust in so many words.
 *   - With auth_file or auth_hba_file those say who may come in. User and password of the string,
 *     if it has both, are who servers are entered as.
 *
 * A password in the string is seen by whoever can list processes; connstr_hide() is for that.
 */
#ifndef HF_CONFIG_CONFIG_URL_H
#define HF_CONFIG_CONFIG_URL_H

#include "base/err.h"
#include "os/mem.h"
#include "proxy/proxy_config.h"

/* Errors never quote the string. Environment and passfile are read as libpq does. */
enum hf_rc config_from_url(struct proxy_config **config, const char *text, struct mem *mem,
                           struct hf_err *err) HF_MUST_USE;

#endif
