#include "proxy/admin_gather.h"

#include <string.h>

#include "proxy/admin.h"
#include "proxy/client.h"
#include "proxy/worker.h"
#include "wire/build.h"

#define TEXT_MAX  ((size_t)4 << 20) /* far more than a chunk and its last row */
#define VALUE_MAX 1024              /* of a cell; the rest of it is cut off */

/* ---- rows ---- */

static bool make_room(struct gather *gather, struct mem *mem, size_t room)
{
    struct buffer *text = &gather->text;
    if (text->block != NULL && buffer_free(text) >= room)
        return true;
    size_t held = text->block != NULL ? buffer_held(text) : 0;
    size_t size = held + room > GATHER_CHUNK ? 2 * (held + room) : GATHER_CHUNK + room;
    char *block = size <= TEXT_MAX ? mem_alloc(mem, size) : NULL;
    if (block == NULL) {
        gather->is_cut = true;
        return false;
    }
    if (held > 0)
        memcpy(block, buffer_view(text).data, held);
    mem_free(mem, text->block);
    buffer_init(text, block, size);
    text->end = held;
    return true;
}

void gather_row(struct gather *gather, struct mem *mem, const char *const *values, size_t count)
{
    size_t room = 16;
    for (size_t i = 0; i < count; i++)
        room += 4 + (values[i] != NULL ? strnlen(values[i], VALUE_MAX) : 0);
    if (!make_room(gather, mem, room))
        return;
    struct build row = build_begin(&gather->text, 'D');
    build_u16(&row, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        struct sv value = sv_take(sv_from_cstr(values[i] != NULL ? values[i] : ""), VALUE_MAX);
        build_u32(&row, values[i] != NULL ? (uint32_t)value.size : UINT32_MAX);
        build_bytes(&row, value);
    }
    if (build_end(&row) != HF_OK)
        gather->is_cut = true;
}

/* ---- the way ---- */

static void post(struct worker *to, struct gather *gather, enum worker_message kind)
{
    gather->message.kind = kind;
    loop_post(to->loop, &gather->message);
}

struct gather *gather_new(struct client *client)
{
    struct gather *gather = mem_alloc(client->worker->proxy->mem, sizeof *gather);
    if (gather == NULL)
        return NULL;
    gather->asker = client->worker;
    gather->client_pid = worker_pid(client);
    gather->client_sequence = client->sequence;
    return gather;
}

void gather_begin(struct gather *gather)
{
    struct proxy *proxy = gather->asker->proxy;
    if (gather->visit == NULL)
        gather->next = proxy->worker_count;
    gather_go_on(gather);
}

void gather_go_on(struct gather *gather)
{
    struct proxy *proxy = gather->asker->proxy;
    if (gather->next < proxy->worker_count)
        post(&proxy->workers[gather->next], gather, WORKER_GATHER);
    else
        post(gather->asker, gather, WORKER_GATHERED);
}

void gather_visit(struct worker *worker, struct gather *gather)
{
    if (gather->visit(gather, worker)) {
        gather->next++;
        gather->cursor = 0;
    }
    if (gather_is_full(gather))
        post(gather->asker, gather, WORKER_GATHERED);
    else
        gather_go_on(gather);
}

void gather_back(struct worker *worker, struct gather *gather)
{
    struct client *client = worker_client(worker, gather->client_pid);
    bool is_there = client != NULL && client->sequence == gather->client_sequence &&
                    client->state == CLIENT_ADMIN;
    if (!is_there) {
        gather_free(gather, worker->proxy->mem);
        return;
    }
    if (gather->next == worker->proxy->worker_count && !gather_is_full(gather))
        gather->is_over = gather->finish == NULL || gather->finish(gather, worker);
    admin_gathered(client, gather);
}

void gather_free(struct gather *gather, struct mem *mem)
{
    mem_free(mem, gather->text.block);
    mem_free(mem, gather->state);
    mem_free(mem, gather);
}
