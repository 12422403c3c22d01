#include "base/secret.h"

#include <string.h>

enum hf_rc secret_set(struct secret *secret, struct sv text, struct hf_err *err)
{
    if (text.size > SECRET_SIZE_MAX)
        return err_set(err, HF_RC_LIMIT, "22001",
                       "the secret has %zu bytes, at most %d are allowed", text.size,
                       SECRET_SIZE_MAX);
    if (sv_find(text, '\0') < text.size)
        return err_set(err, HF_RC_INVALID, "22023", "the secret contains a zero byte");
    secret_wipe(secret);
    if (text.size > 0)
        memcpy(secret->data, text.data, text.size);
    secret->size = text.size;
    return HF_OK;
}

void secret_wipe(struct secret *secret)
{
    /* Writes through a volatile pointer must happen, even though nobody reads them. */
    volatile char *bytes = (volatile char *)secret;
    for (size_t i = 0; i < sizeof *secret; i++)
        bytes[i] = 0;
}

const char *secret_print(const struct secret *secret)
{
    return secret_is_set(secret) ? SECRET_MASK : "";
}

bool secret_eq(const struct secret *a, const struct secret *b)
{
    /* All of the buffer: the text holds no zero byte and everything behind it is zero, so this
     * compares the sizes too. Volatile, so that the loop is not turned into a memcmp, which stops
     * at the first difference. */
    const volatile char *x = a->data, *y = b->data;
    unsigned difference = 0;
    for (size_t i = 0; i < sizeof a->data; i++)
        difference |= (unsigned char)(x[i] ^ y[i]);
    return difference == 0;
}
