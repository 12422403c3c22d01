/*
 * Name maps of any text, and names that ask them.
 *
 * Checked beside the absence of crashes and leaks: the same question gets the same answer; without
 * a map only the same name fits; a map that has no line lets nobody through; what is refused is
 * blamed on a line.
 */
#include <string.h>

#include "fuzz.h"
#include "proxy/ident.h"

static void ask_all(const struct ident *ident)
{
    static const char *const names[] = {"", "a", "m", "bob", "bob@example.com", "Ann Smith", "\\1"};
    static const char *const maps[] = {"", "m", "a", "staff", "none at all"};
    for (size_t m = 0; m < sizeof maps / sizeof maps[0]; m++) {
        const struct sv map = sv_from_cstr(maps[m]);
        for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
            const struct sv name = sv_from_cstr(names[n]);
            const struct sv user = sv_from_cstr(names[(n + m) % 7]);
            const bool fits = ident_match(ident, map, name, user);
            FUZZ_CHECK(ident_match(ident, map, name, user) == fits);
            FUZZ_CHECK(!fits || (name.size > 0 && user.size > 0));
            FUZZ_CHECK(map.size > 0 || fits == (name.size > 0 && sv_eq(name, user)));
            FUZZ_CHECK(map.size == 0 || !fits || ident_has(ident, map));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mem mem;
    struct ident *ident = NULL;
    struct hf_err err = {0};
    mem_init(&mem, 0);
    if (ident_new(&ident, sv_from((const char *)data, size), &mem, &err) == HF_OK) {
        ask_all(ident);
    } else {
        FUZZ_CHECK(ident == NULL && err.message[0] != '\0');
        FUZZ_CHECK(strncmp(err.message, "line ", 5) == 0 || size > IDENT_TEXT_MAX);
    }
    ident_free(ident);
    mem_deinit(&mem);
    return 0;
}
