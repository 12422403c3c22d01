#include "unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/hist.h"
#include "base/hist_mt.h"
#include "base/rng.h"

/* Static, because nineteen kilobytes each are much for a stack. */
static struct hist a, b, both, again;
static struct hist_mt shared;

/* A duration of any magnitude up to what the histogram tells apart. */
static int64_t random_ns(struct rng *rng)
{
    return (int64_t)(rng_u64(rng) >> (64 - HIST_RANGE_BITS) >> rng_below(rng, HIST_RANGE_BITS));
}

static void assert_same(const struct hist *x, const struct hist *y)
{
    assert_memory_equal(x, y, sizeof *x);
}

/* |reported - true| <= true / 128 */
static void assert_close(int64_t reported, int64_t exact)
{
    int64_t error = reported > exact ? reported - exact : exact - reported;
    if (error > exact / 128)
        fail_msg("%lld is reported as %lld", (long long)exact, (long long)reported);
}

static void hist__an_empty_one_reports_zeros(void **state)
{
    (void)state;
    hist_reset(&a);
    struct hist_bucket bucket;
    size_t cursor = 0;
    assert_int_equal(a.count, 0);
    assert_int_equal(hist_min_ns(&a), 0);
    assert_int_equal(hist_max_ns(&a), 0);
    assert_int_equal(hist_mean_ns(&a), 0);
    assert_int_equal(hist_quantile_ns(&a, 0.5), 0);
    assert_false(hist_next(&a, &cursor, &bucket));
}

static void hist__every_bucket_is_narrow_and_joins_the_next(void **state)
{
    (void)state;
    hist_reset(&a);
    for (size_t i = 0; i < HIST_BUCKETS; i++)
        a.buckets[i] = i + 1;
    struct hist_bucket bucket;
    size_t cursor = 0, n = 0;
    int64_t expected_from = 0;
    while (hist_next(&a, &cursor, &bucket)) {
        assert_int_equal(bucket.count, n + 1);
        assert_int_equal(bucket.from_ns, expected_from);
        assert_int_equal(hist_index(bucket.from_ns), n);
        assert_int_equal(hist_index(bucket.last_ns), n);
        if (n < HIST_OVERFLOW) {
            assert_true((bucket.last_ns - bucket.from_ns) * 64 <= bucket.from_ns);
            expected_from = bucket.last_ns + 1;
        }
        n++;
    }
    assert_int_equal(n, HIST_BUCKETS);
    assert_int_equal(expected_from, HIST_RANGE_NS);
    assert_int_equal(bucket.last_ns, INT64_MAX);
    assert_false(hist_next(&a, &cursor, &bucket));
}

static void hist__a_single_duration_is_reported_within_the_stated_error(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 1);
    for (int i = 0; i < 2000; i++) {
        /* A second, larger one, so that minimum and maximum do not make the answer exact. */
        int64_t ns = random_ns(&rng);
        hist_reset(&a);
        hist_record(&a, 0);
        hist_record(&a, ns);
        hist_record(&a, HIST_RANGE_NS);
        assert_close(hist_quantile_ns(&a, 0.5), ns);
    }
    /* The ends of every power of two, where an index goes wrong first. */
    for (int bits = 0; bits < HIST_RANGE_BITS; bits++) {
        for (int64_t delta = -1; delta <= 1; delta++) {
            int64_t ns = (INT64_C(1) << bits) + delta;
            hist_reset(&a);
            hist_record_n(&a, ns, 3);
            hist_record(&a, 0);
            hist_record(&a, HIST_RANGE_NS);
            assert_close(hist_quantile_ns(&a, 0.5), ns);
        }
    }
}

static int compare(const void *x, const void *y)
{
    int64_t p = *(const int64_t *)x, q = *(const int64_t *)y;
    return p < q ? -1 : p > q;
}

static void hist__quantiles_and_mean_agree_with_the_sorted_durations(void **state)
{
    (void)state;
    enum {
        N = 1000
    };
    static int64_t all[N];
    struct rng rng;
    for (uint64_t seed = 0; seed < 20; seed++) {
        rng_init(&rng, seed);
        hist_reset(&a);
        double sum = 0;
        for (int i = 0; i < N; i++) {
            all[i] = random_ns(&rng);
            sum += (double)all[i];
            hist_record(&a, all[i]);
        }
        qsort(all, N, sizeof all[0], compare);
        assert_int_equal(a.count, N);
        assert_int_equal(hist_min_ns(&a), all[0]);
        assert_int_equal(hist_max_ns(&a), all[N - 1]);
        assert_close(hist_mean_ns(&a), (int64_t)(sum / N));
        for (int i = 1; i <= N; i++)
            assert_close(hist_quantile_ns(&a, (double)i / N), all[i - 1]);
        assert_int_equal(hist_quantile_ns(&a, 0), all[0]);
        assert_int_equal(hist_quantile_ns(&a, -1), all[0]);
        assert_int_equal(hist_quantile_ns(&a, 1), all[N - 1]);
        assert_int_equal(hist_quantile_ns(&a, 2), all[N - 1]);
    }
}

static void hist__small_durations_are_exact(void **state)
{
    (void)state;
    hist_reset(&a);
    for (int64_t ns = 1; ns <= 100; ns++)
        hist_record(&a, ns);
    for (int64_t percent = 1; percent <= 100; percent++)
        assert_int_equal(hist_quantile_ns(&a, (double)percent / 100), percent);
    assert_int_equal(hist_mean_ns(&a), 50);
}

static void hist__what_is_out_of_range_is_counted_at_the_ends(void **state)
{
    (void)state;
    hist_reset(&a);
    hist_record(&a, -5);
    assert_int_equal(a.buckets[0], 1);
    assert_int_equal(hist_min_ns(&a), 0);
    assert_int_equal(hist_max_ns(&a), 0);
    hist_reset(&a);
    hist_record_n(&a, INT64_MAX, 1000);
    hist_record(&a, HIST_RANGE_NS);
    hist_record(&a, HIST_RANGE_NS - 1);
    assert_int_equal(a.buckets[HIST_OVERFLOW], 1001);
    assert_int_equal(a.buckets[HIST_OVERFLOW - 1], 1);
    assert_int_equal(hist_max_ns(&a), INT64_MAX);
    assert_int_equal(hist_quantile_ns(&a, 0.5), INT64_MAX);
    hist_reset(&a);
    hist_record_n(&a, INT64_MAX, 3);
    assert_int_equal(hist_mean_ns(&a), INT64_MAX);
}

static void hist__recording_n_times_equals_n_recordings(void **state)
{
    (void)state;
    hist_reset(&a);
    hist_reset(&b);
    hist_record_n(&a, 12345, 0);
    assert_same(&a, &b);
    hist_record_n(&a, 12345, 3);
    for (int i = 0; i < 3; i++)
        hist_record(&b, 12345);
    assert_same(&a, &b);
}

static void hist__merging_equals_recording_everything_into_one(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 3);
    hist_reset(&a);
    hist_reset(&b);
    hist_reset(&both);
    for (int i = 0; i < 1000; i++) {
        int64_t ns = random_ns(&rng);
        hist_record(i % 3 == 0 ? &a : &b, ns);
        hist_record(&both, ns);
    }
    memcpy(&again, &b, sizeof again);
    hist_merge(&b, &a);
    assert_same(&b, &both);
    hist_merge(&a, &again);
    assert_same(&a, &both);
    hist_reset(&again);
    hist_merge(&a, &again);
    assert_same(&a, &both);
    hist_merge(&again, &both);
    assert_same(&again, &both);
}

static void hist__recounting_fits_the_ends_to_the_buckets(void **state)
{
    (void)state;
    hist_reset(&a);
    a.buckets[hist_index(1000)] = 2;
    a.buckets[hist_index(5000)] = 3;
    hist_recount(&a, 1001, 5001);
    assert_int_equal(a.count, 5);
    assert_int_equal(hist_min_ns(&a), 1001);
    assert_int_equal(hist_max_ns(&a), 5001);
    hist_recount(&a, 5, 5);
    assert_int_equal(hist_min_ns(&a), 1000);
    assert_int_equal(hist_max_ns(&a), 4992);
    hist_recount(&a, INT64_MAX, INT64_MAX);
    assert_int_equal(hist_min_ns(&a), 1007);
    assert_int_equal(hist_max_ns(&a), 5055);
    hist_reset(&a);
    memcpy(&b, &a, sizeof b);
    hist_recount(&a, 7, 9);
    assert_same(&a, &b);
}

enum {
    THREADS = 4,
    PER_THREAD = 50000
};

/* Half of the durations fall into four buckets, where the threads meet; a few are negative. */
static int64_t crowded_ns(struct rng *rng)
{
    return rng_below(rng, 2) == 0 ? rng_range_ns(rng, 0, 3) : random_ns(rng) - 1;
}

static pthread_barrier_t start;

static void *record_many(void *seed)
{
    struct rng rng;
    rng_init(&rng, *(uint64_t *)seed);
    pthread_barrier_wait(&start);
    for (int i = 0; i < PER_THREAD; i++)
        hist_mt_record(&shared, crowded_ns(&rng));
    return NULL;
}

static void hist__many_threads_lose_nothing(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    uint64_t seeds[THREADS];
    hist_mt_init(&shared);
    hist_reset(&both);
    assert_int_equal(pthread_barrier_init(&start, NULL, THREADS), 0);
    for (int i = 0; i < THREADS; i++) {
        struct rng rng;
        seeds[i] = (uint64_t)i;
        rng_init(&rng, seeds[i]);
        for (int n = 0; n < PER_THREAD; n++)
            hist_record(&both, crowded_ns(&rng));
        assert_int_equal(pthread_create(&threads[i], NULL, record_many, &seeds[i]), 0);
    }
    /* Snapshots on the way only grow, and each is a histogram that keeps its invariants. */
    uint64_t seen = 0;
    for (int i = 0; i < 200; i++) {
        hist_mt_snapshot(&shared, &a);
        assert_true(a.count >= seen);
        seen = a.count;
        assert_true(seen == 0 || a.min_ns <= a.max_ns);
        assert_true(seen == 0 || a.buckets[hist_index(a.min_ns)] > 0);
        assert_true(seen == 0 || a.buckets[hist_index(a.max_ns)] > 0);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    pthread_barrier_destroy(&start);
    hist_mt_snapshot(&shared, &a);
    assert_same(&a, &both);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hist__an_empty_one_reports_zeros),
        cmocka_unit_test(hist__every_bucket_is_narrow_and_joins_the_next),
        cmocka_unit_test(hist__a_single_duration_is_reported_within_the_stated_error),
        cmocka_unit_test(hist__quantiles_and_mean_agree_with_the_sorted_durations),
        cmocka_unit_test(hist__small_durations_are_exact),
        cmocka_unit_test(hist__what_is_out_of_range_is_counted_at_the_ends),
        cmocka_unit_test(hist__recording_n_times_equals_n_recordings),
        cmocka_unit_test(hist__merging_equals_recording_everything_into_one),
        cmocka_unit_test(hist__recounting_fits_the_ends_to_the_buckets),
        cmocka_unit_test(hist__many_threads_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
