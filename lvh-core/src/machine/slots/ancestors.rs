//! Who started whom.

use std::fs;

/// The process that started `pid`, the one that started that, and so on.
pub(super) fn ancestors(pid: u32) -> impl Iterator<Item = u32> {
    std::iter::successors(parent(pid), |&pid| parent(pid))
}

fn parent(pid: u32) -> Option<u32> {
    parent_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// proc_pid_stat(5): the number behind the state, which follows a name that may hold anything.
fn parent_in(stat: &str) -> Option<u32> {
    let pid = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
    (pid != 0).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        assert_eq!(parent_in("12 (a) R 3 (b) S 7 12 12 0"), Some(7));
        assert_eq!(parent_in("1 (init) S 0 1 1"), None);
        assert_eq!(parent_in(""), None);
        assert_eq!(ancestors(std::process::id()).next(), Some(std::os::unix::process::parent_id()));
    }
}
