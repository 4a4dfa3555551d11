//! What make says: kept in a file, and read for what it is at.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use crate::{Error, Result};

/// How much of a log an error shows, in lines.
const TAIL: usize = 30;
/// How much of that tells of a failure that is not at the end.
const FAILURE: usize = 20;

/// The log of one build; several calls of make add to it.
#[derive(Debug)]
pub(super) struct BuildLog {
    path: PathBuf,
    /// How far it was read.
    at: u64,
    /// The end of what was read, as far as it is no whole line.
    rest: Vec<u8>,
    /// The files that make said it makes.
    pub(super) made: u64,
    /// The last of them.
    pub(super) current: String,
}

impl BuildLog {
    /// Begins a log at `path` anew.
    pub(super) fn begin(path: PathBuf) -> Result<Self> {
        File::create(&path).map_err(|e| Error::path("create", &path, e))?;
        Ok(Self { path, at: 0, rest: Vec::new(), made: 0, current: String::new() })
    }

    /// What to write to.
    pub(super) fn writer(&self) -> Result<File> {
        let file = File::options().append(true).open(&self.path);
        file.map_err(|e| Error::path("open", &self.path, e))
    }

    /// Reads what came since; says whether there was anything made.
    pub(super) fn read_on(&mut self) -> bool {
        let before = self.made;
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(self.at))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map(|_| bytes)
        };
        // Progress is not worth an error.
        let bytes = read().unwrap_or_default();
        self.at += bytes.len() as u64;
        self.rest.extend(bytes);
        let whole = self.rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        for file in String::from_utf8_lossy(&lines).lines().filter_map(made_by) {
            self.made += 1;
            file.clone_into(&mut self.current);
        }
        self.made > before
    }

    /// Adds what the log says of the failure, and where it is, to `error`.
    pub(super) fn explain(&self, error: Error) -> Error {
        let text = fs::read(&self.path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let output = format!("{}\n(all of it: {})", telling(&lines), self.path.display());
        match lines.iter().find(|line| COMPLAINTS.iter().any(|words| line.contains(words))) {
            Some(first) => Error::new(error.kind(), *first).with_source(error).with_output(output),
            None => error.with_output(output),
        }
    }
}

/// How compilers and linkers begin to say what is wrong.
const COMPLAINTS: [&str; 3] = [": error: ", ": fatal error: ", ": undefined reference to "];

/// The end, and where other jobs went on after the failure, what stands before make's first complaint.
fn telling(lines: &[&str]) -> String {
    let end = |count| lines[lines.len().saturating_sub(count)..].join("\n");
    let complaint = lines.iter().position(|line| line.starts_with("make") && line.contains(": *** "));
    match complaint.filter(|at| at + TAIL < lines.len()) {
        None => end(TAIL),
        Some(at) => {
            let failure = &lines[(at + 1).saturating_sub(FAILURE)..=at];
            format!("{}\n…\n{}", failure.join("\n"), end(TAIL - FAILURE))
        }
    }
}

/// The file that a line such as `  CC [M]  fs/fuse/dev.o` says is made (scripts/Kbuild.include, `quiet`).
fn made_by(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("  ")?;
    let (tag, rest) = rest.split_once(' ')?;
    let is_tag = tag.len() >= 2 && tag.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let file = rest.trim_start().trim_start_matches("[M]").trim();
    (is_tag && !file.is_empty()).then_some(file)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::ErrorKind;

    #[test]
    fn makes_lines_are_counted_as_they_come() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = BuildLog::begin(dir.path().join("log")).unwrap();
        let mut check = |text: &str, made: u64, current: &str| {
            log.writer().unwrap().write_all(text.as_bytes()).unwrap();
            log.read_on();
            assert_eq!((log.made, log.current.as_str()), (made, current), "{text:?}");
        };
        check("make[1]: Entering directory '/x'\n  GEN     Makefile\n", 1, "Makefile");
        check("  CC      kernel/fo", 1, "Makefile");
        check("rk.o\n  CC [M]  fs/fuse/dev.o\n", 3, "fs/fuse/dev.o");
        check(
            "  LD      vmlinux\nsetup is 13404 bytes\n  x.c:3: error: no\nKernel: arch/x86/boot/bzImage is ready\n",
            4,
            "vmlinux",
        );
    }

    #[test]
    fn an_error_shows_the_end_of_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = BuildLog::begin(dir.path().join("log")).unwrap();
        let text: String = (0..100).map(|line| format!("line {line}\n")).collect();
        log.writer().unwrap().write_all(text.as_bytes()).unwrap();
        let error = log.explain(Error::new(ErrorKind::Artifact, "no"));
        let output = error.output().unwrap();
        assert!(output.starts_with("line 70\n") && output.contains("line 99\n(all of it: "), "{output}");
    }

    #[test]
    fn a_failure_that_other_jobs_outlived_is_shown() {
        let line = |number: usize| match number {
            40 => "make[3]: *** [Makefile:2: fs/a.o] Error 1".to_owned(),
            99 => "make: *** [Makefile:1: all] Error 2".to_owned(),
            _ => format!("line {number}"),
        };
        let lines: Vec<String> = (0..100).map(line).collect();
        let shown = |until: usize| telling(&lines[..until].iter().map(String::as_str).collect::<Vec<_>>());
        let late = shown(100);
        assert!(late.starts_with("line 21\n") && late.contains("fs/a.o] Error 1\n…\nline 90\n"), "{late}");
        assert!(late.ends_with("\nmake: *** [Makefile:1: all] Error 2"), "{late}");
        assert_eq!(late.lines().count(), TAIL + 1);
        assert!(shown(50).starts_with("line 20\n") && shown(50).ends_with("line 49"));
        assert_eq!(telling(&[]), "");
    }
}
