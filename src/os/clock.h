/*
 * The clocks: the only file that reads them.
 *
 * Everything that decides or measures uses clock_now(): monotonic, so that a person or NTP setting
 * the time of day moves no deadline. The wall clock exists for people: log lines and reports. The
 * two are never compared.
 *
 * Any thread may call these.
 */
#ifndef HF_OS_CLOCK_H
#define HF_OS_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* Monotonic nanoseconds, as base/ns.h means them. Stands still while the machine is suspended. */
int64_t clock_now(void);

/* Returns at `deadline_ns` of clock_now(), or at once if that has passed. A signal does not wake
 * it. HF_NEVER is a bug: a program that sleeps for ever should wait for something instead. */
void clock_sleep_until(int64_t deadline_ns);

/* Nanoseconds since 1970 in UTC. May jump; never use it for a deadline. */
int64_t clock_wall_now(void);

/* "2026-11-21T11:10:29.123Z" and its zero byte. */
#define CLOCK_TEXT_SIZE 32

/* Writes a wall time as ISO 8601 in UTC, cut to milliseconds. UTC because log lines of several
 * machines are read side by side. Returns out. */
char *clock_wall_text(int64_t wall_ns, char out[CLOCK_TEXT_SIZE]);

/* Writes a wall time as "11:10:29" in the machine's own zone: for a person at a terminal. */
char *clock_wall_short(int64_t wall_ns, char out[CLOCK_TEXT_SIZE]);

#endif
