/*
 * What the tests of the registry start from: small ones, in memory of exactly their size.
 */
#ifndef HF_TEST_UNIT_REGISTRY_FIXTURE_H
#define HF_TEST_UNIT_REGISTRY_FIXTURE_H

#include <stdlib.h>
#include <string.h>

#include "core/registry.h"

/* A breaker that three failures in a row open for a second; a bulkhead of two, without a queue. */
static inline struct registry_config small_config(uint32_t breakers, uint32_t bulkheads)
{
    struct registry_config config = registry_config_default();
    config.entries_max[REGISTRY_BREAKER] = breakers;
    config.entries_max[REGISTRY_BULKHEAD] = bulkheads;
    config.profiles_max = 4;
    config.changes_max = 50;
    config.idle_ns = HF_SEC(60);
    config.seed = 7;
    config.breaker.failure_threshold = 3;
    config.breaker.open_ns = HF_SEC(1);
    config.breaker.history = 5;
    config.bulkhead.limit = 2;
    config.bulkhead.queue_max = 1;
    return config;
}

static inline struct registry *new_registry(const struct registry_config *config, int64_t now_ns)
{
    void *memory = NULL;
    if (registry_config_check(config, NULL) != HF_OK ||
        posix_memalign(&memory, REGISTRY_ALIGN, registry_size(config)) != 0)
        abort();
    memset(memory, 0x5a, registry_size(config)); /* nothing may rely on what was there */
    return registry_init(memory, config, now_ns);
}

static inline struct registry_entry *pin(struct registry *r, enum registry_kind kind,
                                         const char *name, int64_t now_ns)
{
    return registry_pin(r, kind, sv_from_cstr(name), now_ns);
}

/* Makes it, if need be, and lets it go. */
static inline void touch(struct registry *r, enum registry_kind kind, const char *name,
                         int64_t now_ns)
{
    registry_unpin(r, pin(r, kind, name, now_ns), now_ns);
}

static inline bool is_there(struct registry *r, enum registry_kind kind, const char *name)
{
    return registry_find(r, kind, sv_from_cstr(name)) != NULL;
}

static inline void call(struct breaker *breaker, enum outcome_verdict verdict, int64_t now_ns)
{
    struct breaker_permit permit;
    if (breaker_admit(breaker, now_ns, &permit))
        breaker_record(breaker, &permit, verdict, now_ns);
}

static inline void open_it(struct breaker *breaker, int64_t now_ns)
{
    for (int i = 0; i < 3; i++)
        call(breaker, OUTCOME_VERDICT_FAILURE, now_ns);
}

#endif
