// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Reports each call of a function that takes an skb.

#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

// The fields that we read. Where they are on the kernel at hand, the loader finds out (CO-RE).
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	char name[16];
	possible_net_t nd_net;
};

struct sock_common {
	possible_net_t skc_net;
};

struct sock {
	struct sock_common __sk_common;
};

struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
	unsigned int len;
	__be16 protocol;
};

#pragma clang attribute pop

struct event {
	__u64 skb;
	__u64 ip;
	__u32 cpu;
	__u32 netns;
	__u32 len;
	__u16 protocol;
	__u8 device[16];
};

// So that the skeleton has this type.
struct event unused;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1024 * 1024);
} events SEC(".maps");

// The network namespace of the skb's device or, on its way to one, of its socket.
static __u32 netns(struct sk_buff *skb)
{
	__u32 inum = BPF_CORE_READ(skb, dev, nd_net.net, ns.inum);

	return inum ?: BPF_CORE_READ(skb, sk, __sk_common.skc_net.net, ns.inum);
}

static int report(struct pt_regs *registers, struct sk_buff *skb)
{
	struct event *event;

	// Some functions take none, too.
	if (!skb)
		return 0;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return 0;
	event->skb = (__u64)skb;
	event->ip = PT_REGS_IP(registers);
	event->cpu = bpf_get_smp_processor_id();
	event->netns = netns(skb);
	event->len = BPF_CORE_READ(skb, len);
	event->protocol = BPF_CORE_READ(skb, protocol);
	BPF_CORE_READ_INTO(&event->device, skb, dev, name);
	bpf_ringbuf_submit(event, 0);
	return 0;
}

// A program for each argument that the skb may be. BPF cookies could tell them apart, but not before Linux 5.15.
#define PROGRAM(argument) \
	SEC("kprobe") \
	int argument_##argument(struct pt_regs *registers) \
	{ \
		return report(registers, (void *)PT_REGS_PARM##argument(registers)); \
	}

PROGRAM(1)
PROGRAM(2)
PROGRAM(3)
PROGRAM(4)
PROGRAM(5)

char LICENSE[] SEC("license") = "GPL";
