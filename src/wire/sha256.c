#include "wire/sha256.h"

#include <string.h>

#include "wire/bytes.h"

/* The first 32 bits of the fractional parts of the square roots of the first 8 primes ... */
static const uint32_t initial[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

/* ... and of the cube roots of the first 64. */
static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate_right(uint32_t x, unsigned bits)
{
    return x >> bits | x << (32 - bits);
}

/* One round of section 6.2.2, with the letters of the standard. Instead of moving all eight words
 * on, the caller names them in another order each time, so that they stay in registers. */
#define ROUND(a, b, c, d, e, f, g, h, at)                                                          \
    do {                                                                                           \
        uint32_t added = (h) + constants[i + (at)] + w[(i + (at)) & 15] +                          \
                         (rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25)) +        \
                         ((g) ^ ((e) & ((f) ^ (g))));                                              \
        (d) += added;                                                                              \
        (h) = added + (rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22)) +           \
              (((a) & (b)) | ((c) & ((a) | (b))));                                                 \
    } while (0)

/* The next 16 words of the message schedule, in place of the last ones. */
static void extend(uint32_t w[16])
{
    for (unsigned i = 0; i < 16; i++) {
        uint32_t x = w[(i + 1) & 15], y = w[(i + 14) & 15];
        w[i] += (rotate_right(x, 7) ^ rotate_right(x, 18) ^ x >> 3) + w[(i + 9) & 15] +
                (rotate_right(y, 17) ^ rotate_right(y, 19) ^ y >> 10);
    }
}

static void compress(uint32_t words[8], const char *block)
{
    uint32_t w[16];
    uint32_t a = words[0], b = words[1], c = words[2], d = words[3];
    uint32_t e = words[4], f = words[5], g = words[6], h = words[7];
    for (size_t i = 0; i < 16; i++)
        w[i] = bytes_u32(block + 4 * i);
    for (unsigned i = 0; i < 64; i += 8) {
        if (i >= 16 && i % 16 == 0)
            extend(w);
        ROUND(a, b, c, d, e, f, g, h, 0);
        ROUND(h, a, b, c, d, e, f, g, 1);
        ROUND(g, h, a, b, c, d, e, f, 2);
        ROUND(f, g, h, a, b, c, d, e, 3);
        ROUND(e, f, g, h, a, b, c, d, 4);
        ROUND(d, e, f, g, h, a, b, c, 5);
        ROUND(c, d, e, f, g, h, a, b, 6);
        ROUND(b, c, d, e, f, g, h, a, 7);
    }
    const uint32_t after[8] = {a, b, c, d, e, f, g, h};
    for (size_t i = 0; i < 8; i++)
        words[i] += after[i];
}

static void write_words(const uint32_t words[8], char out[SHA256_SIZE])
{
    for (size_t i = 0; i < 8; i++)
        bytes_put_u32(out + 4 * i, words[i]);
}

void sha256_begin(struct sha256 *hash)
{
    memcpy(hash->words, initial, sizeof initial);
    hash->size = 0;
}

void sha256_add(struct sha256 *hash, struct sv bytes)
{
    size_t held = hash->size % SHA256_BLOCK;
    hash->size += bytes.size;
    if (held > 0 && bytes.size >= SHA256_BLOCK - held) {
        memcpy(hash->block + held, bytes.data, SHA256_BLOCK - held);
        compress(hash->words, hash->block);
        bytes = sv_drop(bytes, SHA256_BLOCK - held);
        held = 0;
    }
    for (; bytes.size >= SHA256_BLOCK; bytes = sv_drop(bytes, SHA256_BLOCK))
        compress(hash->words, bytes.data);
    if (bytes.size > 0)
        memcpy(hash->block + held, bytes.data, bytes.size);
}

/* What stands behind the last byte: a bit, zeros, and the number of bits before them. */
static void finish(struct sha256 *hash, char out[SHA256_SIZE])
{
    size_t held = hash->size % SHA256_BLOCK;
    hash->block[held++] = (char)0x80;
    memset(hash->block + held, 0, SHA256_BLOCK - held);
    if (held > SHA256_BLOCK - 8) {
        compress(hash->words, hash->block);
        memset(hash->block, 0, SHA256_BLOCK);
    }
    bytes_put_u32(hash->block + SHA256_BLOCK - 8, (uint32_t)(hash->size >> 29));
    bytes_put_u32(hash->block + SHA256_BLOCK - 4, (uint32_t)(hash->size << 3));
    compress(hash->words, hash->block);
    write_words(hash->words, out);
}

void sha256_end(struct sha256 *hash, char out[SHA256_SIZE])
{
    finish(hash, out);
    bytes_wipe(hash, sizeof *hash);
}

void sha256(struct sv bytes, char out[SHA256_SIZE])
{
    struct sha256 hash;
    sha256_begin(&hash);
    sha256_add(&hash, bytes);
    sha256_end(&hash, out);
}

void hmac_key_init(struct hmac_key *key, struct sv secret)
{
    char block[SHA256_BLOCK] = {0};
    if (secret.size > SHA256_BLOCK)
        sha256(secret, block);
    else if (secret.size > 0)
        memcpy(block, secret.data, secret.size);
    memcpy(key->inner, initial, sizeof initial);
    memcpy(key->outer, initial, sizeof initial);
    for (size_t i = 0; i < sizeof block; i++)
        block[i] ^= 0x36;
    compress(key->inner, block);
    for (size_t i = 0; i < sizeof block; i++)
        block[i] ^= 0x36 ^ 0x5c;
    compress(key->outer, block);
    bytes_wipe(block, sizeof block);
}

struct hmac hmac_begin(const struct hmac_key *key)
{
    struct hmac hmac = {.inner.size = SHA256_BLOCK};
    memcpy(hmac.inner.words, key->inner, sizeof key->inner);
    memcpy(hmac.outer, key->outer, sizeof key->outer);
    return hmac;
}

void hmac_add(struct hmac *hmac, struct sv bytes)
{
    sha256_add(&hmac->inner, bytes);
}

void hmac_end(struct hmac *hmac, char out[SHA256_SIZE])
{
    char digest[SHA256_SIZE];
    finish(&hmac->inner, digest);
    memcpy(hmac->inner.words, hmac->outer, sizeof hmac->outer);
    hmac->inner.size = SHA256_BLOCK;
    sha256_add(&hmac->inner, sv_from(digest, sizeof digest));
    finish(&hmac->inner, out);
    bytes_wipe(hmac, sizeof *hmac);
    bytes_wipe(digest, sizeof digest);
}

void hmac(struct sv secret, struct sv bytes, char out[SHA256_SIZE])
{
    struct hmac_key key;
    hmac_key_init(&key, secret);
    struct hmac code = hmac_begin(&key);
    hmac_add(&code, bytes);
    hmac_end(&code, out);
    bytes_wipe(&key, sizeof key);
}

void hmac_step(const struct hmac_key *key, const char bytes[SHA256_SIZE], char out[SHA256_SIZE])
{
    /* Of both hashes the second and last block: 32 bytes, the end mark, and the size of 96 bytes
     * in bits. */
    char block[SHA256_BLOCK] = {0};
    uint32_t words[8];
    block[SHA256_SIZE] = (char)0x80;
    bytes_put_u32(block + SHA256_BLOCK - 4, 8 * (SHA256_BLOCK + SHA256_SIZE));
    memcpy(block, bytes, SHA256_SIZE);
    memcpy(words, key->inner, sizeof words);
    compress(words, block);
    write_words(words, block);
    memcpy(words, key->outer, sizeof words);
    compress(words, block);
    write_words(words, out);
}
