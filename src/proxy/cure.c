#include "proxy/cure.h"

#include <string.h>

#include "proxy/client.h"
#include "proxy/pool.h"
#include "proxy/prepare.h"
#include "proxy/server.h"
#include "proxy/worker.h"
#include "wire/message.h"

enum cure_state {
    CURE_NOTHING, /* is kept */
    CURE_OPEN,    /* up to the Sync, which is still to come */
    CURE_WHOLE,
};

struct cure {
    size_t size;
    size_t size_before; /* the last message */
    enum cure_state state;
    enum cure_state state_before;
    bool is_shown;
    char bytes[CURE_MAX];
};

static void keep(struct cure *cure, const struct frame_part *part)
{
    if (!part->is_last || part->bytes.size > CURE_MAX - cure->size) {
        cure->state = CURE_NOTHING;
        return;
    }
    memcpy(cure->bytes + cure->size, part->bytes.data, part->bytes.size);
    cure->size += part->bytes.size;
    cure->state = part->type == 'S' ? CURE_WHOLE : CURE_OPEN;
}

/* A pipeline begins here that may be sent twice: nothing is open, and nothing owed. */
static bool may_begin(const struct server *server, const struct frame_part *part)
{
    return part->type == 'B' && server->prepared != NULL && replies_is_clean(&server->replies);
}

void cure_note(struct client *client, const struct frame_part *part)
{
    struct server *server = client->server;
    struct cure *cure = server->cure;
    if (cure == NULL) {
        if (!may_begin(server, part))
            return;
        cure = mem_alloc(client->worker->proxy->mem, sizeof *cure); /* once for a connection */
        if (cure == NULL)
            return;
        server->cure = cure;
    }
    cure->size_before = cure->size;
    cure->state_before = cure->state;
    if (cure->state == CURE_OPEN && part->type != 'Q' && part->type != 'F') {
        keep(cure, part);
        return;
    }
    cure->state = CURE_NOTHING;
    if (!may_begin(server, part))
        return;
    cure->size = 0;
    cure->is_shown = false;
    keep(cure, part);
}

void cure_unnote(struct server *server)
{
    struct cure *cure = server->cure;
    if (cure == NULL)
        return;
    cure->size = cure->size_before;
    cure->state = cure->state_before;
}

void cure_shown(struct server *server)
{
    if (server->cure != NULL)
        server->cure->is_shown = true;
}

bool cure_begin(struct server *server, const struct replies_verdict *verdict)
{
    const struct cure *cure = server->cure;
    if (cure == NULL || cure->state != CURE_WHOLE || cure->is_shown || server->client == NULL ||
        verdict->kind != REPLIES_BIND)
        return false;
    server->is_curing = true;
    return true;
}

bool cure_replay(struct server *server)
{
    struct cure *cure = server->cure;
    struct client *client = server->client;
    struct sv rest = sv_from(cure->bytes, cure->size);
    struct frame frame;
    struct frame_part part;
    server->is_curing = false;
    cure->state = CURE_NOTHING;
    frame_init(&frame, FRAME_FRONTEND, FRAME_SESSION);
    while (frame_look(&frame, rest, &part) == FRAME_PART) {
        if (!prepare_again(client, &part)) {
            struct hf_err err;
            err_set(&err, HF_RC_LIMIT, "53200", "out of memory for a prepared statement");
            client_fail(client, &err);
            return false;
        }
        frame_take(&frame, part.bytes.size);
        rest = sv_drop(rest, part.bytes.size);
    }
    return true;
}

void cure_end(struct server *server)
{
    mem_free(server->part->worker->proxy->mem, server->cure);
    server->cure = NULL;
}
