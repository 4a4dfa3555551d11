//! What a root says of a kernel that is older than what it was made for.

use std::fs;

use crate::pid1::libraries::Library;
use crate::pid1::systemd;

/// What its C library and its systemd, where that is the first process, say of this kernel; nothing where it is as they want it.
pub fn complaints(has_systemd: bool) -> Vec<String> {
    let of_systemd =
        || systemd::finds_kernel_old().then(|| "the image's systemd calls this kernel too old for it".into());
    of_library().into_iter().chain(has_systemd.then(of_systemd).flatten()).collect()
}

fn of_library() -> Option<String> {
    let oldest = Library::find("libc.so.6")?.oldest_kernel().ok()??;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let [major, minor, patch] = oldest;
    let is_older = version(&release) < oldest;
    is_older.then(|| format!("the image's C library is made for Linux {major}.{minor}.{patch} and newer"))
}

/// The first three numbers of a release such as `6.12.117+deb13-amd64`.
fn version(release: &str) -> [u64; 3] {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or_default());
    [(); 3].map(|()| numbers.next().unwrap_or_default())
}
