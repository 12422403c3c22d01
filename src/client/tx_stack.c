/* Compiled with -fexceptions: exceptions of C++ callers pass through tx_stack_call(). */
#include "client/tx_stack.h"

#include <pthread.h>
#include <stddef.h>
#include <unwind.h>

struct frame {
    struct tx_stack_entry entry;
    uintptr_t mark; /* an address within the frame of its tx_stack_call() */
};

struct stack {
    size_t depth;
    struct frame frames[TX_STACK_MAX];
    uintptr_t bottom, top; /* of the thread's own stack; 0, 0: not known yet */
};

static _Thread_local struct stack stack;

/* ---- threads that end ---- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key; /* its only use is to be told when a thread ends */

static void take_off(void)
{
    const struct tx_stack_entry entry = stack.frames[--stack.depth].entry;
    entry.left(entry.tx, entry.level);
}

static void thread_ends(void *value)
{
    (void)value;
    while (stack.depth > 0)
        take_off();
}

static void make_key(void)
{
    /* Without a key, works that a thread jumped out of last wait for the deadline. */
    if (pthread_key_create(&key, thread_ends) != 0)
        return;
}

/* The bounds of the thread's own stack, to know that two addresses can be compared. */
static void prepare_thread(void)
{
    pthread_attr_t attr;
    void *start;
    size_t size;
    pthread_once(&once, make_key);
    pthread_setspecific(key, &stack);
    stack.top = UINTPTR_MAX; /* not tried again */
    if (pthread_getattr_np(pthread_self(), &attr) != 0)
        return;
    if (pthread_attr_getstack(&attr, &start, &size) == 0) {
        stack.bottom = (uintptr_t)start;
        stack.top = stack.bottom + size;
    }
    pthread_attr_destroy(&attr);
}

/* ---- running a work ---- */

/* Runs when the frame is left, in whatever way unwinds it. */
static void leave_frame(const size_t *depth_before)
{
    while (stack.depth > *depth_before)
        take_off();
}

/* Never inlined: the walk recognises its frames by the function. */
__attribute__((noinline)) bool tx_stack_call(const struct tx_stack_entry *entry, hf_tx_work *work,
                                             void *arg, struct hf_error *err, int *result)
{
    if (stack.top == 0)
        prepare_thread();
    if (stack.depth == TX_STACK_MAX)
        return false;
    const size_t depth __attribute__((cleanup(leave_frame))) = stack.depth;
    stack.frames[stack.depth++] = (struct frame){*entry, (uintptr_t)__builtin_frame_address(0)};
    *result = work(entry->tx, arg, err);
    stack.depth = depth; /* nothing is left behind */
    return true;
}

/* ---- what still stands ---- */

struct walk {
    uintptr_t mark;
    uintptr_t inner; /* where the last frame seen begins; it ends where the next one begins */
    uintptr_t function;
    enum tx_stack_place place;
};

static _Unwind_Reason_Code visit(struct _Unwind_Context *context, void *arg)
{
    struct walk *walk = arg;
    uintptr_t begin = (uintptr_t)_Unwind_GetCFA(context);
    if (begin > walk->mark) {
        bool is_caller = walk->inner <= walk->mark && walk->function == (uintptr_t)tx_stack_call;
        walk->place = is_caller ? TX_STACK_STANDS : TX_STACK_GONE;
        return _URC_NORMAL_STOP;
    }
    walk->inner = begin;
    walk->function = (uintptr_t)_Unwind_GetRegionStart(context);
    return _URC_NO_REASON;
}

static bool is_on_stack(uintptr_t address)
{
    return address >= stack.bottom && address < stack.top;
}

static enum tx_stack_place place_of(const struct frame *frame)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    if (!is_on_stack(here) || !is_on_stack(frame->mark))
        return TX_STACK_UNSURE;
    if (here > frame->mark)
        return TX_STACK_GONE;
    struct walk walk = {.mark = frame->mark, .place = TX_STACK_UNSURE};
    _Unwind_Backtrace(visit, &walk);
    return walk.place;
}

enum tx_stack_place tx_stack_sweep(void)
{
    while (stack.depth > 0) {
        enum tx_stack_place place = place_of(&stack.frames[stack.depth - 1]);
        if (place != TX_STACK_GONE)
            return place;
        take_off();
    }
    return TX_STACK_STANDS;
}

struct hf_tx *tx_stack_find(const struct hf_db *db)
{
    for (size_t i = stack.depth; i-- > 0;) {
        if (stack.frames[i].entry.db == db)
            return stack.frames[i].entry.tx;
    }
    return NULL;
}
