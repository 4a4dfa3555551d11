//! What in the kernel's log means that something went wrong.

use super::record::KernelRecord;
use crate::config::KernelEventKind;

/// One thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelEvent {
    /// What it is.
    pub kind: KernelEventKind,
    /// The line that says so.
    pub line: String,
}

impl std::fmt::Display for KernelEvent {
    /// Such as `a warning (WARNING: CPU: 0 PID: 97 at fs/proc/generic.c:377 proc_register+0x12b/0x1a0)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.kind.description(), self.line)
    }
}

/// Finds events in a log, record by record: one oops is several records, and one event.
#[derive(Debug, Clone, Default)]
pub struct KernelEvents {
    /// An oops has begun and not ended.
    in_oops: bool,
}

impl KernelEvents {
    /// The event that begins with `record`. What user space wrote to `/dev/kmsg` is none: the kernel gives it another
    /// facility than its own (`devkmsg_write` in kernel/printk/printk.c).
    pub fn next(&mut self, record: &KernelRecord) -> Option<KernelEvent> {
        if record.facility != 0 {
            return None;
        }
        let text = record.text.trim_end();
        if text.starts_with("---[ end trace ") {
            self.in_oops = false;
        }
        // `BUG: …` or `kernel BUG at …` announces the line that `die` writes.
        if is_die(text) && std::mem::replace(&mut self.in_oops, true) {
            return None;
        }
        let kind = kind(text)?;
        self.in_oops |= leads_to_die(text);
        Some(KernelEvent { kind, line: text.to_owned() })
    }
}

fn kind(text: &str) -> Option<KernelEventKind> {
    let report = text.strip_prefix("watchdog: ").unwrap_or(text);
    let named = |(beginning, kind): &(&str, KernelEventKind)| report.starts_with(beginning).then_some(*kind);
    BEGINNINGS.iter().find_map(named).or_else(|| other_kind(text))
}

/// How reports begin. The first that fits counts.
const BEGINNINGS: &[(&str, KernelEventKind)] = &[
    ("BUG: soft lockup", KernelEventKind::Lockup),
    ("BUG: workqueue lockup", KernelEventKind::Lockup),
    ("BUG: spinlock lockup suspected", KernelEventKind::Lockup),
    // ___might_sleep and its like warn and go on.
    ("BUG: sleeping function called from invalid context", KernelEventKind::Warn),
    ("BUG: using ", KernelEventKind::Warn),
    ("BUG: ", KernelEventKind::Oops),
    ("kernel BUG at ", KernelEventKind::Oops),
    ("UBSAN: ", KernelEventKind::Oops),
    ("WARNING: possible circular locking dependency", KernelEventKind::Lockdep),
    ("WARNING: possible recursive locking", KernelEventKind::Lockdep),
    ("WARNING: possible irq lock inversion", KernelEventKind::Lockdep),
    ("WARNING: inconsistent lock state", KernelEventKind::Lockdep),
    ("WARNING: bad unlock balance", KernelEventKind::Lockdep),
    ("WARNING: held lock freed", KernelEventKind::Lockdep),
    ("WARNING: lock held when returning to user space", KernelEventKind::Lockdep),
    ("WARNING: suspicious RCU usage", KernelEventKind::Lockdep),
    ("WARNING: Nested lock was not taken", KernelEventKind::Lockdep),
    ("Out of memory: Killed process ", KernelEventKind::Oom),
    ("Memory cgroup out of memory: Killed process ", KernelEventKind::Oom),
];

fn other_kind(text: &str) -> Option<KernelEventKind> {
    let hard_lockup = text.contains("Watchdog detected hard LOCKUP");
    let hung = text.starts_with("INFO: task ") && text.contains(" blocked for more than ");
    let stall = text.contains("rcu") && (text.contains("detected stall") || text.contains("self-detected stall"));
    match () {
        () if is_die(text) => Some(KernelEventKind::Oops),
        () if is_warning(text) => Some(KernelEventKind::Warn),
        () if hard_lockup => Some(KernelEventKind::Lockup),
        () if hung => Some(KernelEventKind::HungTask),
        () if stall || text.contains("detected expedited stalls") => Some(KernelEventKind::RcuStall),
        () => None,
    }
}

/// `__warn` of kernel/panic.c: `WARNING: CPU: 0 PID: 1 at file:1 function+0x1/0x2`; in 7.3
/// `WARNING: file:1 at function+0x1/0x2, CPU#0: name/1`. Drivers begin lines with `WARNING: ` too.
fn is_warning(text: &str) -> bool {
    text.starts_with("WARNING: ") && text.contains(" at ") && (text.contains(" CPU: ") || text.contains(", CPU#"))
}

/// What `die` of any architecture counts: `Oops: 0002 [#1] SMP NOPTI`.
fn is_die(text: &str) -> bool {
    let Some((_, rest)) = text.split_once(" [#") else { return false };
    rest.split_once(']').is_some_and(|(number, _)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

fn leads_to_die(text: &str) -> bool {
    ["BUG: kernel NULL pointer dereference", "BUG: unable to handle", "BUG: stack guard page", "kernel BUG at "]
        .iter()
        .any(|beginning| text.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks which of `lines`, as the kernel's own records, begin an event, and of what kind.
    #[track_caller]
    fn check(lines: &[&str], expected: &[(&str, &str)]) {
        let records: String = lines.iter().map(|line| format!("4,1,1,-;{line}\n")).collect();
        assert_eq!(events(&records), expected.iter().map(|&(kind, line)| (kind, line.to_owned())).collect::<Vec<_>>());
    }

    fn events(records: &str) -> Vec<(&'static str, String)> {
        let mut events = KernelEvents::default();
        let found = KernelRecord::parse_all(records.as_bytes());
        found.iter().filter_map(|record| events.next(record)).map(|event| (event.kind.as_str(), event.line)).collect()
    }

    /// One event of one line.
    #[track_caller]
    fn check_line(kind: &str, line: &str) {
        check(&["before", line, "after"], &[(kind, line)]);
    }

    #[test]
    fn an_oops_is_one_event() {
        let null = "BUG: kernel NULL pointer dereference, address: 0000000000000000";
        let paging = "BUG: unable to handle page fault for address: ffffc90000a00000";
        let page_fault = "#PF: supervisor write access in kernel mode";
        let end = "---[ end trace 0000000000000000 ]---";
        // 5.10, 6.12, 7.3.
        for die in
            ["Oops: 0002 [#1] SMP NOPTI", "Oops: Oops: 0002 [#1] PREEMPT SMP NOPTI", "Oops: Oops: 0002 [#1] SMP NOPTI"]
        {
            check(&[null, page_fault, die, end, paging, die, end], &[("oops", null), ("oops", paging)]);
        }
        let bug = "kernel BUG at mm/slub.c:448!";
        let invalid = "Oops: invalid opcode: 0000 [#2] PREEMPT SMP NOPTI";
        check(
            &["------------[ cut here ]------------", bug, invalid, end, invalid],
            &[("oops", bug), ("oops", invalid)],
        );
    }

    #[test]
    fn oopses() {
        check_line("oops", "invalid opcode: 0000 [#2] SMP NOPTI");
        check_line("oops", "Oops: invalid opcode: 0000 [#2] SMP NOPTI");
        let address = "general protection fault, probably for non-canonical address 0x8000000000000000: 0000 [#3]";
        check_line("oops", &format!("{address} SMP NOPTI"));
        check_line("oops", &format!("Oops: {address} PREEMPT SMP NOPTI"));
        check_line("oops", "Internal error: Oops: 0000000096000004 [#1] SMP");
        check_line("oops", "BUG: KASAN: slab-out-of-bounds in kmalloc_oob_right+0x1b5/0x1f0 [test_kasan]");
        check_line("oops", "BUG: Bad page state in process python3  pfn:02b61");
        check_line("oops", "UBSAN: array-index-out-of-bounds in drivers/net/x.c:12:3");
    }

    #[test]
    fn warnings() {
        // 5.10, 6.12, 7.3.
        check_line("warn", "WARNING: CPU: 0 PID: 74 at fs/proc/generic.c:381 proc_register+0x129/0x1b0");
        check_line("warn", "WARNING: CPU: 0 PID: 124 at fs/proc/generic.c:399 proc_register+0x182/0x220");
        check_line("warn", "WARNING: fs/proc/generic.c:405 at proc_register+0x16a/0x210, CPU#0: python3/98");
        check_line("warn", "BUG: sleeping function called from invalid context at mm/slab.h:510");
        check_line("lockdep", "WARNING: possible circular locking dependency detected");
        check_line("lockdep", "WARNING: suspicious RCU usage");
    }

    #[test]
    fn what_hangs_and_what_is_killed() {
        check_line("lockup", "watchdog: BUG: soft lockup - CPU#0 stuck for 4s! [python3:131]");
        check_line("lockup", "NMI watchdog: Watchdog detected hard LOCKUP on cpu 3");
        check_line("lockup", "watchdog: Watchdog detected hard LOCKUP on cpu 3");
        check_line("hung-task", "INFO: task python3:99 blocked for more than 120 seconds.");
        check_line("rcu-stall", "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:");
        check_line("rcu-stall", "rcu: INFO: rcu_sched self-detected stall on CPU");
        check_line("rcu-stall", "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 0-... }");
        check(
            &[
                "python3 invoked oom-killer: gfp_mask=0x100cca(GFP_HIGHUSER_MOVABLE), order=0, oom_score_adj=0",
                "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,uid=0",
                "Out of memory: Killed process 80 (python3) total-vm:341952kB, anon-rss:330780kB, UID:0 oom_score_adj:0",
            ],
            &[(
                "oom",
                "Out of memory: Killed process 80 (python3) total-vm:341952kB, anon-rss:330780kB, UID:0 oom_score_adj:0",
            )],
        );
    }

    #[test]
    fn what_is_none() {
        let harmless = [
            "traps: t[99] trap invalid opcode ip:55 sp:7f error:0 in t[2,55]",
            "t[99]: segfault at 0 ip 000055 sp 00007f error 6 in t[2,55]",
            "WARNING: this driver is at your own risk",
            "rcu: Hierarchical RCU implementation.",
            "test_static_key_base: module verification failed: signature and/or required key missing - tainting kernel",
            "debug: array[#]",
        ];
        check(&harmless, &[]);
    }

    #[test]
    fn what_user_space_wrote_does_not_count() {
        // Facility 1 (LOG_USER) is what the kernel makes of 0; level 4 in both.
        assert_eq!(events("12,1,1,-;BUG: unable to handle\n12,2,2,-;Oops: 0002 [#1] SMP\n"), []);
        assert_eq!(events("4,1,1,-;BUG: unable to handle\n").len(), 1);
    }
}
