//! What there is less and less of: space, memory. And the time, which goes on by itself.

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use super::calls;
use crate::guest::protocol::CORES;

/// The file systems that commands fill.
const PLACES: [&str; 4] = ["/", "/tmp", "/run", "/dev/shm"];

/// How far the clock may be off what it was: programs adjust it by less.
const CLOCK: Duration = Duration::from_secs(1);

/// What there was.
pub struct Room {
    places: [(u64, u64); 4],
    /// In KiB.
    memory: u64,
    time: (SystemTime, Instant),
}

impl Room {
    pub fn look() -> Self {
        Self { places: PLACES.map(calls::free), memory: free_memory(), time: (SystemTime::now(), Instant::now()) }
    }

    /// Files that are left are no change, unless they take half of what there was.
    pub fn changes(&self) -> Vec<String> {
        let is = Self::look();
        let less = |was: u64, is: u64| is < was / 2;
        // A core goes when the next command starts.
        let has_core = fs::read_dir(CORES).is_ok_and(|mut cores| cores.next().is_some());
        let mut changes = Vec::new();
        for ((place, was), is) in PLACES.iter().zip(&self.places).zip(&is.places) {
            if has_core && *place == "/run" {
                continue;
            }
            if less(was.0, is.0) {
                changes.push(format!("`{place}` has {} of {} MiB free", is.0 >> 20, was.0 >> 20));
            } else if less(was.1, is.1) {
                changes.push(format!("`{place}` has {} of {} inodes free", is.1, was.1));
            }
        }
        if !has_core && less(self.memory, is.memory) {
            changes.push(format!("memory has {} of {} MiB free", is.memory >> 10, self.memory >> 10));
        }
        changes.extend(self.clock(&is));
        changes
    }

    fn clock(&self, is: &Self) -> Option<String> {
        let expected = self.time.0 + is.time.1.duration_since(self.time.1);
        let (off, word) = match is.time.0.duration_since(expected) {
            Ok(ahead) => (ahead, "ahead"),
            Err(behind) => (behind.duration(), "behind"),
        };
        (off > CLOCK).then(|| format!("the clock is {} s {word}", off.as_secs()))
    }
}

fn free_memory() -> u64 {
    let text = calls::read("/proc/meminfo").unwrap_or_default();
    let available = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    available.and_then(|kib| kib.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}
