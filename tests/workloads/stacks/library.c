/* The shared library of calls.c. */
#include "calls.h"
#include "pace.h"

NOINLINE static uint64_t mix_one(uint64_t value) {
    for (int round = 0; round < 40; round++)
        value = (value ^ (value >> 29)) * 0xbf58476d1ce4e5b9u + round;
    return value;
}

NOINLINE uint64_t library_mix(const uint64_t *values, size_t count) {
    uint64_t sum = 0;
    for (size_t at = 0; at < count; at++) {
        sum += mix_one(values[at]);
        STAY();
    }
    return sum;
}

NOINLINE uint64_t library_visit(const uint64_t *values, size_t count, visitor visit) {
    uint64_t sum = 0;
    for (size_t at = 0; at < count; at++) {
        sum ^= visit(values[at]);
        STAY();
    }
    return sum;
}
