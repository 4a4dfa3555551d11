//! What a test in a VM writes: what a failure shows of it, and all of it in a file where that is less.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;

use super::log_dir::LogDir;

/// The most output of one test that is kept, in bytes: a test that floods is cut, not the machine filled.
const LIMIT: usize = 16 << 20;

/// How much of what comes after that is kept, in bytes.
const TAIL: usize = 64 << 10;

/// How many lines a failure shows of a flood's beginning, and of its end; what panics says so last.
const FIRST_LINES: usize = 50;
const LAST_LINES: usize = 100;

/// The longest beginning or end that is shown, in bytes: lines may be of any length.
const SHOWN: usize = 16 << 10;

/// The output of one test.
#[derive(Debug, Default)]
pub(super) struct Output {
    kept: Vec<u8>,
    /// The last bytes of what came when there was no room.
    tail: VecDeque<u8>,
    /// How many bytes came in all.
    len: usize,
}

impl Output {
    /// Takes what came next.
    pub(super) fn append(&mut self, data: &[u8]) {
        let (fitting, rest) = data.split_at(data.len().min(LIMIT - self.kept.len()));
        self.kept.extend_from_slice(fitting);
        self.tail.extend(rest);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
        self.len += data.len();
    }

    /// What a failure of the test `name` shows, and the file of the whole, which stays if `logs` do, where that is more.
    pub(super) fn finish(self, logs: Option<&LogDir>, name: &str) -> (Vec<u8>, Option<PathBuf>) {
        let lost = self.len - self.kept.len() - self.tail.len();
        let mut whole = self.kept;
        if lost > 0 {
            whole.extend(format!("\n[lvh: {lost} bytes left out]\n").into_bytes());
        }
        whole.extend(self.tail);
        let (first, last) = (beginning(&whole), end(&whole));
        if first + last >= whole.len() {
            return (whole, None);
        }
        // Without the file a failure is a failure all the same.
        let file = logs.and_then(|logs| {
            let file = logs.for_test(name).ok()?.join("output.log");
            fs::write(&file, &whole).ok().map(|()| file)
        });
        let middle = &whole[first..whole.len() - last];
        let lines = middle.iter().filter(|&&byte| byte == b'\n').count();
        let place = file.as_ref().map(|file| format!(": {}", file.display())).unwrap_or_default();
        let note = format!("\n[lvh: {lines} lines ({} KiB) left out{place}]\n", middle.len() >> 10);
        let shown = [whole[..first].trim_ascii_end(), note.as_bytes(), &whole[whole.len() - last..]].concat();
        (shown, file)
    }
}

/// The length of what is shown of the beginning, whole lines where there is room for one.
fn beginning(bytes: &[u8]) -> usize {
    let room = &bytes[..bytes.len().min(SHOWN)];
    let ends = room.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(index, _)| index + 1);
    ends.take(FIRST_LINES).last().unwrap_or(room.len())
}

/// The same of the end.
fn end(bytes: &[u8]) -> usize {
    let room = &bytes[bytes.len().saturating_sub(SHOWN)..];
    let starts = room.iter().enumerate().rev().skip(1).filter(|(_, byte)| **byte == b'\n').map(|(index, _)| index + 1);
    let start = starts.take(LAST_LINES).last();
    room.len() - start.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Output, TAIL};

    fn shown(output: &str) -> String {
        let mut kept = Output::default();
        output.as_bytes().chunks(1000).for_each(|chunk| kept.append(chunk));
        String::from_utf8(kept.finish(None, "t").0).unwrap()
    }

    #[test]
    fn what_fits_a_screen_is_shown_as_it_is() {
        for output in ["", "a", "a\nb\n", &"x\n".repeat(100), &"y".repeat(20 << 10)] {
            assert_eq!(shown(output), output);
        }
    }

    #[test]
    fn a_flood_is_cut_in_the_middle() {
        let lines: Vec<String> = (0..1000).map(|number| format!("line {number}\n")).collect();
        let text = shown(&lines.concat());
        let shown: Vec<&str> = text.lines().collect();
        assert_eq!((shown[0], shown[49]), ("line 0", "line 49"));
        assert_eq!(shown[50..52], ["[lvh: 850 lines (7 KiB) left out]", "line 900"]);
        assert_eq!((shown.len(), shown[150]), (151, "line 999"));
    }

    #[test]
    fn long_lines_are_cut_too() {
        let text = shown(&format!("{}end", "x".repeat(1 << 20)));
        assert!(
            text.len() < 40 << 10 && text.ends_with("xend") && text.contains("\n[lvh: 0 lines (992 KiB) left out]\n")
        );
    }

    #[test]
    fn the_end_of_a_flood_without_end_is_kept() {
        let mut output = Output::default();
        (0..20).for_each(|_| output.append(&vec![b'x'; 1 << 20]));
        output.append(b"\nlast");
        assert!(output.kept.len() + output.tail.len() <= super::LIMIT + TAIL);
        assert!(output.finish(None, "t").0.ends_with(b"\nlast"));
    }
}
