/* Types of the shapes that are looked up in the kernel's BTF; see make.py. */
struct upid { int nr; void *ns; };
struct pid { int count; unsigned int level; struct upid numbers[1]; };
struct task_struct {
    volatile long state;
    unsigned in_iowait : 1, frozen : 1;
    union {
        struct { int pid; const int tgid; };
        unsigned long long both;
    };
    char comm[16];
    struct pid *thread_pid;
} task;
struct dentry { struct { unsigned long long hash; const char *name; } d_name; } dentry;
enum bpf_func_id { BPF_FUNC_unspec, BPF_FUNC_get_task_stack = 141 } helper;
typedef void (*btf_trace_sched_switch)(void *, _Bool, struct task_struct *, struct task_struct *);
btf_trace_sched_switch tracepoint;
