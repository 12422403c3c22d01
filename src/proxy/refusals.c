#include "proxy/refusals.h"

#include <string.h>

#include "proxy/client.h"
#include "proxy/worker.h"

/* Read by tools/refusals.py as well. */
static const struct {
    const char *sqlstate;
    const char *hint;
} hints[] = {
    {"08001",
     "Look whether the server runs and can be reached from the proxy; SHOW SERVERS and the "
     "proxy's log say more."},
    {"08004", "Look into the server's log for the reason."},
    {"08006",
     "The connection was lost, not the data: connect again; look into the logs of proxy and "
     "server for the reason."},
    {"08P01", "What came is no PostgreSQL protocol as it is known here: look at the version of the "
              "driver, and whether this is the right port."},
    {"0A000", "Do without it, or use a driver or method that the proxy knows."},
    {"22021",
     "Look at the user's name and database, and at what application_name and options have."},
    {"28000", "Look at the user's name and database, and at auth_hba_file and auth_type."},
    {"28P01", "Look at the user's name and password, and whether auth_file, roles or auth_query "
              "know the user."},
    {"3D000", "SHOW DATABASES on the console lists those that are known; add it to databases and "
              "reload."},
    {"42P05", "Give it another name, or close the one that has this name first."},
    {"42601", "Write settings of options as -c name=value."},
    {"53000", "Look at the limits of the system that the proxy runs on."},
    {"53200", "The proxy's memory is used up: raise proxy.memory or limits.prepared_memory, or let "
              "fewer clients in."},
    {"53300", "Close connections that are not needed, or raise the limit and reload."},
    {"53400", "Do with less of it, or raise the limit."},
    {"54000", "Send less at once, or raise the limit."},
    {"57014", "Send it again, if it was not meant to be cancelled."},
    {"57P01", "Connect again: another instance, or this one after its restart, is there."},
    {"57P03", "Try again in a moment."},
};

/* What can be done about an SQLSTATE of ours; NULL: nothing that is true of all of them. */
static const char *refusal_hint(const char *sqlstate)
{
    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++)
        if (strcmp(hints[i].sqlstate, sqlstate) == 0)
            return hints[i].hint;
    return NULL;
}

struct hf_err refusal_of(const struct client *client, const struct hf_err *err)
{
    char address[PEER_TEXT_SIZE];
    struct hf_err told = *err;
    int64_t age_ns = worker_now(client->worker) - client->connected_ns;
    const char *hint = refusal_hint(err->sqlstate);
    if (told.detail[0] == '\0')
        err_detail(&told, "Client %s, port %u, number %u, connected for %lld ms.",
                   peer_text(&client->peer, address), client->peer.port, client->pid,
                   (long long)(age_ns / HF_MS(1)));
    if (told.hint[0] == '\0' && hint != NULL)
        err_hint(&told, "%s", hint);
    return told;
}
