#include <stddef.h>
#include <stdint.h>

typedef uint64_t (*visitor)(uint64_t value);

/* In the shared library: calls back into the program for each value. */
uint64_t library_visit(const uint64_t *values, size_t count, visitor visit);
uint64_t library_mix(const uint64_t *values, size_t count);
