/*
 * Parameters, made small enough to be passed by value. Numbers go as text without a type: then the
 * server takes them for whatever the place wants, int or numeric or bigint.
 */
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "client/values.h"
#include "holdfast.h"

#define NULL_VALUE (-1)

struct hf_param hf_null(void)
{
    return (struct hf_param){.length = NULL_VALUE};
}

struct hf_param hf_text(const char *value)
{
    if (value == NULL)
        return hf_null();
    return (struct hf_param){.value = value};
}

struct hf_param hf_int(int64_t value)
{
    struct hf_param param = {0};
    char digits[20]; /* the last one first: snprintf() costs as much as all else that is ours */
    size_t count = 0;
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do
        digits[count++] = (char)('0' + left % 10);
    while ((left /= 10) > 0);
    char *out = param.small;
    if (value < 0)
        *out++ = '-';
    while (count > 0)
        *out++ = digits[--count];
    return param;
}

struct hf_param hf_double(double value)
{
    struct hf_param param = {0};
    /* PostgreSQL's words for what is no number; else as many digits as bring it back unchanged. */
    if (isnan(value))
        snprintf(param.small, sizeof param.small, "NaN");
    else if (isinf(value))
        snprintf(param.small, sizeof param.small, "%sInfinity", value < 0 ? "-" : "");
    else {
        /* The program's locale may have a comma for the point. That of C is static in glibc. */
        locale_t before = uselocale(newlocale(LC_ALL_MASK, "C", (locale_t)0));
        snprintf(param.small, sizeof param.small, "%.*g", DBL_DECIMAL_DIG, value);
        uselocale(before);
    }
    return param;
}

struct hf_param hf_bool(bool value)
{
    struct hf_param param = {0};
    param.small[0] = value ? 't' : 'f';
    return param;
}

struct hf_param hf_bytes(const void *value, size_t length)
{
    if (value == NULL && length > 0)
        return hf_null();
    if (length > INT32_MAX) /* more than a message can carry: the server will say so */
        length = INT32_MAX;
    return (struct hf_param){
        .type = VALUE_BYTEA,
        .format = HF_BINARY,
        .length = (int32_t)length,
        .value = value,
    };
}
