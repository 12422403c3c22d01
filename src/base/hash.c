#include "base/hash.h"

#include <stddef.h>

/* The four words that the paper calls v0 .. v3. */
struct state {
    uint64_t a, b, c, d;
};

static uint64_t rotate_left(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

/* SipRound, figure 2.1 of the paper: the left half, the right half, then the halves crossed. */
static void sip_round(struct state *v)
{
    v->a += v->b;
    v->b = rotate_left(v->b, 13) ^ v->a;
    v->a = rotate_left(v->a, 32);
    v->c += v->d;
    v->d = rotate_left(v->d, 16) ^ v->c;
    v->a += v->d;
    v->d = rotate_left(v->d, 21) ^ v->a;
    v->c += v->b;
    v->b = rotate_left(v->b, 17) ^ v->c;
    v->c = rotate_left(v->c, 32);
}

/* One compression round for each word: the 1 of SipHash-1-3. */
static void absorb(struct state *v, uint64_t word)
{
    v->d ^= word;
    sip_round(v);
    v->a ^= word;
}

/* `count` <= 8 bytes as a little-endian number. Compilers make one load of eight. */
static uint64_t read_word(const char *data, size_t count)
{
    uint64_t word = 0;
    for (size_t i = 0; i < count; i++)
        word |= (uint64_t)(unsigned char)data[i] << (8 * i);
    return word;
}

uint64_t hash_bytes(const struct hash_key *key, struct sv bytes)
{
    /* The constants spell "somepseudorandomlygeneratedbytes". */
    struct state v = {
        key->k0 ^ UINT64_C(0x736f6d6570736575),
        key->k1 ^ UINT64_C(0x646f72616e646f6d),
        key->k0 ^ UINT64_C(0x6c7967656e657261),
        key->k1 ^ UINT64_C(0x7465646279746573),
    };
    size_t done = 0;
    for (; bytes.size - done >= 8; done += 8)
        absorb(&v, read_word(bytes.data + done, 8));
    /* The last word holds what is left, and the length in its top byte. */
    uint64_t last = (uint64_t)bytes.size << 56;
    if (done < bytes.size)
        last |= read_word(bytes.data + done, bytes.size - done);
    absorb(&v, last);
    v.c ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(&v);
    return v.a ^ v.b ^ v.c ^ v.d;
}
