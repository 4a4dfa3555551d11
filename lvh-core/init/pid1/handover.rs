//! Making another program the first process.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::guest::wire::Bytes;
use crate::sys;

/// What an init finds in its environment, as the kernel would give it (init/main.c).
pub const ENVIRONMENT: [(&str, &str); 3] =
    [("HOME", "/"), ("TERM", "linux"), ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")];

/// Makes the program and its arguments in `argv` the first process. Returns in a child of it, which goes on as the agent;
/// the caller must have one thread.
///
/// # Errors
/// There can be no second process, or the program does not start; the host is expected to end the VM.
pub fn hand_over(argv: &[Bytes]) -> io::Result<()> {
    if argv.is_empty() {
        return Ok(());
    }
    mask_units(Path::new("/run/systemd/system"))?;
    // Closed by exec where that works.
    let (mut failure, failed) = io::pipe()?;
    if sys::fork()? != 0 {
        drop(failure);
        become_init(argv, failed);
    }
    drop(failed);
    sys::adopt_orphans();
    let mut why = String::new();
    failure.read_to_string(&mut why)?;
    if why.is_empty() { Ok(()) } else { Err(io::Error::other(why)) }
}

/// What of systemd makes no sense here: consoles to log in, which wait for a device that nobody may announce; questions at the
/// first start; device nodes that are there already (`devices.rs`), for which a small image lacks kmod.
const MASKED: [&str; 3] = ["serial-getty@.service", "systemd-firstboot.service", "kmod-static-nodes.service"];

/// Masks them for a systemd, which other inits do not read (systemd.unit(5)).
fn mask_units(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for unit in MASKED {
        match symlink("/dev/null", dir.join(unit)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Never returns: tells what keeps it from becoming the program, and waits for the end.
fn become_init(argv: &[Bytes], mut failed: io::PipeWriter) -> ! {
    let words: Vec<OsString> = argv.iter().map(|word| OsString::from_vec(word.0.clone())).collect();
    let error = Command::new(&words[0]).args(&words[1..]).env_clear().envs(ENVIRONMENT).exec();
    let _ = write!(failed, "failed to start `{}` as the first process: {error}", words[0].display());
    drop(failed);
    loop {
        std::thread::park();
    }
}
