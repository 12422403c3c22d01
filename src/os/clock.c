#include "os/clock.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/bug.h"
#include "base/ns.h"

static int64_t read_clock(clockid_t id)
{
    struct timespec now;
    int rc = clock_gettime(id, &now);
    hf_assert(rc == 0); /* both clocks exist on every Linux */
    return HF_SEC(now.tv_sec) + now.tv_nsec;
}

int64_t clock_now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_wall_now(void)
{
    return read_clock(CLOCK_REALTIME);
}

void clock_sleep_until(int64_t deadline_ns)
{
    hf_assert(deadline_ns != HF_NEVER);
    if (deadline_ns <= 0)
        return;
    struct timespec until = {
        .tv_sec = deadline_ns / HF_SEC(1),
        .tv_nsec = deadline_ns % HF_SEC(1),
    };
    /* An absolute time: a signal in the middle costs nothing but another round. */
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        continue;
}

/* Rounds towards the past, so that a time before 1970 does not print as one after it. */
static time_t whole_seconds(int64_t wall_ns, int *ms)
{
    int64_t seconds = wall_ns / HF_SEC(1);
    int64_t rest = wall_ns % HF_SEC(1);
    if (rest < 0) {
        seconds -= 1;
        rest += HF_SEC(1);
    }
    *ms = (int)(rest / HF_MS(1));
    return (time_t)seconds;
}

char *clock_wall_text(int64_t wall_ns, char out[CLOCK_TEXT_SIZE])
{
    int ms;
    time_t seconds = whole_seconds(wall_ns, &ms);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    /* int64 nanoseconds reach from 1677 to 2262: the year has four digits. */
    size_t used = strftime(out, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out + used, CLOCK_TEXT_SIZE - used, ".%03dZ", ms);
    return out;
}

char *clock_wall_short(int64_t wall_ns, char out[CLOCK_TEXT_SIZE])
{
    int ms;
    time_t seconds = whole_seconds(wall_ns, &ms);
    struct tm local;
    localtime_r(&seconds, &local);
    strftime(out, CLOCK_TEXT_SIZE, "%H:%M:%S", &local);
    return out;
}
