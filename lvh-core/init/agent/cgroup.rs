//! A command with all that it starts, however that detaches.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::{lock, sys};

/// The cgroup that holds a command and all it starts, however they detach; nothing where the kernel has no cgroup2.
#[derive(Clone)]
pub struct Cgroup {
    dir: PathBuf,
    /// The directory must not be removed under a kill.
    lock: Arc<Mutex<()>>,
}

impl Cgroup {
    pub fn make(id: u32) -> Self {
        let dir = Path::new("/sys/fs/cgroup").join(format!("lvh.{id}"));
        let _ = fs::create_dir(&dir);
        Self { dir, lock: Arc::default() }
    }

    pub fn open_procs(&self) -> Option<File> {
        File::options().write(true).open(self.dir.join("cgroup.procs")).ok()
    }

    /// The processes in it, in no particular order.
    pub fn processes(&self) -> Vec<i32> {
        let pids = fs::read_to_string(self.dir.join("cgroup.procs")).unwrap_or_default();
        pids.lines().filter_map(|pid| pid.parse().ok()).collect()
    }

    pub fn kill(&self) {
        let _lock = lock(&self.lock);
        // Before Linux 5.14 there is no cgroup.kill; sysfs files are never created by opening them.
        if File::options()
            .write(true)
            .open(self.dir.join("cgroup.kill"))
            .is_ok_and(|mut kill| kill.write_all(b"1").is_ok())
        {
            return;
        }
        for _ in 0..100 {
            let pids = self.processes();
            if pids.is_empty() {
                return;
            }
            pids.into_iter().for_each(|pid| sys::send_signal(pid, sys::SIGKILL));
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Removes the directory; it may take a moment until the killed processes are gone.
    pub fn remove(&self) {
        let _lock = lock(&self.lock);
        for _ in 0..100 {
            match fs::remove_dir(&self.dir) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => thread::sleep(Duration::from_millis(1)),
                _ => return,
            }
        }
    }
}
