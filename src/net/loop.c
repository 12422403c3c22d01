#include "net/loop.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/ns.h"
#include "net/loop_int.h"
#include "os/clock.h"
#include "os/sys.h"

/* How long a listener rests when there are no descriptors or no memory for what it would accept.
 * The connection stays in its backlog meanwhile; asking at once again would spin. */
#define ACCEPT_REST_NS HF_MS(100)

/* ---- lists ---- */

static void push(struct stream_list *list, struct stream *stream, struct stream **link)
{
    *link = NULL;
    if (list->head == NULL)
        list->head = stream;
    list->tail = stream;
}

/* Takes a stream out of the middle. That walks the list, which only exists while the loop has lent
 * every block it has. */
static void unmark_starved(struct loop *loop, struct stream *stream)
{
    struct stream *before = NULL;
    struct stream *at = loop->starved.head;
    while (at != stream) {
        hf_assert(at != NULL);
        before = at;
        at = at->next_dirty;
    }
    if (before != NULL)
        before->next_dirty = stream->next_dirty;
    else
        loop->starved.head = stream->next_dirty;
    if (loop->starved.tail == stream)
        loop->starved.tail = before;
    stream->flags &= ~(uint32_t)STREAM_STARVED;
}

void loop_mark_dirty(struct loop *loop, struct stream *stream)
{
    /* Whoever has nothing left but to be told of its end may be freed then. */
    if (stream->flags & (STREAM_DIRTY | STREAM_GONE | STREAM_LEFT))
        return;
    if (stream->flags & STREAM_STARVED)
        unmark_starved(loop, stream);
    stream->flags |= STREAM_DIRTY;
    if (loop->dirty.tail != NULL)
        loop->dirty.tail->next_dirty = stream;
    push(&loop->dirty, stream, &stream->next_dirty);
}

void loop_mark_news(struct loop *loop, struct stream *stream)
{
    if (stream->flags & STREAM_NEWS)
        return;
    stream->flags |= STREAM_NEWS;
    if (loop->news.tail != NULL)
        loop->news.tail->next_news = stream;
    push(&loop->news, stream, &stream->next_news);
}

void loop_mark_starved(struct loop *loop, struct stream *stream)
{
    if (stream->flags & (STREAM_DIRTY | STREAM_STARVED))
        return;
    stream->flags |= STREAM_STARVED;
    if (loop->starved.tail != NULL)
        loop->starved.tail->next_dirty = stream;
    push(&loop->starved, stream, &stream->next_dirty);
}

static struct stream *take_starved(struct loop *loop)
{
    struct stream *stream = loop->starved.head;
    loop->starved.head = stream->next_dirty;
    if (loop->starved.head == NULL)
        loop->starved.tail = NULL;
    stream->flags &= ~(uint32_t)STREAM_STARVED;
    return stream;
}

/* ---- blocks ---- */

bool loop_can_lend(const struct loop *loop, enum loop_use use)
{
    uint32_t kept = use == LOOP_FOR_RECEIVING ? loop->reserve : 0;
    return loop->pool.count - loop->pool.lent > kept;
}

struct loop_block *loop_lend(struct loop *loop, enum loop_use use)
{
    if (!loop_can_lend(loop, use))
        return NULL;
    struct loop_block *block = bufpool_lend(&loop->pool);
    buffer_init(&block->buffer, (char *)block + LOOP_BLOCK_HEAD, LOOP_BLOCK_SIZE);
    block->next = NULL;
    block->is_provided = false;
    return block;
}

void loop_return(struct loop *loop, struct loop_block *block)
{
    if (block->is_provided) {
        loop->backend->recycle(loop, block);
        return;
    }
    bufpool_return(&loop->pool, block);
    loop->has_returned = true;
}

/* ---- making ---- */

static enum hf_rc make_pool(struct loop *loop, uint32_t blocks, struct hf_err *err)
{
    size_t block_size = LOOP_BLOCK_HEAD + LOOP_BLOCK_SIZE;
    size_t size = bufpool_size(blocks, block_size) + BUFPOOL_ALIGN;
    loop->pool_memory = mem_alloc(loop->mem, size);
    if (loop->pool_memory == NULL)
        return mem_refused(loop->mem, size, err);
    size_t odd = (uintptr_t)loop->pool_memory % BUFPOOL_ALIGN;
    char *memory = (char *)loop->pool_memory + (odd == 0 ? 0 : BUFPOOL_ALIGN - odd);
    bufpool_init(&loop->pool, memory, blocks, block_size);
    loop->reserve = (blocks + 6) / 8; /* none of one, one of two */
    return HF_OK;
}

/* The wish decides which are tried. Where io_uring is only preferred, what it said is kept. */
static enum hf_rc make_backend(struct loop *loop, enum loop_io wish, struct hf_err *err)
{
    if (wish != LOOP_IO_EPOLL) {
        struct hf_err why;
        loop->backend = loop_uring();
        enum hf_rc rc = loop->backend->init(loop, &why);
        if (rc == HF_OK)
            return HF_OK;
        snprintf(loop->reason, sizeof loop->reason, "%s", why.message);
        if (wish == LOOP_IO_URING) {
            if (err != NULL)
                *err = why;
            return rc;
        }
    }
    loop->backend = loop_epoll();
    return loop->backend->init(loop, err);
}

enum hf_rc loop_new(struct loop **out, const struct loop_config *config, struct mem *mem,
                    struct hf_err *err)
{
    hf_assert(config->blocks > 0);
    *out = NULL;
    struct loop *loop = mem_alloc(mem, sizeof *loop);
    if (loop == NULL)
        return mem_refused(mem, sizeof *loop, err);
    loop->mem = mem;
    loop->now_ns = clock_now();
    loop->timer_ns = HF_NEVER;
    enum hf_rc rc = HF_OK;
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd < 0)
        rc = sys_fail(err, errno, "could not make an eventfd");
    if (rc == HF_OK)
        rc = make_pool(loop, config->blocks, err);
    if (rc == HF_OK)
        rc = make_backend(loop, config->io, err);
    if (rc != HF_OK) {
        if (loop->wake_fd >= 0)
            close(loop->wake_fd);
        mem_free(mem, loop->pool_memory);
        mem_free(mem, loop);
        return rc;
    }
    *out = loop;
    return HF_OK;
}

void loop_free(struct loop *loop)
{
    if (loop == NULL)
        return;
    hf_assert(loop->streams == 0);
    for (uint32_t i = 0; i < LOOP_LISTENERS_MAX; i++)
        hf_assert(loop->slots[i].listener == NULL);
    loop->backend->deinit(loop);
    close(loop->wake_fd);
    hf_assert(loop->pool.lent == 0);
    mem_free(loop->mem, loop->pool_memory);
    mem_free(loop->mem, loop);
}

enum loop_io loop_io(const struct loop *loop)
{
    return loop->backend->io;
}

const char *loop_io_reason(const struct loop *loop)
{
    return loop->reason;
}

int64_t loop_now(const struct loop *loop)
{
    return loop->now_ns;
}

/* ---- the turn ---- */

/* Those that wait for a block are all looked at again when one was given back, in the order in
 * which they came; who gets none again waits on. */
static void feed_starved(struct loop *loop)
{
    if (!loop->has_returned)
        return;
    loop->has_returned = false;
    while (loop->starved.head != NULL)
        loop_mark_dirty(loop, take_starved(loop));
}

/* What becomes dirty by being looked after is looked at in the next turn, which then does not wait.
 */
static void flush_dirty(struct loop *loop)
{
    struct stream *stream = loop->dirty.head;
    loop->dirty = (struct stream_list){0};
    while (stream != NULL) {
        struct stream *next = stream->next_dirty;
        stream->flags &= ~(uint32_t)STREAM_DIRTY;
        stream_flush(loop, stream);
        stream = next;
    }
}

static bool is_waiting_needless(const struct loop *loop)
{
    return loop->news.head != NULL || loop->dirty.head != NULL || loop->taken != NULL ||
           (loop->starved.head != NULL && loop->has_returned);
}

/* Listeners that rest are tried again; what fails again rests again. */
static void accept_again(struct loop *loop)
{
    loop->accept_again_ns = HF_NEVER;
    for (uint32_t i = 0; i < LOOP_LISTENERS_MAX && loop->held_off > 0; i++) {
        struct listener_slot *slot = &loop->slots[i];
        if (!slot->is_held_off)
            continue;
        slot->is_held_off = false;
        loop->held_off--;
        struct hf_err ignored;
        if (slot->listener != NULL && loop->backend->listen(loop, i, &ignored) != HF_OK)
            loop_hold_off(loop, i);
    }
}

/* The kernel's timer is set to an earlier time only; one that fires too early costs a turn. A wait
 * with a limit of its own would set and cancel one for each turn. */
static void wake_at(struct loop *loop, int64_t until_ns)
{
    if (until_ns >= loop->timer_ns)
        return;
    loop->backend->set_timer(loop, until_ns);
    loop->timer_ns = until_ns;
}

void loop_on_timer(struct loop *loop)
{
    loop->timer_ns = HF_NEVER;
}

enum hf_rc loop_wait(struct loop *loop, int64_t until_ns, struct hf_err *err)
{
    feed_starved(loop);
    flush_dirty(loop);
    if (loop->held_off > 0)
        until_ns = ns_min(until_ns, loop->accept_again_ns);
    bool may_wait = until_ns > loop->now_ns && !is_waiting_needless(loop);
    if (may_wait)
        wake_at(loop, until_ns);
    enum hf_rc rc = loop->backend->wait(loop, may_wait, err);
    loop->now_ns = clock_now();
    if (loop->held_off > 0 && loop->now_ns >= loop->accept_again_ns)
        accept_again(loop);
    return rc;
}

/* ---- events ---- */

static bool take_news(struct loop *loop, struct loop_event *event)
{
    while (loop->news.head != NULL) {
        struct stream *stream = loop->news.head;
        loop->news.head = stream->next_news;
        if (loop->news.head == NULL)
            loop->news.tail = NULL;
        stream->flags &= ~(uint32_t)STREAM_NEWS;
        if (stream_tell(loop, stream, event))
            return true;
    }
    return false;
}

bool loop_next(struct loop *loop, struct loop_event *event)
{
    for (;;) {
        if (take_news(loop, event))
            return true;
        if (loop->taken != NULL) {
            event->kind = LOOP_POSTED;
            event->message = loop->taken;
            loop->taken = loop->taken->next;
            return true;
        }
        switch (loop->backend->step(loop, event)) {
        case LOOP_STEP_EVENT:
            return true;
        case LOOP_STEP_DONE:
            break;
        case LOOP_STEP_IDLE:
            return false;
        }
    }
}

/* ---- posts ---- */

/* A stack that grows by compare-and-swap. Only who finds it empty has to wake the loop: the loop
 * first quiets its eventfd and then takes the whole stack, so whoever pushes later finds it empty
 * again. */
void loop_post(struct loop *loop, struct loop_message *message)
{
    struct loop_message *head = atomic_load_explicit(&loop->posted, memory_order_relaxed);
    do {
        message->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&loop->posted, &head, message,
                                                    memory_order_release, memory_order_relaxed));
    if (head != NULL)
        return;
    uint64_t one = 1;
    /* It can only fail when the counter is at its end, and then the loop is awake. */
    ssize_t ignored = write(loop->wake_fd, &one, sizeof one);
    (void)ignored;
}

void loop_on_wake(struct loop *loop)
{
    uint64_t count;
    ssize_t ignored = read(loop->wake_fd, &count, sizeof count);
    (void)ignored;
    struct loop_message *stack =
        atomic_exchange_explicit(&loop->posted, NULL, memory_order_acquire);
    struct loop_message *first = NULL;
    while (stack != NULL) {
        struct loop_message *next = stack->next;
        stack->next = first;
        first = stack;
        stack = next;
    }
    struct loop_message **end = &loop->taken;
    while (*end != NULL)
        end = &(*end)->next;
    *end = first;
}

struct loop_message *loop_unheard(struct loop *loop)
{
    loop_on_wake(loop);
    struct loop_message *message = loop->taken;
    if (message != NULL)
        loop->taken = message->next;
    return message;
}

/* ---- listening ---- */

enum hf_rc loop_listen(struct loop *loop, struct listener *listener, struct hf_err *err)
{
    for (uint32_t i = 0; i < LOOP_LISTENERS_MAX; i++) {
        struct listener_slot *slot = &loop->slots[i];
        if (slot->listener != NULL || slot->is_armed)
            continue;
        *slot = (struct listener_slot){.listener = listener, .fd = listener->fd};
        enum hf_rc rc = loop->backend->listen(loop, i, err);
        if (rc != HF_OK)
            slot->listener = NULL;
        return rc;
    }
    err_set(err, HF_RC_LIMIT, "53000", "too many listeners");
    return err_detail(err, "A loop can listen on %d sockets.", LOOP_LISTENERS_MAX);
}

void loop_unlisten(struct loop *loop, struct listener *listener)
{
    for (uint32_t i = 0; i < LOOP_LISTENERS_MAX; i++) {
        struct listener_slot *slot = &loop->slots[i];
        if (slot->listener != listener)
            continue;
        slot->listener = NULL;
        if (slot->is_held_off)
            loop->held_off--;
        slot->is_held_off = false;
        if (slot->is_armed)
            loop->backend->unlisten(loop, i);
    }
}

void loop_retire(struct loop *loop, struct listener *listener)
{
    for (uint32_t i = 0; i < LOOP_LISTENERS_MAX; i++) {
        struct listener_slot *slot = &loop->slots[i];
        if (slot->listener != listener)
            continue;
        if (slot->is_held_off)
            loop->held_off--;
        slot->is_held_off = false;
        slot->is_retired = true;
        if (slot->is_armed)
            loop->backend->unlisten(loop, i);
        if (!slot->is_armed)
            slot->listener = NULL;
    }
}

bool loop_is_listening(const struct loop *loop)
{
    for (uint32_t i = 0; i < LOOP_LISTENERS_MAX; i++) {
        if (loop->slots[i].listener != NULL)
            return true;
    }
    return false;
}

void loop_hold_off(struct loop *loop, uint32_t slot)
{
    loop->slots[slot].is_held_off = true;
    loop->held_off++;
    loop->accept_again_ns = loop->now_ns + ACCEPT_REST_NS;
}

bool loop_on_accepted(struct loop *loop, uint32_t slot, int fd, struct loop_event *event)
{
    struct listener *listener = loop->slots[slot].listener;
    if (listener == NULL) {
        close(fd);
        return false;
    }
    struct sockaddr_storage peer;
    socklen_t size = sizeof peer;
    event->kind = LOOP_ACCEPTED;
    event->fd = fd;
    event->listener = listener;
    if (getpeername(fd, (struct sockaddr *)&peer, &size) != 0) {
        close(fd); /* reset since: nobody is there */
        return false;
    }
    address_from_sockaddr(&event->peer, (struct sockaddr *)&peer, size);
    return true;
}
