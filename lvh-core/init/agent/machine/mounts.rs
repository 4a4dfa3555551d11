//! What is mounted where.

use super::calls;
use super::facts::Facts;

/// The kernel mounts this by itself when somebody looks there.
const AUTOMATIC: &str = "/sys/kernel/debug/tracing";

/// All that the kernel says of mounts; nothing without `/proc`.
pub fn mountinfo() -> String {
    calls::read("/proc/self/mountinfo").unwrap_or_default()
}

/// The file system on top of each mount point, by what a command can do with it: one of the same kind that was mounted
/// over it, as libraries do with bpffs, is as good.
pub fn mounts(mountinfo: &str) -> Facts {
    mountinfo.lines().filter_map(mount).filter(|(point, _)| point != AUTOMATIC).collect()
}

/// A line of `mountinfo`, as proc(5) has it.
fn mount(line: &str) -> Option<(String, String)> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut words = mount.split(' ').skip(3);
    let (root, point, options) = (words.next()?, words.next()?, words.next()?);
    let mut kind = file_system.split(' ');
    let (fstype, super_options) = (kind.next()?, kind.nth(1)?);
    let is_read_only = |options: &str| options.split(',').any(|option| option == "ro");
    let mut how = fstype.to_owned();
    if root != "/" {
        how = format!("{how} of {root}");
    }
    if is_read_only(options) || is_read_only(super_options) {
        how.push_str(", read-only");
    }
    if words.any(|tag| tag.starts_with("shared:")) {
        how.push_str(", shared");
    }
    Some((point.to_owned(), how))
}
