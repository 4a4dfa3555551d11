//! What a failed test's block says, and what of it the report shows apart.

/// Why a test failed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failure {
    /// The cause, of one or more lines.
    pub(super) message: String,
    /// All that the harness showed.
    pub(super) block: String,
}

impl Failure {
    /// Of a runner that kept a test's streams, and knows no blocks. `description` is what it took for the cause.
    pub(super) fn of_streams(name: &str, message: &str, description: &str, stdout: &str, stderr: &str) -> Self {
        let (output, block) = within_harness(name, stdout);
        // cargo-nextest repeats the streams' words there.
        let repeats = stderr.contains(description.trim()) || stdout.contains(description.trim());
        let parts = [if repeats { "" } else { description }, output, without_progress(stderr), block].map(str::trim);
        let block = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n") + "\n";
        Self { message: cause(&block).unwrap_or(message).to_owned(), block }
    }

    /// The cause's first line.
    pub(super) fn first_line(&self) -> &str {
        self.message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("failed")
    }

    /// The kernel's release, the kernel, and more of the VM, in a line.
    pub(super) fn vm(&self) -> Option<&str> {
        self.line("kernel: ")
    }

    /// The kernel's release.
    pub(super) fn release(&self) -> Option<&str> {
        self.vm()?.split_whitespace().next()
    }

    /// The kernel, with the image behind it: `6.12` or `6.12+base`.
    pub(super) fn place(&self) -> Option<String> {
        let (place, _) = headline(&self.block)?.split_once([':', ' '])?;
        Some(place.to_owned())
    }

    /// The directory of the VM's logs, on the machine where it failed.
    pub(super) fn logs(&self) -> Option<&str> {
        self.line("log: ")?.strip_suffix("/kernel.log")
    }

    /// The command that runs it again.
    pub(super) fn again(&self) -> Option<&str> {
        self.line("run it again: ")
    }

    /// The last line that begins so: they close a block, and what the test itself wrote stands before.
    fn line(&self, head: &str) -> Option<&str> {
        const CLOSING: usize = 30;
        self.block.lines().rev().take(CLOSING).find_map(|line| line.strip_prefix(head))
    }
}

/// How a block of lvh begins, of a test in a VM: the rest of that line, kernel and cause.
fn headline(block: &str) -> Option<&str> {
    const HEAD: &str = "failed on ";
    let first = block.strip_prefix(HEAD).and_then(|rest| rest.lines().next());
    first.or_else(|| block.lines().rev().find_map(|line| line.strip_prefix(HEAD)))
}

/// A test binary's output taken apart: what its one test wrote, and the test's block.
fn within_harness<'t>(name: &str, stdout: &'t str) -> (&'t str, &'t str) {
    let Some((output, rest)) = stdout.split_once("\nfailures:\n") else { return (stdout, "") };
    let output = output.split_once("running 1 test\n").map_or(output, |(_, output)| output);
    let verdict = output.rfind(&format!("test {name}")).filter(|at| output[*at..].trim_end().ends_with("FAILED"));
    let head = format!("---- {name} stdout ----\n");
    let block = rest.split_once(&head).and_then(|(_, block)| block.rsplit_once("\nfailures:\n"));
    (&output[..verdict.unwrap_or(output.len())], block.map_or("", |(block, _)| block))
}

/// What follows lvh's lines on how the VM started.
fn without_progress(stderr: &str) -> &str {
    let lines = stderr.split_inclusive('\n').take_while(|line| line.starts_with("lvh: "));
    &stderr[lines.map(str::len).sum()..]
}

/// lvh's own words, or those of the panic.
fn cause(block: &str) -> Option<&str> {
    let after_kernel = headline(block).and_then(|line| Some(line.split_once(": ")?.1));
    let is_panic = |line: &&str| line.starts_with("thread '") && line.contains(" panicked at ") && line.ends_with(':');
    let after_panic = || block.lines().skip_while(|line| !is_panic(line)).nth(1);
    let note =
        || block.lines().find_map(|line| line.strip_prefix("note: ").filter(|note| !note.contains("RUST_BACKTRACE")));
    after_kernel.or_else(after_panic).or_else(note)
}

/// `text` of at most about `limit` bytes: whole lines, the end longer than the beginning, and a count of what is left out.
pub(super) fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let boundary = |from: usize| (from..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let head = boundary(limit / 3);
    let head = text[..head].rfind('\n').map_or(head, |end| end + 1);
    let tail = boundary(text.len() - limit * 2 / 3);
    let tail = text[tail..].find('\n').map_or(tail, |end| tail + end + 1);
    let lines = text[head..tail].lines().count();
    format!("{}[lvh: {lines} lines are left out here]\n{}", &text[..head], &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::{Failure, cut};

    #[track_caller]
    fn check(block: &str, expected: (Option<&str>, Option<&str>, Option<&str>, Option<&str>)) {
        let failure = Failure { message: String::new(), block: block.to_owned() };
        let place = failure.place();
        assert_eq!((failure.release(), place.as_deref(), failure.logs(), failure.again()), expected);
    }

    #[test]
    fn the_facts_of_a_block() {
        check("boom\n", (None, None, None, None));
        let vm = "failed on 6.12 (6.12.1): no\nfailed on 7: x\nkernel: mine\n\nkernel: 6.12.1 (6.12, tcg, vsock, 9p)\n";
        check(vm, (Some("6.12.1"), Some("6.12"), None, None));
        let all = "out\nfailed on bpf-next+base: a: b\n\nkernel: 6.1.9 (x)\nlog: /t/6.1+base/kernel.log\nrun it again: a 'b c'\n";
        check(all, (Some("6.1.9"), Some("bpf-next+base"), Some("/t/6.1+base"), Some("a 'b c'")));
    }

    #[track_caller]
    fn check_streams(stdout: &str, stderr: &str, message: &str, block: &str) {
        let head = "\nrunning 1 test\n";
        let failure = Failure::of_streams("m::t", "exited", "", &format!("{head}{stdout}"), stderr);
        assert_eq!((failure.message.as_str(), failure.block.as_str()), (message, block));
    }

    #[test]
    fn a_failure_by_its_streams() {
        let block = "failed on 6.1 (6.1.9): killed\n\nrun it again: x";
        let of_lvh = format!(
            "out\ntest m::t ... FAILED\n\nfailures:\n\n---- m::t stdout ----\n{block}\n\nfailures:\n    m::t\n"
        );
        check_streams(&of_lvh, "lvh: kernel `6.1`: booting\nerr\n", "killed", &format!("out\n\nerr\n\n{block}\n"));
        let panic = "thread 'm::t' (7) panicked at a.rs:1:1:\nboom\n";
        let plain = "test m::t ... FAILED\n\nfailures:\n\nfailures:\n    m::t\n";
        check_streams(plain, panic, "boom", panic);
        check_streams("odd\n", "", "exited", "running 1 test\nodd\n");
    }

    #[test]
    fn the_middle_is_cut() {
        let lines: String = (1..=9).map(|number| format!("{number}\n")).collect();
        assert_eq!(cut(&lines, 18), lines);
        assert_eq!(cut(&lines, 9), "1\n[lvh: 6 lines are left out here]\n8\n9\n");
        assert_eq!(cut("ä".repeat(40).as_str(), 9).matches('ä').count(), 5);
    }
}
