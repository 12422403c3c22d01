#include "proxy/relay_run.h"

#include "base/bug.h"
#include "proxy/relay.h"

bool relay_run_fit(struct relay_run *run)
{
    size_t room = run->to != NULL ? stream_room(run->loop, run->to) : SIZE_MAX;
    size_t most = room > RELAY_RESERVE ? room - RELAY_RESERVE : 0;
    hf_assert(run->size == 0);
    if (run->view.size > most) {
        run->is_cut = true;
        run->view = sv_take(run->view, most);
    }
    return run->view.size > 0;
}

bool relay_run_begin(struct relay_run *run, struct loop *loop, struct stream *from,
                     struct stream *to)
{
    *run = (struct relay_run){.loop = loop, .from = from, .to = to, .view = stream_view(from)};
    bool has_any = relay_run_fit(run);
    run->offered = run->view.size;
    return has_any;
}

bool relay_run_end(struct relay_run *run)
{
    relay_run_put(run);
    if (!run->is_cut || stream_out(run->loop, run->to, LOOP_BLOCK_SIZE) == NULL)
        return false;
    return run->taken > 0 || LOOP_BLOCK_SIZE - RELAY_RESERVE > run->offered;
}

void relay_run_put(struct relay_run *run)
{
    if (run->size == 0)
        return;
    if (run->to != NULL) {
        size_t sent = stream_send(run->loop, run->to, sv_take(run->view, run->size));
        hf_assert(sent == run->size);
    }
    stream_consume(run->loop, run->from, run->size);
    run->view = sv_drop(run->view, run->size);
    run->taken += run->size;
    run->size = 0;
}

void relay_run_drop(struct relay_run *run, size_t size)
{
    hf_assert(run->size == 0);
    stream_consume(run->loop, run->from, size);
    run->view = sv_drop(run->view, size);
    run->taken += size;
}
