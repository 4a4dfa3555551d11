//! Waiting until what an init started has done what it does at its start.

use std::fs;
use std::thread;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// How idle the processors are when nothing goes on.
const IDLE_PERCENT: u64 = 75;
/// For how many seconds they are to be: udev's helpers stay for three.
const REST: u32 = 4;
/// For how many seconds that is waited for.
const LONGEST_UNREST: u32 = 60;

/// Waits until the processors have had nothing to do for a while, as far as that comes: nobody waits for udev's rules, and its
/// helpers end some seconds after the last.
pub fn wait() {
    let mut quiet = 0;
    for _ in 0..LONGEST_UNREST {
        let before = idle_and_all();
        thread::sleep(SECOND);
        let (idle, all) = idle_and_all();
        let is_quiet = (idle - before.0) * 100 >= (all - before.1) * IDLE_PERCENT;
        quiet = if is_quiet { quiet + 1 } else { 0 };
        if quiet == REST {
            return;
        }
    }
}

/// For how long the processors were idle, and in all: the first line of `/proc/stat` (proc_stat(5)).
fn idle_and_all() -> (u64, u64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let words = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let times: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
    (times.get(3).copied().unwrap_or_default(), times.iter().sum())
}
