/* Calls of each kind that unwinding must get right, each a few instructions long. */
#define _GNU_SOURCE
#include <alloca.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))
static volatile long sink;

KEEP static long leaf(long x) { return x * 3 + sink; }

/* Saves all registers that a callee has to save, so that its prologue and epilogue are long. */
KEEP static long many_registers(long a, long b, long c, long d, long e, long f) {
    long g = leaf(a), h = leaf(b), i = leaf(c), j = leaf(d), k = leaf(e), l = leaf(f);
    return leaf(g + h) + leaf(i * j) + leaf(k - l) + a + b + c + d + e + f + g * h * i * j * k * l;
}

KEEP static long large_frame(long x) {
    volatile char room[9000];
    room[x & 1023] = 1;
    return leaf(room[x & 1023]);
}

KEEP static long with_alloca(long x) {
    volatile char *room = alloca((x & 63) + 16);
    room[0] = (char)x;
    return leaf(room[0]) + leaf(x);
}

/* The stack pointer is aligned in the prologue: the frame's address is found by an expression. */
KEEP static long aligned(long x) {
    volatile char room[64] __attribute__((aligned(64)));
    room[x & 63] = 2;
    return leaf(room[x & 63]) + leaf((long)&room);
}

/* The same with an alloca. */
KEEP static long aligned_and_alloca(long x) {
    volatile char room[64] __attribute__((aligned(64)));
    volatile char *more = alloca((x & 63) + 16);
    more[0] = room[x & 63] = 2;
    return leaf(room[x & 63]) + leaf(more[0]);
}

KEEP static long red_zone(long x) {
    volatile long room[8];
    for (int i = 0; i < 8; i++) room[i] = x + i;
    return room[x & 7];
}

KEEP static long variadic(int count, ...) {
    va_list list;
    va_start(list, count);
    long sum = 0;
    while (count--) sum += leaf(va_arg(list, long));
    va_end(list);
    return sum;
}

KEEP static long tail(long x) { return large_frame(x + 1); }

KEEP static long recursion(long depth) {
    return depth == 0 ? leaf(depth) : recursion(depth - 1) + leaf(depth);
}

KEEP static long early_return(long x) {
    if (x < 0) return leaf(x);
    long sum = 0;
    for (long i = 0; i < x; i++) sum += leaf(i) * leaf(sum);
    if (sum & 1) return sum;
    return leaf(sum) + 1;
}

static int compare(const void *a, const void *b) { return (int)leaf(*(const int *)a - *(const int *)b); }

static jmp_buf place;
KEEP static void jumps(long depth) {
    if (depth == 0) longjmp(place, 1);
    jumps(depth - 1);
    leaf(depth);
}

static void handler(int number) { sink += leaf(number); }

KEEP static void signals(int flags) {
    static char room[65536];
    stack_t stack = {.ss_sp = room, .ss_size = sizeof room};
    sigaltstack(&stack, 0);
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigaction(SIGUSR1, &action, 0);
    sigaction(SIGSEGV, &action, 0);
    raise(SIGUSR1);
}

/* A trap interrupts a leaf function in the middle, which has no frame of its own. */
static void skips(int number, siginfo_t *info, void *context) {
    (void)info;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
    sink += leaf(number);
}
KEEP static long traps(long x) {
    __asm__ volatile("ud2");
    return x + sink;
}
KEEP static void trap_signals(void) {
    struct sigaction action = {.sa_sigaction = skips, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, 0);
    sink += traps(sink);
}

/* Written by hand, without unwind information. */
long bare_leaf(long);
__asm__(".text\n.type bare_leaf, @function\nbare_leaf:\nlea 1(%rdi), %rax\nadd $2, %rax\nret\n.size bare_leaf, . - bare_leaf\n");
/* The same with a frame pointer. */
long bare_framed(long);
__asm__(".text\n.type bare_framed, @function\nbare_framed:\npush %rbp\nmov %rsp, %rbp\nsub $32, %rsp\n"
        "call bare_leaf\nleave\nret\n.size bare_framed, . - bare_framed\n");

static void *thread(void *argument) {
    sink += many_registers(1, 2, 3, 4, 5, (long)argument);
    return argument;
}

int main(void) {
    sink += many_registers(1, 2, 3, 4, 5, 6) + large_frame(7) + with_alloca(8) + aligned(9) + red_zone(3);
    sink += aligned_and_alloca(5) + variadic(3, 1L, 2L, 3L) + tail(4) + recursion(40) + early_return(3) + early_return(-3);
    int numbers[16];
    for (int i = 0; i < 16; i++) numbers[i] = (i * 7) % 16;
    qsort(numbers, 16, sizeof numbers[0], compare);
    if (!setjmp(place)) jumps(5);
    signals(0);
    signals(SA_ONSTACK);
    trap_signals();
    sink += bare_leaf(3);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    char text[256], copy[256];
    snprintf(text, sizeof text, "%ld %s %f", sink, "text", 1.5);
    memcpy(copy, text, sizeof copy);
    sink += (long)strlen(copy) + strcmp(copy, text);
    free(malloc((size_t)(sink & 1023)));
    pthread_t other;
    pthread_create(&other, 0, thread, 0);
    pthread_join(other, 0);
    puts(text);
    return 0;
}
