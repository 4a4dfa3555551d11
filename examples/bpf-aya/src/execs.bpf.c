// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Reports who starts which program.

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

// The fields that we read. Where they are on the kernel at hand, the loader finds out (CO-RE).
struct task_struct {
	int tgid;
	struct task_struct *real_parent;
} __attribute__((preserve_access_index));

// `Exec` in lib.rs.
struct exec {
	__u32 pid;
	__u32 parent;
	char command[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} execs SEC(".maps");

SEC("tracepoint")
int on_exec(void *context)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct exec *exec = bpf_ringbuf_reserve(&execs, sizeof(*exec), 0);

	if (!exec)
		return 0;
	exec->pid = bpf_get_current_pid_tgid() >> 32;
	exec->parent = BPF_CORE_READ(task, real_parent, tgid);
	bpf_get_current_comm(exec->command, sizeof(exec->command));
	bpf_ringbuf_submit(exec, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
