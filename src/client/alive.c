#include "client/alive.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "os/sys.h"

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

const _Atomic uint32_t *alive_new(struct hf_err *err)
{
    void *page =
        mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        sys_fail(err, errno, "could not get a page of memory");
        return NULL;
    }
    /* Linux has it since 4.14; where it is refused, a child cannot be told apart. */
    if (madvise(page, page_size(), MADV_WIPEONFORK) != 0) {
        sys_fail(err, errno, "the kernel does not tell a child of fork() apart");
        munmap(page, page_size());
        return NULL;
    }
    _Atomic uint32_t *alive = page;
    atomic_init(alive, 1);
    return alive;
}

void alive_free(const _Atomic uint32_t *alive)
{
    if (alive != NULL)
        munmap((void *)(uintptr_t)alive, page_size());
}
