/*
 * A connection string of any text, as a whole configuration.
 *
 * Checked beside the absence of crashes and leaks: who may come in is what config_url.h promises.
 * Without a file that says so, clients are trusted only on loopback, and then only if the string
 * says so or there is nothing of this process to lend; else a role has a password.
 */
#include <stdlib.h>
#include <string.h>

#include "config/config_url.h"
#include "fuzz.h"

#define TEXT_MAX 5000

static void check_config(const struct proxy_config *config, const char *text)
{
    const struct proxy_settings *proxy = &config->proxy;
    FUZZ_CHECK(config->database_count == 1 && config->databases[0].host_count > 0);
    if (proxy->auth_file[0] != '\0' || proxy->auth_hba_file[0] != '\0')
        return;
    if (proxy->auth_type != PROXY_AUTH_TRUST) {
        FUZZ_CHECK(proxy->auth_type == PROXY_AUTH_CERT || proxy->auth_type == PROXY_AUTH_PEER ||
                   config->role_count == 2);
        return;
    }
    for (uint32_t i = 0; i < proxy->listener_count; i++)
        FUZZ_CHECK(proxy_host_is_local(&proxy->listeners[i]));
    const bool has_identity =
        config->databases[0].hosts[0].is_unix || config->server_tls.cert_file[0] != '\0';
    FUZZ_CHECK(!has_identity || strstr(text, "auth_type") != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[TEXT_MAX];
    struct mem mem;
    struct hf_err err = {0};
    struct proxy_config *config = NULL;
    if (size >= sizeof text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    /* No password file of the machine has a say. */
    setenv("HOME", "/nonexistent", 1); /* NOLINT(concurrency-mt-unsafe): there is one thread */
    mem_init(&mem, 0);
    if (config_from_url(&config, text, &mem, &err) == HF_OK)
        check_config(config, text);
    else
        FUZZ_CHECK(config == NULL && err.rc != HF_OK && err.message[0] != '\0');
    proxy_config_free(config);
    mem_deinit(&mem);
    return 0;
}
