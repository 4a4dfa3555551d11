//! Whether the kernel killed for want of memory.

use std::fs;
use std::path::{Path, PathBuf};

use super::cgroup::groups;
use super::limits::Limits;

/// The kernel's counts of such kills, by the file that has them: of our groups, and of the whole machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OomWatch {
    root: PathBuf,
    before: Vec<Option<u64>>,
}

impl OomWatch {
    /// Counts from now on.
    pub(crate) fn begin() -> Self {
        Self::of(Path::new("/"))
    }

    fn of(root: &Path) -> Self {
        Self { root: root.to_owned(), before: counts(root) }
    }

    /// Why a process that SIGKILL ended since then, by nobody whom we know, may have lacked memory.
    pub(crate) fn verdict(&self) -> Option<String> {
        let now = counts(&self.root);
        let told = now.iter().any(Option::is_some);
        let killed = now.iter().zip(&self.before).any(|(now, before)| now > before);
        let limit = Limits::read(&self.root).memory;
        match (killed, &limit) {
            (true, Some(limit)) => Some(format!("the limit is {}", limit.as_memory())),
            (true, None) => Some("this machine has no more".to_owned()),
            // Not every sandbox counts.
            (false, Some(limit)) if !told => Some(format!("it seems: the limit is {}", limit.as_memory())),
            (false, _) => None,
        }
    }
}

/// `oom_kill` of `memory.events` (version 2, also of the groups below), of `memory.oom_control` (version 1, of that group
/// alone), and of `/proc/vmstat`.
fn counts(root: &Path) -> Vec<Option<u64>> {
    let of_groups = groups(root, "memory")
        .into_iter()
        .flat_map(|group| ["memory.events", "memory.oom_control"].map(|name| group.dir.join(name)));
    of_groups.chain([root.join("proc/vmstat")]).map(|file| count(&file)).collect()
}

fn count(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::super::limits::tests::{CGROUP_1, CGROUP_2, machine};
    use super::*;

    /// What is said when `file` changes from one text to the other.
    #[track_caller]
    fn check(files: &[&[(&str, &str)]], (file, before, after): (&str, &str, &str), expected: Option<&str>) {
        let root = machine(&[&files.concat()[..], &[(file, before)]].concat());
        let watch = OomWatch::of(root.path());
        fs::write(root.path().join(file), after).unwrap();
        let verdict = watch.verdict().map(|text| text.replace(&root.path().display().to_string(), ""));
        assert_eq!(verdict.as_deref(), expected);
    }

    #[test]
    fn kills_are_noticed() {
        let limit_2 = &[("sys/fs/cgroup/jobs/7/memory.max", "536870912\n")];
        let events = "sys/fs/cgroup/jobs/7/memory.events";
        let is_2 = "the limit is 512 MiB (`/sys/fs/cgroup/jobs/7/memory.max`)";
        let (none, one) = ("oom 3\noom_kill 0\noom_group_kill 0\n", "oom 4\noom_kill 1\noom_group_kill 0\n");
        check(&[CGROUP_2, limit_2], (events, none, one), Some(is_2));
        check(&[CGROUP_2, limit_2], (events, none, none), None);
        let limit_1 = &[("sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "1048576\n")];
        let control = "sys/fs/cgroup/memory/jobs/7/memory.oom_control";
        let is_1 = "the limit is 1 MiB (`/sys/fs/cgroup/memory/jobs/memory.limit_in_bytes`)";
        check(&[CGROUP_1, limit_1], (control, "under_oom 0\noom_kill 1\n", "under_oom 0\noom_kill 2\n"), Some(is_1));
        let vmstat = ("proc/vmstat", "pgfault 7\noom_kill 8\n", "pgfault 9\noom_kill 9\n");
        check(&[], vmstat, Some("this machine has no more"));
        check(&[CGROUP_2, limit_2], vmstat, Some(is_2));
        // A limit and no count: the guess is marked as one.
        check(&[CGROUP_2, limit_2], ("proc/other", "", ""), Some(&format!("it seems: {is_2}")));
        check(&[CGROUP_2], ("proc/other", "", ""), None);
    }
}
