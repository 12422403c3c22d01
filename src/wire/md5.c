#include "wire/md5.h"

#include <stdint.h>
#include <string.h>

#include "wire/bytes.h"

#define BLOCK 64

/* floor(2^32 * abs(sin(i + 1))), i in radians: section 3.4 of the RFC. */
static const uint32_t constants[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};

/* By how much each step of a round rotates, and which word it takes: first and distance. */
static const uint8_t rotations[4][4] = {
    {7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
static const uint8_t walks[4][2] = {{0, 1}, {1, 5}, {5, 3}, {0, 7}};

static uint32_t mix(unsigned round, uint32_t b, uint32_t c, uint32_t d)
{
    switch (round) {
    case 0:
        return (b & c) | (~b & d);
    case 1:
        return (b & d) | (c & ~d);
    case 2:
        return b ^ c ^ d;
    default:
        return c ^ (b | ~d);
    }
}

static void compress(uint32_t words[4], const char block[BLOCK])
{
    uint32_t a = words[0], b = words[1], c = words[2], d = words[3];
    for (unsigned i = 0; i < 64; i++) {
        unsigned round = i / 16, bits = rotations[round][i % 4];
        size_t at = 4 * (size_t)((walks[round][0] + walks[round][1] * i) % 16);
        uint32_t sum = a + mix(round, b, c, d) + bytes_u32_little(block + at) + constants[i];
        a = d;
        d = c;
        c = b;
        b += sum << bits | sum >> (32 - bits);
    }
    words[0] += a;
    words[1] += b;
    words[2] += c;
    words[3] += d;
}

void md5_hex(const struct sv *pieces, size_t count, char out[MD5_HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    uint32_t words[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    char block[BLOCK], digest[16];
    uint64_t size = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < pieces[i].size; j++) {
            block[size++ % BLOCK] = pieces[i].data[j];
            if (size % BLOCK == 0)
                compress(words, block);
        }
    size_t held = size % BLOCK;
    block[held++] = (char)0x80;
    memset(block + held, 0, BLOCK - held);
    if (held > BLOCK - 8) {
        compress(words, block);
        memset(block, 0, BLOCK);
    }
    bytes_put_u32_little(block + BLOCK - 8, (uint32_t)(size << 3));
    bytes_put_u32_little(block + BLOCK - 4, (uint32_t)(size >> 29));
    compress(words, block);
    for (size_t i = 0; i < 4; i++)
        bytes_put_u32_little(digest + 4 * i, words[i]);
    for (size_t i = 0; i < sizeof digest; i++) {
        out[2 * i] = digits[(unsigned char)digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    bytes_wipe(block, sizeof block);
}
