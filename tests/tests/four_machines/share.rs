//! What one machine does of a run, with the commands of a CI job, and what that takes.

use std::process::Command;
use std::time::Duration;

use super::machine::{Machine, Ran};
use super::site::Site;
use super::traffic::Traffic;

/// A part of the tests, and what came of it.
#[derive(Debug)]
pub(crate) struct Share {
    name: String,
    pub(crate) machine: Machine,
    pub(crate) prefetch: Ran,
    listing: Ran,
    pub(crate) run: Ran,
    again: Ran,
    /// Of the registry and of the mirror, for the first time and for the second.
    sent: [[Traffic; 2]; 2],
}

impl Share {
    /// A new machine fetches kernels and runs the tests; then it looks whether it has the kernels.
    pub(crate) fn of(site: &Site, machine: Machine, name: &str, filter: &str) -> Self {
        let prefetch = machine.run(&mut Self::fetching(site, &machine, filter)).ends_with(0);
        let first = site.traffic(&machine);
        let (listing, run) = (Self::listed(site, &machine), Self::run(site, &machine, filter));
        let before = site.traffic(&machine);
        let again = machine.run(&mut Self::fetching(site, &machine, filter)).ends_with(0);
        let after = site.traffic(&machine);
        let second = [0, 1].map(|server: usize| after[server].since(before[server]));
        Self { name: name.to_owned(), machine, prefetch, listing, run, again, sent: [first, second] }
    }

    pub(crate) fn fetching(site: &Site, machine: &Machine, filter: &str) -> Command {
        let mut command = on_archive(site, machine, &["lvh", "prefetch"]);
        command.args(["--", "-E", filter]);
        command
    }

    /// The tests, of which some fail, offline.
    pub(crate) fn running(site: &Site, machine: &Machine, filter: &str) -> Command {
        let mut command = on_archive(site, machine, &["cargo-nextest", "nextest", "run"]);
        let config = format!("lvh:{}", site.path("nextest.toml").display());
        command.args(["--no-fail-fast", "--tool-config-file", &config, "-E", filter]);
        command.env("LVH_OFFLINE", "1").env("LVH_JUNIT", machine.results().join("lvh/"));
        command
    }

    pub(crate) fn run(site: &Site, machine: &Machine, filter: &str) -> Ran {
        // A shard may have none of the tests that fail; what became of each is compared.
        let ran = machine.run(&mut Self::running(site, machine, filter));
        let code = if ran.code == Some(0) { 0 } else { TESTS_FAILED };
        ran.ends_with(code)
    }

    pub(crate) fn listed(site: &Site, machine: &Machine) -> Ran {
        let words = ["cargo-nextest", "nextest", "list", "--message-format", "json"];
        machine.run(&mut on_archive(site, machine, &words)).ends_with(0)
    }

    pub(crate) fn print(&self) {
        let sent = |[registry, mirror]: [Traffic; 2]| format!("registry {registry}; mirror {mirror}");
        println!("{}: prefetch {}: {}", self.name, self.prefetch, sent(self.sent[0]));
        println!("{}: archive unpacked and listed {}; run {}", self.name, self.listing, self.run);
        println!("{}: prefetch again {}: {}", self.name, self.again, sent(self.sent[1]));
    }

    /// CPU time of the tests, and of them with what precedes them.
    pub(crate) fn cpu(&self) -> [Duration; 2] {
        [self.run.cpu, self.prefetch.cpu + self.run.cpu]
    }
}

/// cargo-nextest's exit code.
const TESTS_FAILED: i32 = 100;

/// A command on the archive.
pub(crate) fn on_archive(site: &Site, machine: &Machine, words: &[&str]) -> Command {
    let mut command = machine.command(words[0]);
    command.args(&words[1..]).arg("--archive-file").arg(site.archive()).args(["--workspace-remap", "."]);
    command
}
