/* Calls of several levels: in the program, through a shared library and back, and from libc's qsort. The main thread
 * works and rests; one thread works, one waits for a pipe, one for a condition. */
#include "calls.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "pace.h"

enum { COUNT = 256 };
static int pipe_ends[2];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static volatile uint64_t sink;

NOINLINE static uint64_t visit(uint64_t value) {
    for (int round = 0; round < 30; round++)
        value = value * 6364136223846793005u + 1442695040888963407u;
    return value;
}

NOINLINE static int compare(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    for (int round = 0; round < 4; round++)
        __asm__ volatile("" : "+r"(a), "+r"(b));
    return a < b ? -1 : a > b;
}

NOINLINE static uint64_t sort_copy(const uint64_t *values) {
    uint64_t copy[COUNT];
    memcpy(copy, values, sizeof copy);
    qsort(copy, COUNT, sizeof *copy, compare);
    return copy[COUNT / 2];
}

NOINLINE static uint64_t inner(const uint64_t *values, int kind) {
    uint64_t found = kind == 0   ? library_visit(values, COUNT, visit)
                     : kind == 1 ? library_mix(values, COUNT)
                                 : sort_copy(values);
    STAY();
    return found;
}

NOINLINE static uint64_t middle(uint64_t *values, uint64_t *state) {
    for (int at = 0; at < COUNT; at++)
        values[at] = next_random(state);
    uint64_t found = inner(values, (int)(next_random(state) % 3));
    STAY();
    return found;
}

NOINLINE static void outer(uint64_t *state) {
    uint64_t values[COUNT];
    sink += middle(values, state);
    STAY();
}

NOINLINE static void wait_for_byte(void) {
    char byte;
    if (read(pipe_ends[0], &byte, 1) != 1)
        exit(1);
    STAY();
}

static void *pipe_thread(void *unused) {
    for (;;)
        wait_for_byte();
    return unused;
}

NOINLINE static void wait_for_change(void) {
    pthread_mutex_lock(&lock);
    pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    STAY();
}

static void *condition_thread(void *unused) {
    for (;;)
        wait_for_change();
    return unused;
}

static void *work_thread(void *unused) {
    uint64_t state = 88172645463325252u;
    for (;;) {
        outer(&state);
        if (next_random(&state) % 256 == 0)
            rest(&state);
    }
    return unused;
}

int main(void) {
    void *(*threads[])(void *) = {pipe_thread, condition_thread, work_thread};
    uint64_t state = 2463534242u;
    pthread_t thread;
    if (pipe(pipe_ends) != 0)
        return 1;
    for (int at = 0; at < 3; at++)
        if (pthread_create(&thread, NULL, threads[at], NULL) != 0)
            return 1;
    ready();
    for (;;) {
        for (uint64_t rounds = next_random(&state) % 512; rounds > 0; rounds--)
            outer(&state);
        if (write(pipe_ends[1], "x", 1) != 1)
            return 1;
        pthread_cond_signal(&changed);
        rest(&state);
    }
}
