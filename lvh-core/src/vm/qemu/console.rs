//! The guest's console: every byte to the log file, the last ones kept for errors.

use std::collections::VecDeque;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Result;
use crate::guest::kernel_log::log_file::LogFile;
use crate::machine::start_thread;

/// How much of the console's end is kept, in bytes.
const KEPT: usize = 64 << 10;

/// Lines that mean that the kernel will not go on, as it writes them itself.
const FATAL: &[&str] = &["Kernel panic - not syncing", "end Kernel panic", "PANIC: early exception"];

/// How the kernel begins to tell that something broke.
const BEGINS: &[&str] = &["BUG: ", "Oops: ", "general protection fault", "Kernel panic - not syncing"];

/// What comes of what keeps a CPU, and may be told before that.
const STALLED: &[&str] = &["rcu: INFO: "];

/// What `earlyprintk` has the kernel say of itself, `quiet` or not (arch/x86/lib/kaslr.c).
const EARLY: &str = "Poking KASLR using ";

/// What the console said.
#[derive(Debug, Clone)]
pub(crate) struct Console(Arc<Mutex<VecDeque<u8>>>);

impl Console {
    /// Reads `socket` to its end in a thread of its own, copying everything to `log`.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn read(mut socket: UnixStream, mut log: Option<LogFile>) -> Result<Self> {
        let console = Self(Arc::default());
        let kept = console.0.clone();
        start_thread("lvh-console", move || {
            let mut chunk = [0; 4096];
            while let Ok(len @ 1..) = socket.read(&mut chunk) {
                log.iter_mut().for_each(|log| log.append(&chunk[..len]));
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(&chunk[..len]);
                let excess = kept.len().saturating_sub(KEPT);
                kept.drain(..excess);
            }
        })?;
        Ok(console)
    }

    /// The last lines, without terminal escapes; before them as many of where trouble of the kernel's began, if that was earlier.
    pub(crate) fn tail(&self, lines: usize) -> String {
        tail(&self.text(), lines)
    }

    /// Whether it has said nothing yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.text().trim().is_empty()
    }

    /// Whether `text` is among what is kept.
    pub(crate) fn contains(&self, text: &str) -> bool {
        self.text().contains(text)
    }

    /// The first line that says that the kernel died, if there is one; without its time.
    pub(crate) fn panic_line(&self) -> Option<String> {
        let text = self.text();
        let found = |line: &str| FATAL.iter().filter_map(|fatal| line.find(fatal)).min();
        text.lines().find_map(|line| Some(line[found(line)?..].trim_end().to_owned()))
    }

    /// What lvh-init said last before it ended the guest; not what it says when the channel goes with the machine.
    pub(crate) fn words_of_init(&self) -> Option<String> {
        words_of_init(&self.text())
    }

    /// All that is kept, without terminal escapes.
    pub(crate) fn text(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = kept.iter().copied().collect();
        printable(&String::from_utf8_lossy(&bytes))
    }
}

/// How lvh-init begins its lines, and what it says when it is not what failed.
const INIT: &str = "lvh-init: ";
const LOST: &str = "lost the channel";

fn words_of_init(text: &str) -> Option<String> {
    let words = text.lines().rev().find_map(|line| line.strip_prefix(INIT))?.trim_end();
    (!words.starts_with(LOST)).then(|| words.to_owned())
}

fn tail(text: &str, lines: usize) -> String {
    let says_something = |line: &&str| !line.is_empty() && !line.starts_with(EARLY);
    let all: Vec<&str> = text.lines().map(str::trim_end).filter(says_something).collect();
    let last = all.len().saturating_sub(lines);
    let first = |words: &[&str]| all.iter().position(|line| words.iter().any(|word| line.contains(word)));
    let begins = first(BEGINS).or_else(|| first(STALLED)).unwrap_or(last).min(last);
    match last - begins {
        more if more > lines => {
            let note = match more - lines {
                1 => "[lvh: 1 line left out]".to_owned(),
                more => format!("[lvh: {more} lines left out]"),
            };
            [&all[begins..begins + lines], &[note.as_str()], &all[last..]].concat().join("\n")
        }
        _ => all[begins..].join("\n"),
    }
}

/// Leaves out what would move a terminal's cursor or change its state: the guest may print anything.
fn printable(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\x1b' => skip_escape(&mut chars),
            '\n' | '\t' => result.push(char),
            _ if char.is_control() => {}
            _ => result.push(char),
        }
    }
    result
}

/// Skips the rest of an escape sequence: `ESC [ parameters letter`, or `ESC x`.
fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    if chars.next() == Some('[') {
        while chars.next().is_some_and(|char| !char.is_ascii_alphabetic()) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_the_firmware_are_left_out() {
        assert_eq!(printable("\x1bc\x1b[?7l\x1b[2JSeaBIOS\r\nx"), "SeaBIOS\nx");
        assert_eq!(printable("\x1b["), "");
    }

    #[test]
    fn lvh_init_has_the_last_word_unless_it_lost_its_host() {
        let words = "[1.0] x\nlvh-init: failed to load `a`\nlvh-init: no root\n[1.2] reboot: Power down\n";
        assert_eq!(words_of_init(words).as_deref(), Some("no root"));
        assert_eq!(words_of_init("lvh-init: a\nlvh-init: lost the channel to the host: b\n"), None);
        assert_eq!(words_of_init("[1.0] lvh-init: of somebody else\n"), None);
    }

    #[test]
    fn the_tail_begins_where_the_trouble_does() {
        assert_eq!(tail("a\n\nb  \nc\n", 2), "b\nc");
        assert_eq!(tail("a\nBUG: b\nc\nd\n", 2), "BUG: b\nc\nd");
        let both = "BUG: a\nb\n[lvh: 1 line left out]\nd\ne";
        assert_eq!(tail("BUG: a\nb\nc\nd\ne", 2), both);
        assert_eq!(
            tail("rcu: INFO: x\ny\nBUG: a\nb\nc\nBUG: d\ne", 2),
            both.replace("d", "BUG: d"),
            "the first, and not what is no cause"
        );
        assert_eq!(tail("a\nrcu: INFO: b\nc\nd", 2), "rcu: INFO: b\nc\nd");
        assert_eq!(tail("a\nb\nBUG: c", 2), "b\nBUG: c");
        assert_eq!(tail("", 2), "");
        assert_eq!(tail("Poking KASLR using RDRAND RDTSC...\na\n", 2), "a");
    }
}
