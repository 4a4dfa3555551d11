//! Loading the modules that the initramfs brought, already in order and decompressed.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::sys;

/// Loads every module of `dir` in the order of its file names. A module that is there already is fine; one that does
/// not load is not fatal here: what needs it says so better. One whose hardware is not there was only a better way.
pub fn load_all(dir: &Path) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(dir) else { return Ok(()) };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    for path in &paths {
        match sys::load_module(&File::open(path)?) {
            Err(error) if ![Some(sys::EEXIST), Some(sys::ENODEV)].contains(&error.raw_os_error()) => {
                crate::complain(&format!("failed to load `{}`: {error}", path.display()));
            }
            _ => {}
        }
        // The initramfs lives in guest memory.
        fs::remove_file(path)?;
    }
    Ok(())
}

/// How long the kernel may take to show a device after its driver was loaded.
const DEVICE_DEADLINE: Duration = Duration::from_secs(20);

/// Tries until it works: devices appear some time after their driver was loaded.
pub fn once_there<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let start = Instant::now();
    loop {
        match attempt() {
            Err(error) if start.elapsed() > DEVICE_DEADLINE => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
            done => return done,
        }
    }
}
