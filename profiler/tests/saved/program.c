/* The program of the saved snapshots: no library, at fixed addresses, so that each expected frame is a number.
 *
 * gcc -O2 -fomit-frame-pointer -fno-stack-protector -fcf-protection=none -nostdlib -static -no-pie
 *     -Wl,--build-id=none -Wl,-z,noseparate-code -Wl,--eh-frame-hdr program.c -o program
 */
#define KEEP __attribute__((noinline, noclone))
static volatile long sink;

KEEP long leaf(long x) { return x * 3 + sink; }

KEEP long saves_registers(long a, long b, long c) {
    long d = leaf(a), e = leaf(b), f = leaf(c);
    return leaf(d + e) + leaf(f) + a * b * c + d * e * f;
}

KEEP long with_alloca(long x) {
    volatile char *room = __builtin_alloca((x & 63) + 16);
    room[0] = (char)x;
    return leaf(room[0]) + leaf(x);
}

/* Its frame is found by an expression that reads memory. */
KEEP long aligned_and_alloca(long x) {
    volatile char room[64] __attribute__((aligned(64)));
    volatile char *more = __builtin_alloca((x & 63) + 16);
    more[0] = room[x & 63] = 2;
    return leaf(room[x & 63]) + leaf(more[0]);
}

KEEP long recursion(long depth) { return depth == 0 ? leaf(depth) : recursion(depth - 1) + leaf(depth); }

/* Without unwind information; the second with a frame pointer. */
long bare_leaf(long);
long bare_framed(long);
__asm__(".text\n.type bare_leaf, @function\nbare_leaf:\nlea 1(%rdi), %rax\nret\n.size bare_leaf, . - bare_leaf\n"
        ".type bare_framed, @function\nbare_framed:\npush %rbp\nmov %rsp, %rbp\nsub $32, %rsp\n"
        "call bare_leaf\nleave\nret\n.size bare_framed, . - bare_framed\n");

/* What the kernel returns to from a handler, with the unwind information that glibc's has. */
void restore(void);
__asm__(".text\n.type restore, @function\n.cfi_startproc\n.cfi_signal_frame\n"
        ".cfi_escape 0x0f, 4, 0x77, 0xa0, 0x01, 0x06\n"       /* CFA: what lies at rsp + 160 */
        ".cfi_escape 0x10, 6, 3, 0x77, 0xf8, 0x00\n"          /* rbp: at rsp + 120 */
        ".cfi_escape 0x10, 16, 3, 0x77, 0xa8, 0x01\n"         /* rip: at rsp + 168 */
        "nop\nrestore:\nmov $15, %rax\nsyscall\n.cfi_endproc\n.size restore, . - restore\n");

void handler(int number);
KEEP void handler(int number) { sink += leaf(number); }

static long call(long number, long a, long b, long c, long d) {
    long result;
    register long d_in __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(d_in) : "rcx", "r11", "memory");
    return result;
}

/* A leaf function that the recorder interrupts by a signal. */
KEEP long interrupted(long x) { return x + sink * 5; }

struct action {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    unsigned long mask;
};

/* The stack of a thread, whose first function has no caller. */
long thread(long x);
KEEP long thread(long x) { return leaf(x) + leaf(x + 1); }
void on_new_stack(void *stack);
__asm__(".text\n.type on_new_stack, @function\non_new_stack:\n.cfi_startproc\n.cfi_undefined rip\n"
        "push %rbx\nmov %rsp, %rbx\nmov %rdi, %rsp\nmov $7, %edi\ncall thread\nmov %rbx, %rsp\npop %rbx\nret\n.cfi_endproc\n"
        ".size on_new_stack, . - on_new_stack\n");

void begin(void);
__asm__(".text\n.globl _start\n.type _start, @function\n_start:\n.cfi_startproc\n.cfi_undefined rip\n"
        "xor %ebp, %ebp\ncall begin\nhlt\n.cfi_endproc\n.size _start, . - _start\n");

void begin(void) {
    static char stack[4096] __attribute__((aligned(16)));
    struct action action = {handler, 0x04000000 /* SA_RESTORER */, restore, 0};
    sink += saves_registers(1, 2, 3) + with_alloca(4) + aligned_and_alloca(5) + recursion(40) + recursion(1000);
    sink += bare_framed(6);
    call(13 /* rt_sigaction */, 10 /* SIGUSR1 */, (long)&action, 0, 8);
    sink += interrupted(8);
    on_new_stack(stack + sizeof stack);
    call(231 /* exit_group */, 0, 0, 0, 0);
}
