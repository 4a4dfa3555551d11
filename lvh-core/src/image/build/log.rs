//! What programs say while an image is made.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

use crate::{Error, Result};

/// How much of the end of it an error shows, in lines.
const TAIL: usize = 20;

/// The log of one build.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
}

impl Log {
    pub(super) fn begin(path: PathBuf) -> Result<Self> {
        File::create(&path).map_err(|error| Error::path("create", &path, error))?;
        Ok(Self { path })
    }

    /// What to write to, after a line that tells what comes.
    pub(super) fn writer(&self, step: &str) -> Result<File> {
        let open = || {
            let mut file = File::options().append(true).open(&self.path)?;
            writeln!(file, "==> {step}")?;
            Ok(file)
        };
        open().map_err(|error| Error::path("write", &self.path, error))
    }

    /// The end of what the last step said.
    pub(super) fn tail(&self) -> String {
        let text = fs::read(&self.path).unwrap_or_default();
        tail(&String::from_utf8_lossy(&text))
    }
}

fn tail(text: &str) -> String {
    let last = text.rsplit_once("==> ").map_or(text, |(_, last)| last);
    let lines: Vec<&str> = last.lines().skip(1).collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_step_is_shown() {
        assert_eq!(tail("==> one\na\n==> two\nb\nc\n"), "b\nc");
        assert_eq!(tail("==> one\n"), "");
        assert_eq!(tail(""), "");
        let many: String = (0..50).map(|line| format!("{line}\n")).collect();
        assert!(tail(&format!("==> x\n{many}")).starts_with("30\n31\n"));
    }
}
