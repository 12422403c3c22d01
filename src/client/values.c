#include "client/values.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS_SAFE 18 /* so many, with a sign or without, are below 2^63 */

static uint64_t big_endian(const struct value *value)
{
    uint64_t number = 0;
    for (size_t i = 0; i < value->size; i++)
        number = number << 8 | (uint8_t)value->bytes[i];
    return number;
}

static bool has_size(const struct value *value, size_t size)
{
    return value->size == size;
}

/* False: no binary integer. */
static bool binary_int(const struct value *value, int64_t *out)
{
    if (value->type == VALUE_INT8 && has_size(value, 8))
        *out = (int64_t)big_endian(value);
    else if (value->type == VALUE_INT4 && has_size(value, 4))
        *out = (int32_t)big_endian(value);
    else if (value->type == VALUE_INT2 && has_size(value, 2))
        *out = (int16_t)big_endian(value);
    else if (value->type == VALUE_OID && has_size(value, 4))
        *out = (uint32_t)big_endian(value);
    else if (value->type == VALUE_BOOL && has_size(value, 1))
        *out = value->bytes[0] != 0;
    else
        return false;
    return true;
}

/* False: no binary floating point number. */
static bool binary_double(const struct value *value, double *out)
{
    if (value->type == VALUE_FLOAT8 && has_size(value, 8)) {
        uint64_t bits = big_endian(value);
        memcpy(out, &bits, sizeof *out);
        return true;
    }
    if (value->type == VALUE_FLOAT4 && has_size(value, 4)) {
        uint32_t bits = (uint32_t)big_endian(value);
        float number;
        memcpy(&number, &bits, sizeof number);
        *out = (double)number;
        return true;
    }
    return false;
}

/* What text begins with a number is that number, as far as it is one: "12.5", "1e3", "NaN". */
static double text_double(const struct value *value)
{
    char *end;
    /* In the program's own locale the fraction may follow a comma. That of C is static in glibc:
     * asking for it allocates nothing. */
    double number = strtod_l(value->bytes, &end, newlocale(LC_ALL_MASK, "C", (locale_t)0));
    return end != value->bytes && *end == '\0' ? number : 0.0;
}

static int64_t int_of_double(double number)
{
    /* 2^63 is exact as a double, and the first that does not fit. */
    return number >= -9223372036854775808.0 && number < 9223372036854775808.0 ? (int64_t)number : 0;
}

/* Plain decimal digits that cannot overflow, as nearly all are: strtoll() by itself takes a tenth
 * of what the library costs in a query, to be ready for locales. False: none, ask strtoll(). */
static bool digits_int(const struct value *value, int64_t *out)
{
    const char *at = value->bytes;
    bool is_negative = *at == '-';
    int64_t number = 0;
    if (is_negative)
        ++at;
    if (*at == '\0' || value->size > DIGITS_SAFE)
        return false;
    for (; *at >= '0' && *at <= '9'; at++)
        number = number * 10 + (*at - '0');
    *out = is_negative ? -number : number;
    return *at == '\0';
}

static int64_t text_int(const struct value *value)
{
    int64_t plain;
    if (digits_int(value, &plain))
        return plain;
    char *end;
    errno = 0;
    long long number = strtoll(value->bytes, &end, 10);
    if (end == value->bytes)
        return 0;
    if (*end == '\0')
        return errno == 0 ? number : 0;
    return int_of_double(text_double(value));
}

int64_t value_int(const struct value *value)
{
    int64_t whole;
    double number;
    if (!value->is_binary)
        return value->type == VALUE_BOOL ? value->bytes[0] == 't' : text_int(value);
    if (binary_int(value, &whole))
        return whole;
    return binary_double(value, &number) ? int_of_double(number) : 0;
}

double value_double(const struct value *value)
{
    int64_t whole;
    double number;
    if (!value->is_binary)
        return value->type == VALUE_BOOL ? (double)(value->bytes[0] == 't') : text_double(value);
    if (binary_double(value, &number))
        return number;
    return binary_int(value, &whole) ? (double)whole : 0.0;
}

static bool is_true_text(const struct value *value)
{
    return strcmp(value->bytes, "t") == 0 || strcmp(value->bytes, "true") == 0;
}

bool value_bool(const struct value *value)
{
    if (!value->is_binary && is_true_text(value))
        return true;
    double number = value_double(value);
    return !isnan(number) && (number < 0.0 || number > 0.0);
}
