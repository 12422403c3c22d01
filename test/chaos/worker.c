/*
 * The application in the chaos test: writers append numbered rows, readers look for rows that they
 * are owed, and every call's beginning, end and answer go to a log that the checker judges.
 *
 *     worker CONNINFO LOG WRITERS READERS DEADLINE_MS
 *
 * Says "ready" when the store is open, works until standard input ends, then says "done". A line of
 * the log is
 *
 *     write W WAY W N BEGUN ENDED DEADLINE ANSWER - CODE SQLSTATE ENDPOINT WORDS
 *     read T PROMISE W N BEGUN ENDED DEADLINE ANSWER FOUND CODE SQLSTATE ENDPOINT WORDS
 *
 * with W the writer, N its row's number, T the thread, times in ns of CLOCK_MONOTONIC, which all
 * namespaces of a machine share, and "-" for what is empty.
 *
 * A writer never writes a number twice, so a row that is there twice was made so below it. After
 * each acknowledged write it reads the row back as its own; the readers' turns go through the other
 * promises.
 */
#include "store.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    THREADS_MAX = 64,
    PAUSE_US = 4000,     /* between two calls of a thread: the machine is small */
    MARKS = 32,          /* a reader's memory of what was acknowledged when */
    MARK_NS = 200000000, /* how often it makes one */
    NS_PER_MS = 1000000,
    SHARE_EVERY = 16, /* writes */
};

static const char *const answer_names[] = {"done", "not_done", "unknown"};
static const char *const way_names[] = {"statement", "transaction"};
static const char *const promise_names[] = {"own", "shared", "primary", "bounded", "any"};

struct job {
    struct store *store;
    FILE *log;
    int deadline_ms;
    int writers;
    atomic_bool is_over;
    _Atomic int64_t acknowledged[THREADS_MAX]; /* each writer's newest number */
    _Atomic int64_t shared[THREADS_MAX];       /* the newest that it has shared */
};

struct thread {
    pthread_t id;
    struct job *job;
    int number;
};

/* What had been acknowledged of one writer, and when it was looked at. */
struct mark {
    int64_t at_ns;
    int64_t number;
};

struct call {
    const char *kind;
    const char *how;
    int thread;
    int writer;
    int64_t number;
    int64_t begun_ns;
    enum answer answer;
    const char *found;
    struct told told;
};

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static const char *or_dash(const char *text)
{
    return text[0] == '\0' ? "-" : text;
}

static void note(struct job *job, struct call *call)
{
    int64_t ended_ns = now_ns();

    for (char *c = call->told.words; *c != '\0'; c++) {
        if (*c == '\n')
            *c = ' ';
    }
    fprintf(job->log, "%s %d %s %d %" PRId64 " %" PRId64 " %" PRId64 " %d %s %s %s %s %s %s\n",
            call->kind, call->thread, call->how, call->writer, call->number, call->begun_ns,
            ended_ns, job->deadline_ms, answer_names[call->answer], call->found,
            or_dash(call->told.code), or_dash(call->told.sqlstate), or_dash(call->told.endpoint),
            or_dash(call->told.words));
}

static void read_once(struct thread *thread, struct seat *seat, enum promise promise, int writer,
                      int64_t number)
{
    struct call call = {
        .kind = "read",
        .how = promise_names[promise],
        .thread = thread->number,
        .writer = writer,
        .number = number,
        .begun_ns = now_ns(),
    };
    struct row row = {writer, number};
    bool found = false;

    call.answer = seat_read(seat, promise, row, thread->job->deadline_ms, &found, &call.told);
    call.found = found ? "found" : "missing";
    note(thread->job, &call);
}

static void *write_rows(void *arg)
{
    struct thread *thread = arg;
    struct job *job = thread->job;
    struct seat *seat = seat_new(job->store);

    for (int64_t number = 1; !atomic_load(&job->is_over); number++) {
        enum way way = number % 2 == 0 ? WAY_TRANSACTION : WAY_STATEMENT;
        struct call call = {
            .kind = "write",
            .how = way_names[way],
            .thread = thread->number,
            .writer = thread->number,
            .number = number,
            .begun_ns = now_ns(),
            .found = "-",
        };

        call.answer = seat_write(seat, way, (struct row){thread->number, number}, job->deadline_ms,
                                 &call.told);
        note(job, &call);
        if (call.answer == ANSWER_DONE) {
            atomic_store(&job->acknowledged[thread->number], number);
            if (number % SHARE_EVERY == 0 && seat_share(seat, thread->number))
                atomic_store(&job->shared[thread->number], number);
            read_once(thread, seat, PROMISE_OWN, thread->number, number);
        }
        usleep(PAUSE_US);
    }
    seat_free(seat);
    return NULL;
}

/* The newest number that was acknowledged at least STALENESS_MS ago, or 0. */
static int64_t old_enough(const struct mark *marks)
{
    int64_t before_ns = now_ns() - (int64_t)STALENESS_MS * NS_PER_MS;
    int64_t found = 0;

    for (int i = 0; i < MARKS; i++) {
        if (marks[i].at_ns != 0 && marks[i].at_ns <= before_ns && marks[i].number > found)
            found = marks[i].number;
    }
    return found;
}

/* The row that a reader looks for next; 0: none yet. */
static int64_t pick(struct job *job, enum promise promise, int writer, const struct mark *marks)
{
    if (promise == PROMISE_BOUNDED)
        return old_enough(marks);
    return atomic_load(promise == PROMISE_SHARED ? &job->shared[writer]
                                                 : &job->acknowledged[writer]);
}

static void *read_rows(void *arg)
{
    struct thread *thread = arg;
    struct job *job = thread->job;
    struct seat *seat = seat_new(job->store);
    struct mark marks[MARKS] = {{0, 0}};
    int writer = thread->number % job->writers; /* whose rows it looks for */
    int64_t marked_ns = 0;

    for (unsigned turn = 0, mark = 0; !atomic_load(&job->is_over); turn++) {
        enum promise promise = PROMISE_SHARED + turn % 4;
        int64_t number = pick(job, promise, writer, marks);

        if (now_ns() - marked_ns > MARK_NS) {
            marked_ns = now_ns();
            marks[mark++ % MARKS] =
                (struct mark){marked_ns, atomic_load(&job->acknowledged[writer])};
        }
        if (number > 0)
            read_once(thread, seat, promise, writer, number);
        usleep(PAUSE_US);
    }
    seat_free(seat);
    return NULL;
}

static void wait_for_end_of_input(void)
{
    char bytes[64];

    while (read(STDIN_FILENO, bytes, sizeof(bytes)) > 0)
        continue;
}

static void work(struct job *job, int readers)
{
    struct thread threads[THREADS_MAX] = {{.job = NULL}};

    for (int i = 0; i < job->writers + readers; i++) {
        threads[i].job = job;
        threads[i].number = i;
        if (pthread_create(&threads[i].id, NULL, i < job->writers ? write_rows : read_rows,
                           &threads[i]) != 0)
            abort();
    }
    wait_for_end_of_input();
    atomic_store(&job->is_over, true);
    for (int i = 0; i < job->writers + readers; i++)
        pthread_join(threads[i].id, NULL);
}

int main(int argc, char **argv)
{
    static struct job job;
    struct told told = {.words = ""};
    int readers;

    if (argc != 6) {
        fprintf(stderr, "usage: worker CONNINFO LOG WRITERS READERS DEADLINE_MS\n");
        return 2;
    }
    job.writers = (int)strtol(argv[3], NULL, 10);
    readers = (int)strtol(argv[4], NULL, 10);
    job.deadline_ms = (int)strtol(argv[5], NULL, 10);
    job.log = fopen(argv[2], "w");
    if (job.log == NULL || job.writers < 1 || job.writers + readers > THREADS_MAX) {
        fprintf(stderr, "worker: cannot write %s, or too many threads\n", argv[2]);
        return 2;
    }
    job.store = store_open(argv[1], &told);
    if (job.store == NULL) {
        fprintf(stderr, "worker: %s\n", told.words);
        return 1;
    }
    puts("ready");
    fflush(stdout);
    work(&job, readers);
    store_close(job.store);
    fclose(job.log);
    puts("done");
    return 0;
}
