#include "os/entropy.h"

#include <errno.h>
#include <sys/random.h>
#include <sys/types.h>

#include "base/bug.h"

void entropy_fill(void *out, size_t size_bytes)
{
    unsigned char *at = out;
    while (size_bytes > 0) {
        ssize_t got = getrandom(at, size_bytes, 0);
        if (got < 0) {
            hf_assert(errno == EINTR);
            continue;
        }
        at += got;
        size_bytes -= (size_t)got;
    }
}

uint64_t entropy_seed(void)
{
    uint64_t seed;
    entropy_fill(&seed, sizeof seed);
    return seed;
}

void entropy_password(char *out, size_t size)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    enum {
        LETTERS = sizeof letters - 1
    };
    hf_assert(size > 0);
    size_t used = 0;
    while (used < size - 1) {
        unsigned char byte;
        entropy_fill(&byte, sizeof byte);
        /* Bytes above the last whole multiple would favour the first letters: they are thrown
         * away. */
        if (byte < 256 / LETTERS * LETTERS)
            out[used++] = letters[byte % LETTERS];
    }
    out[used] = '\0';
}
