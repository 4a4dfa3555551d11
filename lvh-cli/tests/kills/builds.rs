//! Builds of a kernel that takes no time, in one tree, of two commits by turns.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process_group};

use super::{Dice, git, number, quick};

/// By it all processes of this test are known.
const MARK: &str = "KILLED_BUILD";

struct Site {
    dir: tempfile::TempDir,
    commits: [String; 2],
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let source = dir.path().join("source");
        quick::write_source(&source);
        git(&source, &["init", "-q", "-b", "master"]);
        let commit = |version: &str| {
            fs::write(source.join("version"), version).unwrap();
            git(&source, &["add", "-A"]);
            git(&source, &["commit", "-q", "-m", version]);
            git(&source, &["rev-parse", "HEAD"]).trim().to_owned()
        };
        let commits = ["one\n", "two\n"].map(commit);
        let site = Self { dir, commits };
        for data in ["killed", "clean-0", "clean-1"] {
            let text = format!("data-dir = 'data'\n[kernels.k]\ngit = '{}'\n", source.display());
            quick::write(&site.path(data).join("lvh.toml"), text.as_bytes());
        }
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The branch leads to that commit now.
    fn turn_to(&self, at: usize) {
        git(&self.path("source"), &["reset", "-q", "--hard", &self.commits[at]]);
    }

    fn command(&self, project: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lvh"));
        command.args(["update", "k"]).current_dir(self.path(project)).env_clear().env("HOME", self.dir.path());
        command.env("PATH", "/usr/bin:/bin").env(MARK, self.dir.path()).stdin(Stdio::null()).process_group(0);
        command
    }

    /// Builds it to the end; says which kernel it is, as `6.1-lvh (… sha256:…)`.
    fn build(&self, project: &str) -> String {
        let output = self.command(project).output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(output.status.success(), "{err}");
        out
    }

    fn kill(&self, dice: &Dice, whole: Duration) {
        let mut child = self.command("killed").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(dice.moment(whole));
        let _gone_already = kill_process_group(Pid::from_child(&child), dice.signal());
        child.wait().unwrap();
        let began = Instant::now();
        while self.is_at_work() {
            assert!(began.elapsed() < Duration::from_secs(60), "a process is left");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn is_at_work(&self) -> bool {
        let mark = format!("{MARK}={}", self.dir.path().display());
        let is_ours = |process: &Path| {
            let variables = fs::read(process.join("environ")).unwrap_or_default();
            variables.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        fs::read_dir("/proc").unwrap().flatten().any(|process| is_ours(&process.path()))
    }
}

#[test]
fn what_is_killed_while_it_builds_is_made_good_by_the_next() {
    let site = Site::new();
    let mut dice = Dice::new();
    let mut whole = Duration::ZERO;
    let clean = [0, 1].map(|at| {
        site.turn_to(at);
        let began = Instant::now();
        let kernel = site.build(&format!("clean-{at}"));
        whole = began.elapsed();
        kernel
    });
    assert_ne!(clean[0], clean[1]);
    for round in 0..number("LVH_TEST_KILLS").unwrap_or(16) {
        dice.roll();
        let at = (round % 2) as usize;
        site.turn_to(at);
        // What the store has is not made again.
        let _none = fs::remove_dir_all(site.path("killed/data/store/git-kernel"));
        site.kill(&dice, whole);
        if dice.roll().is_multiple_of(2) {
            site.kill(&dice, whole);
        }
        assert_eq!(site.build("killed"), clean[at], "round {round}");
        let images = fs::read_dir(site.path("killed/data/store/git-kernel")).unwrap().map(Result::unwrap);
        let image = fs::read_to_string(images.last().unwrap().path().join("vmlinuz")).unwrap();
        assert!(image.starts_with(["one\n", "two\n"][at]), "round {round}: {image}");
    }
}
