#include "wire/base64.h"

#include <stdint.h>

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct sv bytes, char *out)
{
    for (size_t at = 0; at < bytes.size; at += 3, out += 4) {
        struct sv group = sv_take(sv_drop(bytes, at), 3);
        uint32_t bits = 0;
        for (size_t i = 0; i < 3; i++)
            bits = bits << 8 | (i < group.size ? (unsigned char)group.data[i] : 0U);
        for (size_t i = 0; i < 4; i++)
            out[i] = i <= group.size ? letters[bits >> (18 - 6 * i) & 63] : '=';
    }
}

/* The value of a letter, or 64. Secrets are decoded too, but their length is all that the time
 * this takes could tell: all letters are looked at in the same way. */
static uint32_t value_of(char c)
{
    uint32_t value = 64;
    for (uint32_t i = 0; i < 64; i++)
        value = letters[i] == c ? i : value;
    return value;
}

bool base64_decode(struct sv text, char *out, size_t room, size_t *size)
{
    size_t padding = 0;
    while (padding < 2 && padding < text.size && text.data[text.size - 1 - padding] == '=')
        padding++;
    size_t length = text.size / 4 * 3;
    if (text.size % 4 != 0 || length - padding > room)
        return false;
    for (size_t at = 0; at < text.size; at += 4) {
        size_t count = at + 4 == text.size ? 3 - padding : 3;
        uint32_t bits = 0;
        for (size_t i = 0; i < 4; i++) {
            uint32_t value = i <= count ? value_of(text.data[at + i]) : 0;
            if (value == 64)
                return false;
            bits = bits << 6 | value;
        }
        for (size_t i = 0; i < 3; i++) {
            char byte = (char)(bits >> (16 - 8 * i));
            if (i < count)
                *out++ = byte;
            else if (byte != 0)
                return false;
        }
    }
    *size = length - padding;
    return true;
}
