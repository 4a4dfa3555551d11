// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Refuses connections to one TCP or UDP port over IPv4, and reports who tried to connect to whom.

#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define AF_INET 2

// Set before the program is loaded.
const volatile __u16 port;

struct refusal {
	__u32 pid;
	__be32 address;
};

// So that the skeleton has this type.
struct refusal unused;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} refusals SEC(".maps");

static void report(__be32 address)
{
	struct refusal *refusal = bpf_ringbuf_reserve(&refusals, sizeof(*refusal), 0);

	if (!refusal)
		return;
	refusal->pid = bpf_get_current_pid_tgid() >> 32;
	refusal->address = address;
	bpf_ringbuf_submit(refusal, 0);
}

SEC("lsm/socket_connect")
int BPF_PROG(on_connect, struct socket *socket, struct sockaddr *address, int length, int verdict)
{
	struct sockaddr_in to = {};

	// Another security module has refused already.
	if (verdict)
		return verdict;
	bpf_probe_read_kernel(&to, sizeof(to), address);
	if (to.sin_family != AF_INET || to.sin_port != bpf_htons(port))
		return 0;
	report(to.sin_addr.s_addr);
	return -EPERM;
}

char LICENSE[] SEC("license") = "GPL";
