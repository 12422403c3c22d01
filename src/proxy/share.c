#include "proxy/share.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bug.h"
#include "os/sys.h"

#define MAGIC   UINT64_C(0x3148534654534648) /* "HFSTFSH1", as it lies in memory */
#define VERSION 1

/* Zeros, as a file has them that was only made longer, are a file nobody has used. */
struct share_file {
    _Atomic uint64_t magic;
    _Atomic uint32_t version;
    uint32_t unused;
    struct {
        _Atomic uint32_t wishes; /* how often somebody else has found no token */
    } seats[SHARE_SEATS];
    _Atomic uint32_t tokens[SHARE_TOKENS_MAX];
};

_Static_assert(sizeof(_Atomic uint32_t) == 4 && sizeof(_Atomic uint64_t) == 8, "as in the file");
_Static_assert(ATOMIC_INT_LOCK_FREE == 2 && ATOMIC_LLONG_LOCK_FREE == 2, "between processes");

/* ---- seats ---- */

/* A lock of this open file on the byte of a seat. It is the kernel's to end it with the process. */
static bool lock_seat(int fd, uint32_t seat, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = seat, .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* Nobody sits there: what it has is free. */
static void clear_seat(struct share_file *file, uint32_t seat)
{
    for (uint32_t i = 0; i < SHARE_TOKENS_MAX; i++) {
        uint32_t holder = seat;
        if (atomic_load_explicit(&file->tokens[i], memory_order_relaxed) == seat)
            atomic_compare_exchange_strong(&file->tokens[i], &holder, 0);
    }
}

/* Frees what processes have left behind that are gone. True: there was something. */
static bool clear_dead(struct share *share)
{
    struct share_file *file = share->file;
    bool is_holder[SHARE_SEATS + 1] = {false};
    bool has_cleared = false;
    for (uint32_t i = 0; i < share->connections; i++) {
        uint32_t holder = atomic_load_explicit(&file->tokens[i], memory_order_relaxed);
        if (holder <= SHARE_SEATS)
            is_holder[holder] = true;
        else /* no process of ours has written this */
            has_cleared |= atomic_compare_exchange_strong(&file->tokens[i], &holder, 0);
    }
    for (uint32_t seat = 1; seat <= SHARE_SEATS; seat++) {
        if (!is_holder[seat] || seat == share->seat || !lock_seat(share->fd, seat, F_WRLCK))
            continue;
        clear_seat(file, seat);
        lock_seat(share->fd, seat, F_UNLCK);
        has_cleared = true;
    }
    return has_cleared;
}

static bool sit_down(struct share *share)
{
    for (uint32_t seat = 1; seat <= SHARE_SEATS; seat++) {
        if (!lock_seat(share->fd, seat, F_WRLCK))
            continue;
        share->seat = seat;
        clear_seat(share->file, seat);
        return true;
    }
    return false;
}

static void tell_others(struct share *share)
{
    for (uint32_t i = 0; i < SHARE_SEATS; i++) {
        if (i != share->seat - 1)
            atomic_fetch_add_explicit(&share->file->seats[i].wishes, 1, memory_order_relaxed);
    }
}

/* ---- the file ---- */

/* A file that is new, or one of ours. */
static enum hf_rc map_file(struct share *share, const char *path, struct hf_err *err)
{
    struct stat status;
    struct share_file *file;
    if (fstat(share->fd, &status) != 0)
        return sys_fail(err, errno, "could not look at \"%s\"", path);
    bool is_fitting =
        S_ISREG(status.st_mode) && (status.st_size == 0 || status.st_size == (off_t)sizeof *file);
    if (is_fitting && status.st_size == 0 && ftruncate(share->fd, sizeof *file) != 0)
        return sys_fail(err, errno, "could not make \"%s\"", path);
    void *at = is_fitting
                   ? mmap(NULL, sizeof *file, PROT_READ | PROT_WRITE, MAP_SHARED, share->fd, 0)
                   : NULL;
    if (at == MAP_FAILED)
        return sys_fail(err, errno, "could not map \"%s\"", path);
    file = at;
    uint64_t none = 0;
    if (file != NULL && atomic_compare_exchange_strong(&file->magic, &none, MAGIC))
        atomic_store(&file->version, VERSION);
    if (file == NULL || (none != 0 && none != MAGIC)) {
        if (file != NULL)
            munmap(file, sizeof *file);
        err_set(err, HF_RC_INVALID, "22023", "\"%s\" is no file of a shared budget", path);
        return err_hint(err, "Give server_budget.file a name that nothing else has.");
    }
    share->file = file;
    return HF_OK;
}

enum hf_rc share_open(struct share *share, const char *path, uint32_t connections, struct mem *mem,
                      struct hf_err *err)
{
    hf_assert(connections > 0 && connections <= SHARE_TOKENS_MAX);
    *share = (struct share){.mem = mem, .connections = connections, .fd = -1};
    share->held = mem_alloc_array(mem, SHARE_TOKENS_MAX, sizeof share->held[0]);
    if (share->held == NULL)
        return mem_refused(mem, SHARE_TOKENS_MAX * sizeof share->held[0], err);
    share->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    enum hf_rc rc = HF_OK;
    if (share->fd < 0)
        rc = sys_fail(err, errno, "could not open \"%s\"", path);
    else
        rc = map_file(share, path, err);
    if (rc == HF_OK && !sit_down(share)) {
        rc = err_set(err, HF_RC_LIMIT, "53400", "too many processes share \"%s\"", path);
        err_detail(err, "%d are the most.", SHARE_SEATS);
    }
    if (rc != HF_OK)
        share_close(share);
    return rc;
}

void share_close(struct share *share)
{
    if (share->file != NULL) {
        for (uint32_t i = 0; i < share->held_count; i++)
            atomic_store(&share->file->tokens[share->held[i]], 0);
        munmap(share->file, sizeof *share->file);
    }
    if (share->fd >= 0)
        close(share->fd); /* the seat's lock ends with it */
    mem_free(share->mem, share->held);
    *share = (struct share){.fd = -1};
}

void share_resize(struct share *share, uint32_t connections)
{
    hf_assert(connections > 0 && connections <= SHARE_TOKENS_MAX);
    share->connections = connections;
}

/* ---- tokens ---- */

static bool take_token(struct share *share)
{
    struct share_file *file = share->file;
    for (uint32_t n = 0; n < share->connections; n++) {
        uint32_t i = (share->next + n) % share->connections;
        uint32_t free_token = 0;
        if (atomic_load_explicit(&file->tokens[i], memory_order_relaxed) != 0 ||
            !atomic_compare_exchange_strong(&file->tokens[i], &free_token, share->seat))
            continue;
        share->held[share->held_count++] = i;
        share->next = i + 1;
        return true;
    }
    return false;
}

bool share_try(struct share *share)
{
    if (take_token(share) || (clear_dead(share) && take_token(share)))
        return true;
    tell_others(share);
    return false;
}

void share_return(struct share *share)
{
    hf_assert(share->held_count > 0);
    uint32_t last = 0;
    /* After a reload to fewer connections: those beyond them go first. */
    for (uint32_t i = 1; i < share->held_count; i++) {
        if (share->held[i] > share->held[last])
            last = i;
    }
    atomic_store(&share->file->tokens[share->held[last]], 0);
    share->held[last] = share->held[--share->held_count];
}

uint32_t share_used(const struct share *share)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < SHARE_TOKENS_MAX; i++)
        used += atomic_load_explicit(&share->file->tokens[i], memory_order_relaxed) != 0;
    return used;
}

bool share_is_wanted(const struct share *share, uint32_t *seen)
{
    uint32_t wishes =
        atomic_load_explicit(&share->file->seats[share->seat - 1].wishes, memory_order_relaxed);
    bool is_wanted = wishes != *seen;
    *seen = wishes;
    return is_wanted;
}
