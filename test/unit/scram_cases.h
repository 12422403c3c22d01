/*
 * What the tests of SCRAM share: one password with its verifier, and whole exchanges, made by an
 * implementation of its own (Python's hashlib and hmac, following RFC 5802).
 */
#ifndef HF_TEST_UNIT_SCRAM_CASES_H
#define HF_TEST_UNIT_SCRAM_CASES_H

#include <string.h>

#include "unit.h"
#include "wire/base64.h"
#include "wire/scram.h"

#define CASE_PASSWORD  "pencil"
#define CASE_SALT_TEXT "W22ZaJ0SNY7soEsUEjb6gQ=="
#define CASE_VERIFIER                                                                              \
    "SCRAM-SHA-256$4096:" CASE_SALT_TEXT "$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="           \
    ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
#define CASE_CLIENT_RANDOM "abcdefghijklmnopqr"
#define CASE_SERVER_RANDOM "ABCDEFGHIJKLMNOPQR"
#define CASE_NONCE         "YWJjZGVmZ2hpamtsbW5vcHFyQUJDREVGR0hJSktMTU5PUFFS"
#define CASE_FIRST         "n=,r=YWJjZGVmZ2hpamtsbW5vcHFy"
#define CASE_CHALLENGE     "r=" CASE_NONCE ",s=" CASE_SALT_TEXT ",i=4096"

static const struct scram_case {
    char flag; /* of the GS2 header; p with a binding of the bytes 0 to 31 */
    const char *first, *final, *verify;
} scram_cases[] = {
    {'n', "n,," CASE_FIRST,
     "c=biws,r=" CASE_NONCE ",p=jM5I0Irtyx3rOsmPpTmliBoOyusz5UU51y6q4x8hNHo=",
     "v=e6zOHJ/TT649ts1it6qOb52kaZzQe7bk5O7qgRrkRyk="},
    {'y', "y,," CASE_FIRST,
     "c=eSws,r=" CASE_NONCE ",p=c87wApEC7FZidNSnw/RJR2OYFNb1+rgaX8JcedsDwEA=",
     "v=lzCr5n+Po+q7CkiQM5M1kcwAC8rhO8eh/AgfLWQcG8M="},
    {'p', "p=tls-server-end-point,," CASE_FIRST,
     "c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=,r=" CASE_NONCE
     ",p=dwC3+unpwIR+gpDgsYMQnSuO0//ndAeXkGGUjrIY8MI=",
     "v=NiFHJBISkOYjIvUyJcgPZYKE1xetv7gBYJEZ/GQNMX0="},
};

enum {
    SCRAM_CASES = sizeof scram_cases / sizeof scram_cases[0]
};

static inline struct scram_binding case_binding(void)
{
    struct scram_binding binding = {.size = 32};
    for (size_t i = 0; i < binding.size; i++)
        binding.data[i] = (char)i;
    return binding;
}

static inline struct scram_keys case_keys(void)
{
    struct scram_stretch stretch;
    struct scram_keys keys;
    char salt[16];
    size_t size = 0;
    assert_true(base64_decode(SV(CASE_SALT_TEXT), salt, sizeof salt, &size));
    scram_stretch_begin(&stretch, SV(CASE_PASSWORD), sv_from(salt, size), 4096);
    assert_true(scram_stretch_run(&stretch, UINT32_MAX));
    scram_stretch_end(&stretch, &keys);
    return keys;
}

static inline struct scram_verifier case_verifier(void)
{
    struct scram_verifier verifier;
    assert_int_equal(scram_verifier_parse(&verifier, SV(CASE_VERIFIER), NULL), HF_OK);
    return verifier;
}

#endif
