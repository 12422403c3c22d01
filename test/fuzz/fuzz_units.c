/*
 * Quantities from any text. The first byte chooses the parser, the rest is the text.
 *
 * Checked beside the absence of crashes: what is accepted is in range, prints to a text that reads
 * back to the same number, and that text prints as itself; what is refused says so and leaves the
 * result alone.
 */
#include <string.h>

#include "base/units.h"
#include "fuzz.h"

struct quantity {
    enum hf_rc (*parse)(struct sv text, int64_t *out, struct hf_err *err);
    const char *(*print)(int64_t value, char out[UNITS_TEXT_MAX]);
    int64_t min;
};

static enum hf_rc parse_bool(struct sv text, int64_t *out, struct hf_err *err)
{
    bool value = false;
    enum hf_rc rc = units_parse_bool(text, &value, err);
    if (rc == HF_OK)
        *out = value;
    return rc;
}

static const char *print_bool(int64_t value, char out[UNITS_TEXT_MAX])
{
    snprintf(out, UNITS_TEXT_MAX, "%s", units_print_bool(value != 0));
    return out;
}

static const struct quantity quantities[] = {
    {units_parse_duration, units_print_duration, 0},
    {units_parse_size, units_print_size, 0},
    {units_parse_percent, units_print_percent, 0},
    {units_parse_int, units_print_int, INT64_MIN},
    {parse_bool, print_bool, 0},
};

static void check_refusal(const struct hf_err *err, enum hf_rc rc, int64_t result)
{
    FUZZ_CHECK(rc == HF_RC_INVALID && err->rc == rc);
    FUZZ_CHECK(memchr(err->message, '\0', sizeof err->message) != NULL);
    FUZZ_CHECK(memchr(err->hint, '\0', sizeof err->hint) != NULL);
    FUZZ_CHECK(strlen(err->message) > 0);
    FUZZ_CHECK(result == -7);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const struct quantity *quantity =
        &quantities[data[0] % (sizeof quantities / sizeof quantities[0])];
    struct sv text = sv_from((const char *)data + 1, size - 1);
    struct hf_err err = {0};
    int64_t value = -7, back = -7;
    enum hf_rc rc = quantity->parse(text, &value, &err);
    if (rc != HF_OK) {
        check_refusal(&err, rc, value);
        return 0;
    }
    FUZZ_CHECK(value >= quantity->min);
    char printed[UNITS_TEXT_MAX], again[UNITS_TEXT_MAX];
    const char *first = quantity->print(value, printed);
    FUZZ_CHECK(quantity->parse(sv_from_cstr(first), &back, &err) == HF_OK);
    FUZZ_CHECK(back == value);
    FUZZ_CHECK(strcmp(first, quantity->print(back, again)) == 0);
    return 0;
}
