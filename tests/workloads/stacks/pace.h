/* What the C and C++ programs share: the sign that they are ready, their longest life, and rests of uneven length.
 * Uneven, so that no phase of a program falls in step with a sampler. */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline))
/* Behind a call: keeps the compiler from turning the call into a jump, which would leave no frame. */
#define STAY() __asm__ volatile("" ::: "memory")

static inline uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static inline void rest(uint64_t *state) {
    struct timespec time = {0, 200000 + (long)(next_random(state) % 1600000)};
    nanosleep(&time, NULL);
}

static inline void ready(void) {
    alarm(180);
    printf("ready %d\n", (int)getpid());
    fflush(stdout);
}
