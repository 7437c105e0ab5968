/* A recursion of 40 calls, each with a frame of its own size, that works at its bottom and on the way back, and rests. */
#include <string.h>

#include "pace.h"

enum { DEPTH = 40 };
static volatile uint64_t sink;

NOINLINE static void spin(uint64_t rounds) {
    uint64_t value = rounds;
    while (rounds-- > 0)
        value = value * 6364136223846793005u + 1442695040888963407u;
    sink = value;
}

NOINLINE static void bottom_work(uint64_t *state) {
    spin(20000 + next_random(state) % 60000);
    STAY();
}

NOINLINE static void bottom_rest(uint64_t *state) {
    rest(state);
    STAY();
}

NOINLINE static void descend(int depth, uint64_t *state) {
    char frame[16 + 4 * depth]; /* A variable length: the compiler needs a frame of another shape. */
    memset(frame, depth, sizeof frame);
    __asm__ volatile("" : : "r"(frame) : "memory");
    if (depth > 1)
        descend(depth - 1, state);
    else if (next_random(state) % 32 == 0)
        bottom_rest(state);
    else
        bottom_work(state);
    spin(200);
}

int main(void) {
    uint64_t state = 2463534242u;
    ready();
    for (;;) {
        descend(DEPTH, &state);
        STAY();
    }
}
