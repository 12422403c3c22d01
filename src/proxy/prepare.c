#include "proxy/prepare.h"

#include "proxy/client.h"
#include "proxy/pool.h"
#include "proxy/server.h"
#include "proxy/worker.h"

enum relay_step prepare_from_client(struct client *client, struct relay_run *run,
                                    const struct frame_part *part)
{
    struct message_target target = {.kind = 'S'};
    (void)run;
    if (part->type == 'D' && message_target(message_of(part), &target) == MESSAGE_MORE)
        return RELAY_STOP;
    return relay_send_plain(client, part, target.kind);
}

bool prepare_from_server(struct server *server, struct relay_run *run,
                         const struct frame_part *part, const struct replies_verdict *verdict)
{
    (void)server;
    (void)run;
    (void)part;
    (void)verdict;
    return false;
}
void prepare_dropped(struct server *server, const struct replies_dropped *dropped)
{
    (void)server;
    (void)dropped;
}
void prepare_answer(struct server *server, const struct replies_request *local)
{
    (void)server;
    (void)local;
}
void prepare_synced(struct server *server)
{
    (void)server;
}
void prepare_begin(struct server *server)
{
    (void)server;
}
void prepare_detached(struct server *server, struct client *client)
{
    (void)server;
    (void)client;
}
void prepare_reset(struct server *server)
{
    (void)server;
}
void prepare_lost(struct server *server)
{
    (void)server;
}
void prepare_end(struct client *client)
{
    (void)client;
}
