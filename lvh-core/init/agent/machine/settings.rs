//! What the kernel is set to, as far as commands change it and others depend on it. Reading all of `/proc/sys` takes
//! longer than a short test.

use std::os::unix::fs::MetadataExt;
use std::{fs, process};

use super::calls;
use super::facts::{Facts, first_words};

/// Below `/proc/sys`. Not what the kernel itself changes, nor `kernel.core_pattern`, which is set before each command.
const SYSCTLS: &[&str] = &[
    "fs/inotify/max_user_watches",
    "fs/nr_open",
    "fs/protected_symlinks",
    "fs/suid_dumpable",
    "kernel/dmesg_restrict",
    "kernel/hostname",
    "kernel/hung_task_timeout_secs",
    "kernel/kptr_restrict",
    "kernel/modprobe",
    "kernel/modules_disabled",
    "kernel/panic_on_oops",
    "kernel/panic_on_warn",
    "kernel/perf_event_paranoid",
    "kernel/pid_max",
    "kernel/printk",
    "kernel/randomize_va_space",
    "kernel/threads-max",
    "kernel/unprivileged_bpf_disabled",
    "kernel/yama/ptrace_scope",
    "net/core/bpf_jit_harden",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/ip_forward",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/ping_group_range",
    "net/ipv6/conf/all/disable_ipv6",
    "user/max_user_namespaces",
    "vm/max_map_count",
    "vm/nr_hugepages",
    "vm/overcommit_memory",
    "vm/overcommit_ratio",
    "vm/panic_on_oom",
    "vm/swappiness",
    "vm/unprivileged_userfaultfd",
];

const FILES: &[&str] = &[
    "/sys/devices/system/cpu/online",
    "/sys/fs/cgroup/cgroup.subtree_control",
    "/sys/kernel/mm/ksm/run",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/kernel/security/lockdown",
    "/sys/kernel/tracing/current_tracer",
    "/sys/kernel/tracing/set_ftrace_filter",
    "/sys/kernel/tracing/tracing_on",
];

pub fn files() -> Facts {
    let sysctls = SYSCTLS.iter().filter_map(|name| {
        let value = calls::read_setting(&format!("/proc/sys/{name}"))?;
        Some((name.replace('/', "."), value))
    });
    let files = FILES.iter().filter_map(|file| Some(((*file).to_owned(), calls::read_setting(file)?)));
    sysctls.chain(files).collect()
}

/// What a command inherits from this process.
pub fn own() -> Facts {
    let mut facts = Facts::new();
    let id = process::id();
    if let Some(cgroups) = calls::read("/proc/self/cgroup") {
        facts.insert(format!("cgroup of process {id}"), cgroups);
    }
    let limits = calls::read("/proc/self/limits").unwrap_or_default();
    for line in limits.lines().skip(1) {
        // Columns of fixed width: fs/proc/base.c, proc_pid_limits().
        if let Some((name, limit)) = line.split_at_checked(26) {
            facts.insert(format!("{} of process {id}", name.trim()), limit.to_owned());
        }
    }
    facts
}

/// What has happened to the kernel itself: the bits of Documentation/admin-guide/tainted-kernels.rst after which locks may
/// be held for ever and memory be wrong.
pub fn taints() -> Facts {
    let bits = calls::read_setting("/proc/sys/kernel/tainted").and_then(|text| text.trim().parse::<u64>().ok());
    let names = [(5, "bad page"), (7, "oops"), (14, "lockup")];
    let set = names.into_iter().filter(|(bit, _)| bits.unwrap_or(0) >> bit & 1 == 1);
    set.map(|(_, name)| (name.to_owned(), String::new())).collect()
}

/// The modules that are loaded.
pub fn modules() -> Facts {
    first_words("/proc/modules", 0)
}

/// Files without which programs fail.
pub fn paths() -> Facts {
    let how = |path: &&str| {
        let metadata = fs::symlink_metadata(path).ok()?;
        Some(((*path).to_owned(), format!("mode {:o} device {:x}", metadata.mode(), metadata.rdev())))
    };
    ["/", "/dev/null", "/dev/shm", "/tmp"].iter().filter_map(how).collect()
}

/// Of kprobes, uprobes and what else makes trace events.
pub fn probes() -> Facts {
    lines("/sys/kernel/tracing/dynamic_events")
}

pub fn trace_events() -> Facts {
    lines("/sys/kernel/tracing/set_event")
}

fn lines(file: &str) -> Facts {
    let text = calls::read(file).unwrap_or_default();
    text.lines().map(|line| (line.to_owned(), String::new())).collect()
}
