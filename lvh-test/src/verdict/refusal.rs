//! What keeps tests from running, told in full once.

use lvh_core::{Error, ErrorKind};

use super::ending::Ending;

/// Why no test of some VM can run.
#[derive(Debug)]
pub(crate) struct Refusal {
    why: String,
    output: String,
    hint: Option<String>,
    /// The test whose failure told all of it.
    told: Option<String>,
}

impl Refusal {
    /// Because of `error`.
    pub(crate) fn of(error: &Error) -> Self {
        let what = match error.kind() {
            ErrorKind::Usage => "lvh is not set up right",
            ErrorKind::Missing => "this machine lacks something",
            ErrorKind::Artifact => "the kernel or image cannot be had",
            _ => "the VM did not start",
        };
        let output = error.output().map(|output| format!("{}\n", output.trim_end())).unwrap_or_default();
        Self { why: format!("{what}: {}", error.chain()), output, hint: error.hint().map(str::to_owned), told: None }
    }

    /// The ending of the test `name`: with all that is known in the first one's, and where that is in the others'.
    pub(crate) fn ending(&mut self, name: &str) -> Ending {
        let same_as = self.told.clone();
        let output = if same_as.is_none() { self.output.clone().into_bytes() } else { Vec::new() };
        self.told.get_or_insert_with(|| name.to_owned());
        Ending { output, hint: self.hint.clone(), same_as, ..Ending::lost(&*self.why) }
    }

    /// The same for who has no test yet, in whole lines.
    pub(crate) fn text(&mut self, name: &str) -> String {
        let Ending { output, hint, same_as, .. } = self.ending(name);
        let hint = hint.map(|hint| format!("hint: {hint}\n"));
        let same_as =
            same_as.filter(|_| !self.output.is_empty()).map(|test| format!("note: more of it is with `{test}`\n"));
        let output = String::from_utf8_lossy(&output).into_owned();
        let parts = [Some(format!("failed: {}\n", self.why)), Some(output), same_as, hint];
        parts.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn the_first_test_tells_all() {
        let full = io::Error::other("Read-only file system");
        let error = Error::io("make a directory", full).with_output("words\n").with_hint("mend it");
        let mut refusal = Refusal::of(&error);
        let why = "the VM did not start: failed to make a directory: Read-only file system";
        assert_eq!(refusal.text("a"), format!("failed: {why}\nwords\nhint: mend it\n"));
        let second = refusal.ending("b");
        assert_eq!((second.same_as.as_deref(), second.output.len()), (Some("a"), 0));
        assert_eq!(second.status, crate::verdict::Status::Lost(why.to_owned()));
        assert_eq!(refusal.text("c"), format!("failed: {why}\nnote: more of it is with `a`\nhint: mend it\n"));
    }
}
