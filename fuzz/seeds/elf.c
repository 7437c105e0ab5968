/* Functions whose unwind tables have each kind of rule; see make.py. */
__attribute__((noinline)) int leaf(int x) { return x * 3; }
__attribute__((noinline)) int caller(int x) {
    volatile char room[64];
    room[x & 63] = 1;
    return leaf(x) + leaf(room[0]);
}
/* A signal frame, whose caller is found by an expression: DW_CFA_def_cfa_expression with DW_OP_breg7 8. */
__asm__(".text\nsignal_frame:\n.cfi_startproc\n.cfi_signal_frame\n"
        ".cfi_escape 0x0f, 2, 0x77, 8\nnop\nnop\n.cfi_endproc\n");
void _start(void) { caller(7); }
