//! How a test ended, as the harness shows and counts it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What the harness shows and counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// The verdict.
    pub(crate) verdict: Verdict,
    /// What the test wrote.
    pub(crate) output: Vec<u8>,
    /// How long it ran.
    pub(crate) duration: Duration,
    /// The panic that ended it.
    pub(crate) panic: Option<Panic>,
    /// The VM it ran in, in a line that begins with the kernel's release.
    pub(crate) vm: Option<String>,
    /// What must be seen of a test that did not fail; to be read after its name.
    pub(crate) remark: Option<String>,
}

/// Whether the test passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    /// It did what its attribute promises.
    Passed,
    /// It did not.
    Failed {
        /// Why, where the output alone does not say it.
        message: Option<String>,
        /// What else helps: the kernel's log, how to run it again. Whole lines, or empty.
        details: String,
    },
    /// It did not run, or skipped itself.
    Ignored {
        /// Why; may be empty.
        reason: String,
    },
}

/// Where a test panicked, and its words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Panic {
    /// The text of the panic.
    pub(crate) message: String,
    /// The source file, as the compiler named it.
    pub(crate) file: String,
    /// The line in it, from 1.
    pub(crate) line: u32,
}

impl Outcome {
    /// That of a test that does not run.
    pub(crate) fn ignored(reason: &str) -> Self {
        let verdict = Verdict::Ignored { reason: reason.to_owned() };
        Self { verdict, output: Vec::new(), duration: Duration::ZERO, panic: None, vm: None, remark: None }
    }

    /// Whether the test failed.
    pub(crate) fn failed(&self) -> bool {
        matches!(self.verdict, Verdict::Failed { .. })
    }

    /// What stands under a test's name in the summary.
    pub(crate) fn block(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.output).into_owned();
        if let Verdict::Failed { message, details } = &self.verdict {
            let note = message.as_ref().map(|message| format!("note: {message}")).unwrap_or_default();
            for part in [note.as_str(), details] {
                if !part.is_empty() && !text.is_empty() && !text.ends_with('\n') {
                    text.push('\n');
                }
                text.push_str(part);
            }
        }
        text
    }
}
