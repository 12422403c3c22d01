/*
 * Levels of degradation as callers see them: the watcher has the ladder (core/degrade.h in
 * core/topology.h) and publishes the level in its snapshots.
 */
#include "base/ns.h"
#include "client/cache.h"
#include "client/db.h"
#include "client/errors.h"
#include "client/record.h"
#include "core/degrade.h"
#include "os/clock.h"
#include "pg/watcher.h"

/* A pin is an order to the watcher's thread, which carries it out at once. */
#define PIN_NS_MAX HF_SEC(1)

_Static_assert((int)HF_LEVEL_FULL == (int)DEGRADE_FULL &&
                   (int)HF_LEVEL_READ_ONLY == (int)DEGRADE_READ_ONLY &&
                   (int)HF_LEVEL_CACHED_ONLY == (int)DEGRADE_CACHED_ONLY &&
                   (int)HF_LEVEL_HEALTH_ONLY == (int)DEGRADE_HEALTH_ONLY &&
                   (int)HF_LEVEL_MAINTENANCE == (int)DEGRADE_MAINTENANCE,
               "the public levels are the ladder's");

/* FULL until the watcher has published something: all is taken to be well. */
static int level_now(struct hf_db *db, uint64_t *seen)
{
    struct snapshot view;
    view.level = DEGRADE_FULL;
    watcher_refresh(db->watcher, seen, &view);
    return view.level;
}

int hf_level(struct hf_db *db)
{
    uint64_t seen = 0;
    if (db_enter(db, NULL) != HF_SUCCESS)
        return HF_LEVEL_FULL;
    const int level = level_now(db, &seen);
    db_leave(db);
    return level;
}

const char *hf_level_name(int level)
{
    return level >= 0 && level < DEGRADE_LEVELS ? degrade_level_name((enum degrade_level)level)
                                                : "unknown";
}

int hf_level_force(struct hf_db *db, int level, int64_t for_ms, struct hf_error *err)
{
    int code = db_enter(db, err);
    if (code != HF_SUCCESS)
        return code;
    if (level < 0 || level >= DEGRADE_LEVELS || for_ms < 0 || for_ms > INT64_MAX / HF_MS(2)) {
        code = error_set(err, HF_E_USAGE,
                         "the level is %d for %lld ms, and 0 to %d for 0 ms or more was expected",
                         level, (long long)for_ms, DEGRADE_LEVELS - 1);
    } else {
        uint64_t seen = 0;
        const int64_t now_ns = clock_now();
        watcher_pin(db->watcher, (enum degrade_level)level,
                    for_ms == 0 ? HF_NEVER : now_ns + HF_MS(for_ms));
        /* Whoever forces a level counts on it when the call returns. */
        while (level_now(db, &seen) != level && clock_now() < now_ns + PIN_NS_MAX)
            watcher_wait(db->watcher, seen, now_ns + PIN_NS_MAX);
    }
    db_leave(db);
    return code;
}

void hf_level_release(struct hf_db *db)
{
    if (db_enter(db, NULL) != HF_SUCCESS)
        return;
    watcher_unpin(db->watcher);
    db_leave(db);
}

/* ---- what is answered without a server ---- */

int hf_fallback_set(struct hf_db *db, const char *operation, hf_rows_fallback *fallback, void *arg,
                    struct hf_error *err)
{
    int code = db_enter(db, err);
    if (code != HF_SUCCESS)
        return code;
    code = fallbacks_set(&db->record->fallbacks, operation, fallback, arg, err);
    db_leave(db);
    return code;
}

void hf_cache_clear(struct hf_db *db, const char *operation)
{
    if (db_enter(db, NULL) != HF_SUCCESS)
        return;
    if (db->cache != NULL)
        cache_clear(db->cache, sv_from_cstr(operation));
    db_leave(db);
}
