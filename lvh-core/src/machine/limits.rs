//! Limits that control groups set: Documentation/admin-guide/cgroup-v1/{memory,pids}.rst and cgroup-v2.rst in the kernel's
//! sources. Those of all groups above count too.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::cgroup::{Group, Version, groups};

/// From here on a limit is none: version 1 writes the largest number of pages that it can count.
const UNLIMITED: u64 = 1 << 60;

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// How much there may be.
    pub value: u64,
    /// The file that sets it.
    pub file: PathBuf,
}

/// The limits that hold for this process and all that it starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Of memory, in bytes: the tightest.
    pub memory: Option<Limit>,
    /// What all limits of memory leave, in bytes; what the kernel can take back of its caches is free.
    pub memory_left: Option<u64>,
    /// How much may be swapped out beside, in bytes.
    pub swap: u64,
    /// Of processes and threads: the tightest.
    pub tasks: Option<Limit>,
    /// How many more processes and threads there may be.
    pub tasks_left: Option<u64>,
    /// Of processors' time, in hundredths of a processor: the tightest.
    pub cpu: Option<Limit>,
}

impl Limits {
    /// What holds now.
    pub fn of_process() -> Self {
        Self::read(Path::new("/"))
    }

    /// As the machine below `root` has them.
    pub(crate) fn read(root: &Path) -> Self {
        let memory: Vec<Memory> = groups(root, "memory").iter().flat_map(Memory::read).collect();
        let tasks: Vec<(Limit, u64)> = groups(root, "pids").iter().filter_map(tasks).collect();
        let tightest = memory.iter().min_by_key(|memory| memory.limit.value);
        Self {
            memory_left: memory.iter().map(|memory| memory.limit.value.saturating_sub(memory.used)).min(),
            swap: tightest.map_or(0, |memory| memory.swap).min(swap_of_machine(root)),
            memory: tightest.map(|memory| memory.limit.clone()),
            tasks_left: tasks.iter().map(|(limit, used)| limit.value.saturating_sub(*used)).min(),
            tasks: tasks.into_iter().map(|(limit, _)| limit).min_by_key(|limit| limit.value),
            cpu: groups(root, "cpu").iter().filter_map(cpu).min_by_key(|limit| limit.value),
        }
    }
}

/// A group's limit of memory, all in bytes.
struct Memory {
    limit: Limit,
    /// What the kernel cannot take back.
    used: u64,
    /// What may be swapped out beside.
    swap: u64,
}

impl Memory {
    /// `memory.high` kills nobody: who exceeds it hardly runs.
    fn read(group: &Group) -> Vec<Self> {
        let number = |name: &str| number(&group.dir.join(name)).unwrap_or_default();
        let (names, used, stat, swap): (&[&str], _, _, _) = match group.version {
            Version::V1 => {
                let both = self::number(&group.dir.join("memory.memsw.limit_in_bytes")).unwrap_or(UNLIMITED);
                let swap = both.saturating_sub(number("memory.limit_in_bytes"));
                (&["memory.limit_in_bytes"], "memory.usage_in_bytes", "total_", swap)
            }
            Version::V2 => {
                // Where it cannot be told, there is no limit to it.
                let swap = self::number(&group.dir.join("memory.swap.max")).unwrap_or(UNLIMITED);
                (&["memory.max", "memory.high"], "memory.current", "", swap)
            }
        };
        let used = number(used).saturating_sub(caches(&group.dir.join("memory.stat"), stat));
        let limits = names.iter().filter_map(|name| limit(&group.dir.join(name)));
        limits.map(|limit| Self { limit, used, swap }).collect()
    }
}

/// Pages of files, which the kernel takes back when memory is short.
fn caches(stat: &Path, prefix: &str) -> u64 {
    let text = fs::read_to_string(stat).unwrap_or_default();
    let names = ["active_file", "inactive_file"].map(|name| format!("{prefix}{name}"));
    let value = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        names.iter().any(|known| known == name).then(|| value.parse::<u64>().ok())?
    };
    text.lines().filter_map(value).sum()
}

/// Such as `SwapFree:  1024 kB`, in bytes.
fn swap_of_machine(root: &Path) -> u64 {
    meminfo(root, "SwapFree:").unwrap_or_default()
}

/// A row of `/proc/meminfo`, in bytes.
pub(super) fn meminfo(root: &Path, row: &str) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(row))?;
    value.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// The limit of processes and threads, and how many there are.
fn tasks(group: &Group) -> Option<(Limit, u64)> {
    let used = number(&group.dir.join("pids.current")).unwrap_or_default();
    limit(&group.dir.join("pids.max")).map(|limit| (limit, used))
}

fn cpu(group: &Group) -> Option<Limit> {
    let (name, (quota, period)) = match group.version {
        Version::V1 => {
            let [quota, period] = ["cpu.cfs_quota_us", "cpu.cfs_period_us"].map(|name| number(&group.dir.join(name)));
            ("cpu.cfs_quota_us", (quota?, period?))
        }
        Version::V2 => {
            let text = fs::read_to_string(group.dir.join("cpu.max")).ok()?;
            let (quota, period) = text.trim().split_once(' ')?;
            ("cpu.max", (quota.parse().ok()?, period.parse().ok()?))
        }
    };
    Some(Limit { value: quota * 100 / Some(period).filter(|&period| period > 0)?, file: group.dir.join(name) })
}

/// The limit in a file; none where it says `max`.
fn limit(file: &Path) -> Option<Limit> {
    let value = number(file).filter(|&value| value < UNLIMITED)?;
    Some(Limit { value, file: file.to_owned() })
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// As a number of what is counted.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (`{}`)", self.value, self.file.display())
    }
}

impl Limit {
    /// As an amount of memory, such as ``512 MiB (`/sys/fs/cgroup/memory.max`)``.
    pub fn as_memory(&self) -> String {
        format!("{} MiB (`{}`)", self.value >> 20, self.file.display())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A machine that goes with the test: files by their paths.
    pub(in crate::machine) fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        root
    }

    pub(in crate::machine) const CGROUP_2: &[(&str, &str)] = &[
        ("proc/self/cgroup", "0::/jobs/7\n"),
        ("proc/self/mountinfo", "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
    ];

    pub(in crate::machine) const CGROUP_1: &[(&str, &str)] = &[
        ("proc/self/cgroup", "5:pids:/job\n4:memory:/jobs/7\n3:cpu,cpuacct:/\n0::/\n"),
        (
            "proc/self/mountinfo",
            "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
             39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
             32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n",
        ),
    ];

    /// What is found, without the place of the machine: memory, its rest, swap; tasks, their rest; CPU.
    #[track_caller]
    fn check(layout: &[(&str, &str)], files: &[(&str, &str)], expected: &str) {
        let root = machine(&[layout, files].concat());
        let Limits { memory, memory_left, swap, tasks, tasks_left, cpu } = Limits::read(root.path());
        let place = root.path().display().to_string();
        let text = |limit: Option<Limit>| limit.map_or("-".into(), |limit| limit.to_string().replace(&place, ""));
        let left = |left: Option<u64>| left.map_or("-".into(), |left| left.to_string());
        let found = [text(memory), left(memory_left), swap.to_string(), text(tasks), left(tasks_left), text(cpu)];
        assert_eq!(found.join(" "), expected);
    }

    #[test]
    fn version_2() {
        check(CGROUP_2, &[], "- - 0 - - -");
        let open = [("sys/fs/cgroup/jobs/7/memory.max", "max\n"), ("sys/fs/cgroup/jobs/7/pids.max", "max\n")];
        check(CGROUP_2, &[&open[..], &[("sys/fs/cgroup/jobs/7/cpu.max", "max 100000\n")]].concat(), "- - 0 - - -");
        let own = [
            ("sys/fs/cgroup/jobs/7/memory.max", "1000000\n"),
            ("sys/fs/cgroup/jobs/7/memory.current", "500000\n"),
            (
                "sys/fs/cgroup/jobs/7/memory.stat",
                "anon 100000\nfile 400000\nactive_file 100000\ninactive_file 200000\n",
            ),
            ("sys/fs/cgroup/jobs/7/pids.max", "20\n"),
            ("sys/fs/cgroup/jobs/7/pids.current", "5\n"),
            ("sys/fs/cgroup/jobs/7/cpu.max", "150000 100000\n"),
        ];
        let (max, pids, cpu) = ("(`/sys/fs/cgroup/jobs/7/memory.max`)", "jobs/7/pids.max`)", "jobs/7/cpu.max`)");
        let rest = format!("20 (`/sys/fs/cgroup/{pids} 15 150 (`/sys/fs/cgroup/{cpu}");
        check(CGROUP_2, &own, &format!("1000000 {max} 800000 0 {rest}"));
        // Swap is as much as the machine has, unless the group says.
        let swap = [("proc/meminfo", "MemTotal:  100 kB\nSwapFree:        4 kB\n")];
        check(CGROUP_2, &[&own[..], &swap].concat(), &format!("1000000 {max} 800000 4096 {rest}"));
        let none = [("sys/fs/cgroup/jobs/7/memory.swap.max", "0\n")];
        check(CGROUP_2, &[&own[..], &swap, &none].concat(), &format!("1000000 {max} 800000 0 {rest}"));
        // A group above may be tighter, or fuller.
        let above = [
            ("sys/fs/cgroup/jobs/memory.high", "900000\n"),
            ("sys/fs/cgroup/jobs/memory.max", "2000000\n"),
            ("sys/fs/cgroup/jobs/memory.current", "850000\n"),
            ("sys/fs/cgroup/pids.max", "100\n"),
            ("sys/fs/cgroup/pids.current", "99\n"),
        ];
        let expected = format!("900000 (`/sys/fs/cgroup/jobs/memory.high`) 50000 0 {rest}").replace(" 15 ", " 1 ");
        check(CGROUP_2, &[&own[..], &above].concat(), &expected);
    }

    #[test]
    fn version_1() {
        let open = [
            ("sys/fs/cgroup/memory/jobs/7/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ];
        check(CGROUP_1, &open, "- - 0 - - -");
        let own = [
            ("sys/fs/cgroup/memory/jobs/7/memory.limit_in_bytes", "1000000\n"),
            ("sys/fs/cgroup/memory/jobs/7/memory.memsw.limit_in_bytes", "1002048\n"),
            ("sys/fs/cgroup/memory/jobs/7/memory.usage_in_bytes", "500000\n"),
            (
                "sys/fs/cgroup/memory/jobs/7/memory.stat",
                "active_file 1\ntotal_active_file 0\ntotal_inactive_file 300000\n",
            ),
            ("sys/fs/cgroup/pids/job/pids.max", "20\n"),
            ("sys/fs/cgroup/pids/job/pids.current", "25\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ("proc/meminfo", "SwapFree:  100 kB\n"),
        ];
        let expected = "1000000 (`/sys/fs/cgroup/memory/jobs/7/memory.limit_in_bytes`) 800000 2048 \
                        20 (`/sys/fs/cgroup/pids/job/pids.max`) 0 50 (`/sys/fs/cgroup/cpu/cpu.cfs_quota_us`)";
        check(CGROUP_1, &own, expected);
    }
}
