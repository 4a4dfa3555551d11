//! Programs that tests make. Tests of other packages read this file, too.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Copies a program to `to`, which any thread may run at once.
///
/// By another process: while ours has a file open for writing, the child of another thread's test may have so too for a
/// moment, and exec(2) would refuse the file (ETXTBSY).
///
/// # Panics
/// If it cannot be copied.
pub(crate) fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["--force", "--preserve=mode"]).arg(from).arg(to).status();
    assert!(copied.expect("cp starts").success(), "{} cannot be copied to {}", from.display(), to.display());
}

/// Makes a script at `path`, which any thread may run at once.
///
/// # Panics
/// If it cannot be written.
#[allow(dead_code, reason = "not every test makes one")]
pub(crate) fn write_script(path: &Path, script: &str) {
    let written = path.with_extension("written");
    fs::create_dir_all(path.parent().expect("it is in a directory")).expect("the directory can be made");
    fs::write(&written, script).expect("it can be written");
    fs::set_permissions(&written, fs::Permissions::from_mode(0o755)).expect("it is ours");
    copy_program(&written, path);
}
