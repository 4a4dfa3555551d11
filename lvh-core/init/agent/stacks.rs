//! Where the threads of a command are: what `/proc` tells of each.

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long the kernel may take to tell. It may hold back what waits for the very thing that keeps a command from going on.
const PATIENCE: Duration = Duration::from_secs(1);

/// The most that is told, in bytes: it is one message.
const LIMIT: usize = 12 << 10;

/// Whether the kernel tells its stacks (CONFIG_STACKTRACE).
pub fn are_known() -> bool {
    Path::new("/proc/self/stack").exists()
}

/// Whether `process` has a handler for `signal`: one without would die (proc_pid_status(5)).
pub fn has_handler(process: i32, signal: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    caught
        .and_then(|caught| u64::from_str_radix(caught.trim(), 16).ok())
        .is_some_and(|caught| caught >> (signal - 1) & 1 == 1)
}

/// The threads of `processes` and where each is in the kernel, those alike together. What `command` started is called a process.
pub fn of(mut processes: Vec<i32>, command: i32) -> Vec<String> {
    processes.sort_unstable();
    let (sender, places) = mpsc::channel();
    thread::spawn(move || {
        for task in processes.into_iter().flat_map(tasks) {
            let _ = sender.send(place(&task, command));
        }
    });
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    while let Ok(place) = places.recv_timeout(PATIENCE) {
        let Some((name, place)) = place else { continue };
        match groups.iter_mut().find(|(known, _)| *known == place) {
            Some((_, names)) => names.push(name),
            None => groups.push((place, vec![name])),
        }
    }
    let text = groups.iter().map(|(place, names)| format!("{}: {place}", names.join(", ")));
    let mut room = LIMIT;
    let fits = |line: &String| {
        let enough = line.len() < room;
        room = room.saturating_sub(line.len() + 8);
        enough
    };
    text.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).take_while(fits).collect()
}

/// The directories of a process' threads.
fn tasks(process: i32) -> Vec<String> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    tasks.flatten().map(|task| task.path().to_string_lossy().into_owned()).collect()
}

/// A thread's name, and its state and stack. One that has just ended is nowhere.
fn place(task: &str, command: i32) -> Option<(String, String)> {
    let read = |file: &str| fs::read_to_string(format!("{task}/{file}"));
    let stat = read("stat").ok()?;
    // The name may hold anything, blanks and brackets too: proc_pid_stat(5).
    let (head, rest) = stat.rsplit_once(") ")?;
    let (id, name) = head.split_once(" (")?;
    let state = match rest.split(' ').next()? {
        "R" => "runs",
        "D" => "waits where no signal reaches it (D)",
        "T" | "t" => "is stopped",
        "Z" | "X" => return None,
        _ => "sleeps",
    };
    let stack = read("stack").unwrap_or_default();
    let frames = stack.lines().map(|line| line.split_once("] ").map_or(line, |(_, frame)| frame));
    // What a thread that is on a CPU is told to be in was true before.
    let frames = frames.filter(|_| state != "runs").map(|frame| format!("\n  {frame}")).collect::<String>();
    let is_another = id.parse() != Ok(command) && task.starts_with(&format!("/proc/{id}/"));
    let kind = if is_another { "process" } else { "thread" };
    Some((format!("{kind} `{name}` ({id})"), format!("{state}{frames}")))
}
