/*
 * The loop over io_uring: one system call in each turn, however many streams moved in it.
 *
 * Receiving, as a rule, is one multishot receive for the whole life of a stream: the kernel picks a
 * small buffer from a ring of provided ones when bytes come, so an idle stream has none, and
 * nothing is ever armed again. What the kernel filled is the owner's view itself; when it was
 * consumed, it goes back into the ring, which costs no system call either. The ring holds only
 * about as many buffers as a turn takes, of those that were used last: a ring of all of them would
 * come back to each of them only after it has left every cache.
 *
 * A multishot receive cannot be told to stop at once: what a fast peer sends until then comes, a
 * few tens of buffers, and is kept behind the view. An owner that falls so far behind is received
 * for directly from then on (STREAM_DIRECT): one receive at a time into the room of the stream's
 * own block. That is also the way when the ring has run dry. Once a direct receive brings less than
 * there was room for and the owner has consumed all, multishot is used again.
 *
 *     not receiving --arm_multishot--> RECEIVING|MULTISHOT --no buffer--> not receiving, DIRECT
 *                                         | too far behind: cancel
 *     not receiving, DIRECT --arm_direct--> RECEIVING --bytes, or cancelled--> not receiving
 *
 * Sending is tried without waiting, and reports only if it did not send all: when the call that
 * handed it over returns, no report means that it is done. That spares half of all reports, and
 * more: a report would end the wait that the same call goes into, so the loop would turn once more
 * for nothing after each turn that sent something. Room in a socket that was full is watched for by
 * a multishot poll, for the rest of the stream's life, as it reports only after a send that failed.
 *
 * (A send that may wait by itself is no way out: io_uring polls for the peer's half close with it,
 * finds it over and over, and then gives the send to a thread that blocks, out of cancelling's
 * reach; seen on Linux 6.18.)
 *
 * A stream's memory is the owner's again only when the kernel has reported the end of each
 * operation that carries its address: stream->tokens counts them.
 */
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/ns.h"
#include "net/loop.h"
#include "net/loop_int.h"
#include "net/tls.h"
#include "os/sys.h"

#define SQ_ENTRIES 128  /* few, so that they stay in the cache; more just means another call */
#define QUICK_MAX  512  /* sends of one turn; then what was asked for is handed over */
#define CQ_ENTRIES 8192 /* what may come in one turn without the kernel having to keep it aside */

/* The ring of provided buffers. Queries and most answers fit one; a large result takes one for each
 * 4 kB of it. The stride is no power of two, so that their first lines do not all fall into the
 * same few sets of the cache. */
#define PROVIDED_COUNT  256
#define PROVIDED_SIZE   4096
#define PROVIDED_STRIDE (PROVIDED_SIZE + 192)
#define PROVIDED_GROUP  0
#define PROVIDED_MIN    8    /* in the ring, however little comes */
#define CALM_TURNS      1024 /* that took far less than the ring holds, before it holds less */
#define PAGE            4096

/* What an operation was, in the low bits of its user data; streams are aligned. */
enum op {
    OP_RECEIVE,
    OP_SEND,
    OP_CONNECT,
    OP_ACCEPT, /* the slot in the bits above */
    OP_WAKE,
    OP_CANCEL,
    OP_WRITABLE,
    OP_TIMER,
};

#define OP_BITS 3
#define OP_MASK ((UINT64_C(1) << OP_BITS) - 1)

struct uring {
    struct io_uring ring;
    struct io_uring_buf_ring *provided;
    void *provided_memory; /* of the ring and of the buffers */
    char *provided_bytes;
    uint32_t want;                  /* buffers that are to be in the ring when a turn begins */
    uint32_t shown;                 /* that are there */
    uint32_t taken;                 /* that came out of it in this turn */
    uint32_t calm;                  /* turns in a row that took far less than is wanted */
    uint32_t spare_count;           /* that are neither there nor in use */
    uint32_t batch;                 /* completions to look at in this turn */
    struct __kernel_timespec timer; /* the kernel reads it when the request is handed over */
    uint32_t quick_count;
    bool is_set_up;
    bool is_enabled;
    bool is_wake_armed;
    uint16_t spare[PROVIDED_COUNT];  /* the last one was used last */
    struct stream *quick[QUICK_MAX]; /* with a send that reports only failure */
    struct loop_block blocks[PROVIDED_COUNT];
};

static struct uring *uring_of(struct loop *loop)
{
    return loop->backend_state;
}

/* ---- asking the kernel ---- */

static int enable(struct uring *uring)
{
    /* Debian's liburing 2.3 declares io_uring_enable_rings() and does not export it. */
    int rc =
        io_uring_register((unsigned)uring->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (rc < 0)
        return rc;
    uring->is_enabled = true;
    /* Saves the kernel looking up the ring's descriptor; it is no loss if it will not. */
    (void)io_uring_register_ring_fd(&uring->ring);
    return 0;
}

/* The kernel is short of something, and may have it again soon. */
static bool is_passing(int rc)
{
    return rc == -EAGAIN || rc == -EBUSY || rc == -ENOMEM;
}

/* Hands over what was asked for so far, before the turn ends. */
static void hand_over(struct uring *uring)
{
    int rc = uring->is_enabled ? 0 : enable(uring);
    if (rc == 0)
        rc = io_uring_submit(&uring->ring);
    hf_assert(rc >= 0 || rc == -EINTR || is_passing(rc));
}

/* An entry for one request; the io_uring_prep_... functions leave its user data alone. */
static struct io_uring_sqe *ask(struct uring *uring, uint64_t subject, enum op op)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);
    while (sqe == NULL) { /* more in one turn than the queue holds */
        hand_over(uring);
        sqe = io_uring_get_sqe(&uring->ring);
    }
    sqe->user_data = subject | (uint64_t)op;
    return sqe;
}

static uint64_t subject_of(struct stream *stream)
{
    return (uint64_t)(uintptr_t)stream;
}

static struct stream *stream_of(uint64_t user_data)
{
    return (struct stream *)(uintptr_t)(user_data & ~OP_MASK);
}

static void cancel(struct uring *uring, uint64_t subject, enum op op)
{
    struct io_uring_sqe *sqe = ask(uring, 0, OP_CANCEL);
    io_uring_prep_cancel64(sqe, subject | (uint64_t)op, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

/* ---- making ---- */

/* The ring is made disabled: it belongs to the thread that enables it, which is the one that first
 * waits, and not to the one that made the loop. Work that completes is left to that thread's own
 * calls, as nobody else can profit from it being done earlier. */
static int set_up_ring(struct io_uring *ring)
{
    static const unsigned tries[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, /* Linux 6.1 */
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN,  /* 6.0 */
    };
    int rc = -EINVAL;
    for (size_t i = 0; i < sizeof tries / sizeof *tries && rc == -EINVAL; i++) {
        struct io_uring_params params = {
            .flags = tries[i] | IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP |
                     IORING_SETUP_SUBMIT_ALL,
            .cq_entries = CQ_ENTRIES,
        };
        rc = io_uring_queue_init_params(SQ_ENTRIES, ring, &params);
    }
    return rc;
}

static void provide(struct uring *uring, uint32_t id)
{
    uring->spare[uring->spare_count++] = (uint16_t)id;
}

/* As many as a turn takes, and as many again. */
static void adapt_want(struct uring *uring)
{
    if (uring->taken * 2 > uring->want && uring->want < PROVIDED_COUNT)
        uring->want *= 2;
    uring->calm = uring->taken * 8 < uring->want ? uring->calm + 1 : 0;
    if (uring->calm >= CALM_TURNS && uring->want > PROVIDED_MIN) {
        uring->want /= 2;
        uring->calm = 0;
    }
    uring->taken = 0;
}

static void show_provided(struct uring *uring)
{
    int mask = io_uring_buf_ring_mask(PROVIDED_COUNT);
    int added = 0;
    adapt_want(uring);
    while (uring->shown < uring->want && uring->spare_count > 0) {
        unsigned short id = uring->spare[--uring->spare_count];
        io_uring_buf_ring_add(uring->provided, uring->provided_bytes + (size_t)id * PROVIDED_STRIDE,
                              PROVIDED_SIZE, id, mask, added++);
        uring->shown++;
    }
    if (added > 0)
        io_uring_buf_ring_advance(uring->provided, added);
}

static enum hf_rc make_provided(struct loop *loop, struct hf_err *err)
{
    struct uring *uring = uring_of(loop);
    size_t ring_size = PROVIDED_COUNT * sizeof(struct io_uring_buf);
    size_t size = PAGE + ring_size + (size_t)PROVIDED_COUNT * PROVIDED_STRIDE;
    uring->provided_memory = mem_alloc(loop->mem, size);
    if (uring->provided_memory == NULL)
        return mem_refused(loop->mem, size, err);
    uintptr_t page = ((uintptr_t)uring->provided_memory + PAGE - 1) / PAGE * PAGE;
    uring->provided = (struct io_uring_buf_ring *)page;
    uring->provided_bytes = (char *)page + ring_size;
    struct io_uring_buf_reg registration = {
        .ring_addr = page,
        .ring_entries = PROVIDED_COUNT,
        .bgid = PROVIDED_GROUP,
    };
    int rc = io_uring_register_buf_ring(&uring->ring, &registration, 0);
    if (rc < 0)
        return sys_fail(err, -rc, "could not register buffers with io_uring");
    io_uring_buf_ring_init(uring->provided);
    uring->want = PROVIDED_MIN;
    for (uint32_t id = PROVIDED_COUNT; id-- > 0;) {
        uring->blocks[id].id = (uint16_t)id;
        uring->blocks[id].is_provided = true;
        provide(uring, id);
    }
    show_provided(uring);
    return HF_OK;
}

static void uring_deinit(struct loop *loop)
{
    struct uring *uring = uring_of(loop);
    if (uring->is_set_up)
        io_uring_queue_exit(&uring->ring);
    mem_free(loop->mem, uring->provided_memory);
    mem_free(loop->mem, uring);
}

static void prepare_multishot(struct io_uring_sqe *sqe, int fd)
{
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = PROVIDED_GROUP;
    /* Nothing is there yet, as a rule. It also sees to it that "no buffer" means "but bytes". */
    sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
}

/* With WAITALL less than everything is a failure, and so reported. */
static void prepare_quick_send(struct io_uring_sqe *sqe, int fd, struct sv bytes)
{
    io_uring_prep_send(sqe, fd, bytes.data, bytes.size, MSG_NOSIGNAL | MSG_WAITALL | MSG_DONTWAIT);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

/* Does what the loop does most, once, on a ring of its own: kernels tell least by their version. */
static int try_multishot(struct uring *probe, int pair[2])
{
    if (write(pair[1], "x", 1) != 1)
        return errno;
    prepare_multishot(ask(probe, 0, OP_RECEIVE), pair[0]);
    int rc = enable(probe);
    if (rc == 0)
        rc = io_uring_submit_and_wait(&probe->ring, 1);
    struct io_uring_cqe *cqe = NULL;
    if (rc >= 0)
        rc = io_uring_peek_cqe(&probe->ring, &cqe);
    if (rc < 0)
        return -rc;
    int result = cqe->res;
    bool goes_on = (cqe->flags & IORING_CQE_F_MORE) != 0;
    io_uring_cqe_seen(&probe->ring, cqe);
    if (result < 0)
        return -result;
    return result == 1 && goes_on ? 0 : EOPNOTSUPP;
}

/* A quick send must report, and say how far it came, when the socket does not take everything:
 * before Linux 6.1 it kept that to itself. The other end of the pair reads nothing. */
static int try_quick_send(struct uring *probe, int fd)
{
    size_t size = (size_t)PROVIDED_COUNT * PROVIDED_STRIDE;
    int small = 4096;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small) != 0)
        return errno;
    prepare_quick_send(ask(probe, 0, OP_SEND), fd, sv_from(probe->provided_bytes, size));
    int rc = io_uring_submit(&probe->ring);
    struct io_uring_cqe *cqe = NULL;
    if (rc >= 0)
        rc = io_uring_peek_cqe(&probe->ring, &cqe);
    if (rc < 0)
        return -rc;
    return cqe->res > 0 && (size_t)cqe->res < size ? 0 : EOPNOTSUPP;
}

static enum hf_rc make_ring(struct loop *loop, struct hf_err *err)
{
    struct uring *uring = uring_of(loop);
    int rc = set_up_ring(&uring->ring);
    if (rc < 0)
        return sys_fail(err, -rc, "could not set up io_uring");
    uring->is_set_up = true;
    return make_provided(loop, err);
}

static enum hf_rc make_state(struct loop *loop, struct hf_err *err)
{
    struct uring *uring = mem_alloc(loop->mem, sizeof *uring);
    if (uring == NULL)
        return mem_refused(loop->mem, sizeof *uring, err);
    loop->backend_state = uring;
    enum hf_rc rc = make_ring(loop, err);
    if (rc != HF_OK)
        uring_deinit(loop);
    return rc;
}

static enum hf_rc probe(struct loop *loop, struct hf_err *err)
{
    enum hf_rc rc = make_state(loop, err);
    if (rc != HF_OK)
        return rc;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        rc = sys_fail(err, errno, "could not make a pair of sockets");
    } else {
        int error = try_multishot(uring_of(loop), pair);
        if (error == 0)
            error = try_quick_send(uring_of(loop), pair[0]);
        close(pair[0]);
        close(pair[1]);
        if (error != 0)
            rc = sys_fail(err, error, "could not use io_uring as this kernel has it");
    }
    uring_deinit(loop);
    return rc;
}

static enum hf_rc uring_init(struct loop *loop, struct hf_err *err)
{
    enum hf_rc rc = probe(loop, err);
    return rc == HF_OK ? make_state(loop, err) : rc;
}

/* ---- streams ---- */

static int uring_watch(struct loop *loop, struct stream *stream)
{
    if (stream->state == STREAM_CONNECTING) {
        struct io_uring_sqe *sqe = ask(uring_of(loop), subject_of(stream), OP_CONNECT);
        io_uring_prep_poll_add(sqe, stream->fd, POLLOUT);
        stream->flags |= STREAM_DIALS;
        stream->tokens++;
        return 0;
    }
    stream->flags |= STREAM_STALLED;
    loop_mark_dirty(loop, stream);
    return 0;
}

/* ---- sending ---- */

static void on_sent(struct loop *loop, struct stream *stream, int result)
{
    stream_on_sent(loop, stream, result);
    if (stream->state != STREAM_OPEN)
        stream_on_quiet(loop, stream);
}

/* The quick sends have been handed over: those that have not reported a failure have sent all.
 * Streams may send again by that, at places of the list that were looked at already. */
static void end_quick(struct loop *loop)
{
    struct uring *uring = uring_of(loop);
    uint32_t count = uring->quick_count;
    /* Out of memory the kernel takes only a part of what is handed over: then nothing is known of
     * the others until it has taken them too. */
    if (count == 0 || io_uring_sq_ready(&uring->ring) > 0)
        return;
    unsigned head;
    struct io_uring_cqe *cqe;
    io_uring_for_each_cqe(&uring->ring, head, cqe)
    {
        if ((cqe->user_data & OP_MASK) == OP_SEND)
            stream_of(cqe->user_data)->flags |= STREAM_FELL_SHORT;
    }
    uring->quick_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct stream *stream = uring->quick[i];
        if (stream->flags & STREAM_FELL_SHORT)
            continue; /* its report tells how far it came: on_send() */
        stream->flags &= ~(uint32_t)STREAM_SENDS;
        stream->tokens--;
        on_sent(loop, stream, (int)buffer_held(&stream->sending->buffer));
    }
}

static void hand_over_early(struct loop *loop)
{
    hand_over(uring_of(loop));
    end_quick(loop);
}

static void watch_for_room(struct loop *loop, struct stream *stream)
{
    struct io_uring_sqe *sqe = ask(uring_of(loop), subject_of(stream), OP_WRITABLE);
    io_uring_prep_poll_multishot(sqe, stream->fd, POLLOUT);
    stream->flags |= STREAM_POLLS;
    stream->tokens++;
}

static void uring_send(struct loop *loop, struct stream *stream)
{
    struct uring *uring = uring_of(loop);
    while (uring->quick_count == QUICK_MAX)
        hand_over_early(loop);
    struct io_uring_sqe *sqe = ask(uring, subject_of(stream), OP_SEND);
    prepare_quick_send(sqe, stream->fd, buffer_view(&stream->sending->buffer));
    stream->flags |= STREAM_SENDS;
    stream->tokens++;
    uring->quick[uring->quick_count++] = stream;
}

static void arm_multishot(struct loop *loop, struct stream *stream)
{
    struct io_uring_sqe *sqe = ask(uring_of(loop), subject_of(stream), OP_RECEIVE);
    prepare_multishot(sqe, stream->fd);
    stream->flags |= STREAM_RECEIVING | STREAM_MULTISHOT;
    stream->flags &= ~(uint32_t)STREAM_STALLED;
    stream->tokens++;
}

/* A stream whose view is empty must not wait with a block in its hand: it takes what there is. */
static void arm_direct(struct loop *loop, struct stream *stream)
{
    struct loop_block *block = stream_landing(loop, stream);
    if (block == NULL)
        return;
    int flags = buffer_held(&block->buffer) == 0 ? MSG_DONTWAIT : 0;
    struct io_uring_sqe *sqe = ask(uring_of(loop), subject_of(stream), OP_RECEIVE);
    io_uring_prep_recv(sqe, stream->fd, block->buffer.block + block->landing,
                       block->buffer.size - block->landing, flags);
    stream->flags |= STREAM_RECEIVING | STREAM_STALLED;
    stream->tokens++;
}

static void stop_receiving(struct loop *loop, struct stream *stream)
{
    cancel(uring_of(loop), subject_of(stream), OP_RECEIVE);
    stream->flags |= STREAM_CANCELLING | STREAM_STALLED;
}

static bool has_view(const struct stream *stream)
{
    return stream->in != NULL && buffer_held(&stream->in->buffer) > 0;
}

/* Something is left in a lent block, so receiving may as well wait with it in hand. What is
 * encrypted never lands in the view. */
static bool has_own_view(const struct stream *stream)
{
    return has_view(stream) && !stream->in->is_provided && stream->tls == NULL;
}

static void uring_receive(struct loop *loop, struct stream *stream)
{
    if (stream->flags & STREAM_CANCELLING)
        return;
    bool wants = stream_wants_bytes(stream);
    if ((stream->flags & STREAM_RECEIVING) && (stream->flags & STREAM_MULTISHOT)) {
        /* A pause alone does not stop it: most peers send nothing then. What does come is kept. */
        bool is_behind = !wants && (stream_holds_bytes(stream) || stream->state == STREAM_CLOSING);
        if (is_behind)
            stream->flags |= STREAM_DIRECT;
        /* Bytes and a reset that come together wake a multishot receive once, for the bytes (seen
         * on Linux 6.18): it has to be armed anew to see the reset. */
        if (is_behind || (stream->flags & STREAM_RECHECK))
            stop_receiving(loop, stream);
        stream->flags &= ~(uint32_t)STREAM_RECHECK;
    } else if (stream->flags & STREAM_RECEIVING) {
        if (!has_view(stream) || stream->state == STREAM_CLOSING)
            stop_receiving(loop, stream);
    } else if (!wants) {
        stream->flags |= STREAM_STALLED;
        if (stream_is_stuck(stream))
            stream_on_end(loop, stream, stream->error);
    } else if ((stream->flags & STREAM_DIRECT) || has_own_view(stream)) {
        arm_direct(loop, stream);
    } else {
        arm_multishot(loop, stream);
    }
}

static void uring_forget(struct loop *loop, struct stream *stream)
{
    if ((stream->flags & STREAM_RECEIVING) && !(stream->flags & STREAM_CANCELLING))
        stop_receiving(loop, stream);
    if (stream->flags & STREAM_POLLS)
        cancel(uring_of(loop), subject_of(stream), OP_WRITABLE);
    if (stream->flags & STREAM_DIALS)
        cancel(uring_of(loop), subject_of(stream), OP_CONNECT);
}

static void uring_recycle(struct loop *loop, struct loop_block *block)
{
    provide(uring_of(loop), block->id);
}

/* ---- listeners ---- */

static enum hf_rc uring_listen(struct loop *loop, uint32_t slot, struct hf_err *err)
{
    (void)err;
    uint64_t subject = (uint64_t)slot << OP_BITS;
    struct io_uring_sqe *sqe = ask(uring_of(loop), subject, OP_ACCEPT);
    io_uring_prep_multishot_accept(sqe, loop->slots[slot].fd, NULL, NULL,
                                   SOCK_CLOEXEC | SOCK_NONBLOCK);
    loop->slots[slot].is_armed = true;
    return HF_OK;
}

/* Handed over at once: as long as the kernel accepts, it keeps the socket listening, even one that
 * was closed. */
static void uring_unlisten(struct loop *loop, uint32_t slot)
{
    struct uring *uring = uring_of(loop);
    cancel(uring, (uint64_t)slot << OP_BITS, OP_ACCEPT);
    if (uring->is_enabled)
        (void)io_uring_submit(&uring->ring);
}

/* ---- the turn ---- */

static void arm_wake(struct loop *loop)
{
    struct io_uring_sqe *sqe = ask(uring_of(loop), 0, OP_WAKE);
    io_uring_prep_poll_multishot(sqe, loop->wake_fd, POLLIN);
    uring_of(loop)->is_wake_armed = true;
}

/* Somebody has to act on a send that is done as soon as it is handed over: that must not wait. */
static bool is_send_awaited(const struct uring *uring)
{
    for (uint32_t i = 0; i < uring->quick_count; i++) {
        const struct stream *stream = uring->quick[i];
        if (stream->state != STREAM_OPEN || (stream->flags & STREAM_SHORT) || stream->out != NULL ||
            (stream->tls != NULL && tls_has_output(stream->tls)))
            return true;
    }
    return false;
}

static void uring_set_timer(struct loop *loop, int64_t at_ns)
{
    struct uring *uring = uring_of(loop);
    uring->timer.tv_sec = at_ns / HF_SEC(1);
    uring->timer.tv_nsec = at_ns % HF_SEC(1);
    if (loop->timer_ns == HF_NEVER) {
        struct io_uring_sqe *sqe = ask(uring, 0, OP_TIMER);
        io_uring_prep_timeout(sqe, &uring->timer, 0, IORING_TIMEOUT_ABS);
        return;
    }
    /* If it has fired just now, this fails, and it is set anew when that is seen. */
    struct io_uring_sqe *sqe = ask(uring, 0, OP_CANCEL);
    io_uring_prep_timeout_update(sqe, &uring->timer, OP_TIMER, IORING_TIMEOUT_ABS);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

static enum hf_rc uring_wait(struct loop *loop, bool may_wait, struct hf_err *err)
{
    struct uring *uring = uring_of(loop);
    int rc = uring->is_enabled ? 0 : enable(uring);
    if (rc < 0)
        return sys_fail(err, -rc, "could not start io_uring");
    if (!uring->is_wake_armed)
        arm_wake(loop);
    show_provided(uring);
    if (may_wait && uring->batch == 0 && !is_send_awaited(uring))
        rc = io_uring_submit_and_wait(&uring->ring, 1);
    else
        rc = io_uring_submit_and_get_events(&uring->ring);
    uring->batch = io_uring_cq_ready(&uring->ring);
    end_quick(loop);
    bool is_usual = rc >= 0 || rc == -EINTR || is_passing(rc);
    return is_usual ? HF_OK : sys_fail(err, -rc, "could not wait for sockets");
}

static void on_multishot(struct loop *loop, struct stream *stream, int result, uint32_t flags)
{
    struct uring *uring = uring_of(loop);
    struct loop_block *block = NULL;
    if (flags & IORING_CQE_F_BUFFER)
        block = &uring->blocks[flags >> IORING_CQE_BUFFER_SHIFT];
    if (block != NULL) {
        uring->shown--;
        uring->taken++;
    }
    if (block != NULL && result > 0) {
        buffer_init(&block->buffer, uring->provided_bytes + (size_t)block->id * PROVIDED_STRIDE,
                    PROVIDED_SIZE);
        buffer_commit(&block->buffer, (size_t)result);
        stream_on_provided(loop, stream, block);
        return;
    }
    if (block != NULL)
        provide(uring, block->id);
    if (result == -ENOBUFS)
        stream->flags |= STREAM_DIRECT;
    else if (result <= 0 && result != -ECANCELED && result != -EINTR && result != -EAGAIN)
        stream_on_end(loop, stream, -result);
}

static void on_direct(struct loop *loop, struct stream *stream, int result)
{
    const struct loop_block *block = stream->tls == NULL ? stream->in : stream->wire;
    size_t room = block->buffer.size - block->landing;
    stream_on_landed(loop, stream, result > 0 ? (size_t)result : 0);
    if (result <= 0 || (size_t)result < room)
        stream->flags &= ~(uint32_t)STREAM_DIRECT;
    if (result <= 0 && result != -ECANCELED && result != -EINTR && result != -EAGAIN)
        stream_on_end(loop, stream, -result);
}

static void on_receive(struct loop *loop, struct stream *stream, int result, uint32_t flags)
{
    bool is_multishot = (stream->flags & STREAM_MULTISHOT) != 0;
    bool goes_on = (flags & IORING_CQE_F_MORE) != 0;
    if (!goes_on) {
        stream->flags &= ~(uint32_t)(STREAM_RECEIVING | STREAM_MULTISHOT | STREAM_CANCELLING);
        stream->flags |= STREAM_STALLED;
        stream->tokens--;
    }
    if (is_multishot)
        on_multishot(loop, stream, result, flags);
    else
        on_direct(loop, stream, result);
    if (goes_on)
        return;
    if (stream->state == STREAM_OPEN)
        loop_mark_dirty(loop, stream);
    else
        stream_on_quiet(loop, stream);
}

/* A quick send did not send all: the socket is full, or the connection has failed. */
static void on_send(struct loop *loop, struct stream *stream, int result)
{
    stream->flags &= ~(uint32_t)(STREAM_SENDS | STREAM_FELL_SHORT);
    stream->tokens--;
    if (result == -EAGAIN || result == -EINTR)
        result = 0;
    if (result < 0 || (stream->flags & STREAM_FORGOTTEN)) {
        on_sent(loop, stream, result);
        return;
    }
    buffer_consume(&stream->sending->buffer, (size_t)result);
    if (!(stream->flags & STREAM_POLLS))
        watch_for_room(loop, stream);
}

/* There is room, or the connection has failed, which sending finds out. A half close is reported
 * too, and is none of sending's business. */
static void on_writable(struct loop *loop, struct stream *stream, int result, uint32_t flags)
{
    bool is_over = !(flags & IORING_CQE_F_MORE);
    if (is_over) {
        stream->flags &= ~(uint32_t)STREAM_POLLS;
        stream->tokens--;
    }
    bool may_send = is_over || (result & (POLLOUT | POLLERR | POLLHUP)) != 0;
    bool waits = stream->sending != NULL && !(stream->flags & (STREAM_SENDS | STREAM_FORGOTTEN));
    if (may_send && waits)
        uring_send(loop, stream);
    if (stream->state != STREAM_OPEN)
        stream_on_quiet(loop, stream);
}

static void on_connect(struct loop *loop, struct stream *stream)
{
    stream->flags &= ~(uint32_t)STREAM_DIALS;
    stream->tokens--;
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    stream_on_connected(loop, stream, error);
    stream_on_quiet(loop, stream);
}

static enum loop_step on_accept(struct loop *loop, uint32_t slot, int result, uint32_t flags,
                                struct loop_event *event)
{
    struct listener_slot *place = &loop->slots[slot];
    bool is_last = false;
    if (!(flags & IORING_CQE_F_MORE)) {
        place->is_armed = false;
        bool is_short = result == -EMFILE || result == -ENFILE || result == -ENOBUFS ||
                        result == -ENOMEM || result == -EINVAL || result == -EBADF;
        if (place->listener != NULL && place->is_retired)
            is_last = true;
        else if (place->listener != NULL && is_short)
            loop_hold_off(loop, slot);
        else if (place->listener != NULL)
            (void)uring_listen(loop, slot, NULL);
    }
    bool is_told = result >= 0 && loop_on_accepted(loop, slot, result, event);
    if (is_last)
        place->listener = NULL;
    return is_told ? LOOP_STEP_EVENT : LOOP_STEP_DONE;
}

static void on_wake(struct loop *loop, uint32_t flags)
{
    if (!(flags & IORING_CQE_F_MORE))
        uring_of(loop)->is_wake_armed = false;
    loop_on_wake(loop);
}

static enum loop_step uring_step(struct loop *loop, struct loop_event *event)
{
    struct uring *uring = uring_of(loop);
    struct io_uring_cqe *cqe = NULL;
    if (uring->batch == 0 || io_uring_peek_cqe(&uring->ring, &cqe) != 0)
        return LOOP_STEP_IDLE;
    uint64_t subject = cqe->user_data & ~OP_MASK;
    struct stream *stream = stream_of(subject);
    enum op op = (enum op)(cqe->user_data & OP_MASK);
    int result = cqe->res;
    uint32_t flags = cqe->flags;
    io_uring_cqe_seen(&uring->ring, cqe);
    uring->batch--;
    switch (op) {
    case OP_RECEIVE:
        on_receive(loop, stream, result, flags);
        break;
    case OP_SEND:
        on_send(loop, stream, result);
        break;
    case OP_CONNECT:
        on_connect(loop, stream);
        break;
    case OP_ACCEPT:
        return on_accept(loop, (uint32_t)(subject >> OP_BITS), result, flags, event);
    case OP_WAKE:
        on_wake(loop, flags);
        break;
    case OP_WRITABLE:
        on_writable(loop, stream, result, flags);
        break;
    case OP_TIMER:
        loop_on_timer(loop);
        break;
    case OP_CANCEL:
        break;
    }
    return LOOP_STEP_DONE;
}

const struct loop_backend *loop_uring(void)
{
    static const struct loop_backend backend = {
        .io = LOOP_IO_URING,
        .init = uring_init,
        .deinit = uring_deinit,
        .wait = uring_wait,
        .set_timer = uring_set_timer,
        .step = uring_step,
        .listen = uring_listen,
        .unlisten = uring_unlisten,
        .watch = uring_watch,
        .send = uring_send,
        .receive = uring_receive,
        .forget = uring_forget,
        .recycle = uring_recycle,
    };
    return &backend;
}
