//! Calls of make in a kernel's source tree.

use std::path::Path;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use super::log::BuildLog;
use super::target::Target;
use super::{BuildSpec, tools};
use crate::process::{self, Tool};
use crate::store::Lock;
use crate::{Event, Events, Result};

/// What a surrounding make or build would make of ours.
const FOREIGN: &[&str] = &[
    "MAKEFLAGS",
    "MFLAGS",
    "MAKELEVEL",
    "MAKEOVERRIDES",
    "GNUMAKEFLAGS",
    "KBUILD_OUTPUT",
    "KCONFIG_CONFIG",
    "KCONFIG_ALLCONFIG",
    "INSTALL_MOD_PATH",
    "INSTALL_PATH",
    "O",
    "V",
    "LOCALVERSION",
    "GIT_DIR",
    "GIT_WORK_TREE",
];
/// A distribution's kernel on a slow machine takes hours.
const DEADLINE: Duration = Duration::from_secs(8 * 60 * 60);
/// make waits for the compilers that it asked to end, and removes half files.
const GRACE: Duration = Duration::from_secs(30);

/// make, for one kernel.
#[derive(Debug)]
pub(super) struct Make<'m> {
    pub(super) source: &'m Path,
    /// The output directory. Without one, make works in the source tree.
    pub(super) out: Option<&'m Path>,
    pub(super) spec: &'m BuildSpec,
    /// When the source was made: what the kernel says of itself must not depend on the time of day.
    pub(super) date: &'m str,
    pub(super) subject: &'m str,
    pub(super) events: &'m Events,
    /// What make and all that it starts hold as long as they live.
    pub(super) lock: Option<&'m Lock>,
}

impl Make<'_> {
    /// Runs `make ARGS`; `step` says what for. `expected` is how many files will be made, where it is known.
    pub(super) fn run(&self, step: &str, args: &[&str], log: &mut BuildLog, expected: Option<u64>) -> Result<()> {
        self.events.step(self.subject, step);
        let began = Instant::now();
        let tool = self.tool(args)?.log(log.writer()?);
        let ended = tool.run_with(&mut || {
            if log.read_on() {
                self.tell(step, log, expected, began.elapsed());
            }
        });
        log.read_on();
        ended.map(drop).map_err(|error| log.explain(error))
    }

    fn tell(&self, step: &str, log: &BuildLog, total: Option<u64>, elapsed: Duration) {
        let (minutes, seconds) = (elapsed.as_secs() / 60, elapsed.as_secs() % 60);
        let detail = format!("{minutes}m{seconds:02}s, {}", log.current);
        let (subject, step) = (self.subject.to_owned(), step.to_owned());
        self.events.send(Event::Count { subject, step, done: log.made, total, detail });
    }

    fn tool(&self, args: &[&str]) -> Result<Tool> {
        let target = Target::of(self.spec.arch);
        let mut tool = Tool::new("make", "make")?.without_vars(FOREIGN).dir(self.source);
        // What the kernel says of who built it, where and when (scripts/mkcompile_h).
        let stamps = [("USER", "lvh"), ("HOST", "lvh"), ("VERSION", "1"), ("TIMESTAMP", self.date)];
        for (name, value) in stamps.iter().filter(|(_, value)| !value.is_empty()) {
            tool = tool.var(&format!("KBUILD_BUILD_{name}"), value);
        }
        if let Some(out) = self.out {
            tool = tool.args([format!("O={}", out.display())]);
        }
        let jobs = available_parallelism().map_or(1, usize::from);
        // An empty LOCALVERSION keeps the `+` away that marks a tree without a tag (scripts/setlocalversion).
        tool = tool.args([format!("-j{jobs}"), "LOCALVERSION=".to_owned()]).args(target.cross_args());
        if process::find("ccache").is_some() && !tools::names_compiler(self.spec) {
            tool = tool.args([format!("CC=ccache {}", target.gcc())]);
        }
        tool = tool.args(&self.spec.make_args).args(args).deadline(DEADLINE).cleans_up(GRACE);
        Ok(self.lock.into_iter().fold(tool, Tool::inherit))
    }
}
