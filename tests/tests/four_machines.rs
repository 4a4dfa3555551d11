//! Four machines that share a run, on this one: each has namespaces, a network, a home and a data directory of its own, and neither sources nor a
//! toolchain. Together they find what one machine finds, and the kernel that has to be built is built once.
//!
//! ```text
//! here: archive, Debian's registry, a mirror ─┬─ builder: prefetch (builds, stores), matrix, report
//!                                             ├─ one machine: prefetch, all tests
//!                                             └─ four for each way to split: prefetch, a shard
//! ```

#![expect(clippy::print_stdout, reason = "what it measures is for whoever runs it")]

#[expect(dead_code, reason = "of the registry's ways in, this needs the open one")]
#[path = "../../lvh-oci/tests/registry/support/server.rs"]
mod server;

#[path = "../../lvh-core/tests/quick/packaged.rs"]
mod packaged;

#[path = "four_machines/machine.rs"]
mod machine;

#[path = "four_machines/mirror.rs"]
mod mirror;

#[path = "four_machines/network.rs"]
mod network;

#[path = "four_machines/outcomes.rs"]
mod outcomes;

#[path = "four_machines/share.rs"]
mod share;

#[path = "four_machines/site.rs"]
mod site;

#[path = "four_machines/traffic.rs"]
mod traffic;

use std::hash::{BuildHasher, RandomState};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use lvh_tests::Traces;
use machine::Machine;
use outcomes::{Outcomes, outcomes};
use serde_json::Value;
use share::{Share, on_archive};
use site::Site;

const MACHINES: usize = 4;

/// What one machine found, and the machine that knows it.
struct Reference {
    site: Site,
    builder: Machine,
    whole: Share,
    outcomes: Outcomes,
    verdict: String,
}

/// A shard's name and its filter.
type Shard = (String, String);

#[test]
#[ignore = "runs 120 tests in VMs four times, as root, which takes a quarter of an hour without KVM"]
fn four_machines_find_what_one_finds() {
    let reference = Reference::new();
    for by in ["time", "kernel"] {
        let shards = reference.split(by);
        let shares = reference.all_at_once(by, &shards);
        let machines: Vec<&Machine> = shares.iter().map(|share| &share.machine).collect();
        reference.check_same(&machines);
        assert!(reference.report(&machines[1..]).contains(" not run"), "what no machine ran is missed");
        reference.compare(by, &shares);
        if by == "time" {
            reference.check_a_killed_shard(&shards, &shares);
        }
    }
    assert_eq!(reference.site.builds(), 1);
}

impl Reference {
    fn new() -> Self {
        let site = Site::new();
        let builder = site.builder();
        let mut first = on_archive(&site, &builder, &["lvh", "prefetch"]);
        let built = builder.run(first.env("LVH_CACHE_PUSH", "1")).ends_with(0);
        assert!(built.stderr.contains("storing it in") && !built.stderr.contains("could not"), "{}", built.stderr);
        println!("builder: prefetch {built}");
        println!("archive: {:.1} MB", fs::metadata(site.archive()).unwrap().len() as f64 / 1e6);
        fs::write(builder.project().join("tests.json"), Share::listed(&site, &builder).stdout).unwrap();
        let whole = Share::of(&site, site.machine("whole", &builder), "one machine", "all()");
        whole.print();
        let outcomes = outcomes(&[whole.machine.results()]);
        check_outcomes(&outcomes);
        let mut reference = Self { site, builder, whole, outcomes, verdict: String::new() };
        reference.verdict = reference.report(&[&reference.whole.machine]);
        reference
    }

    /// The shards that `lvh ci matrix` makes, by the times of one machine.
    fn split(&self, by: &str) -> Vec<Shard> {
        let mut command = on_archive(&self.site, &self.builder, &["lvh", "ci", "matrix", "--by", by]);
        command.args(["--shards", &MACHINES.to_string(), "--times"]);
        command.arg(self.whole.machine.results().join("nextest/default/junit.xml"));
        let printed: Value = serde_json::from_str(&self.builder.run(&mut command).ends_with(0).stdout).unwrap();
        let text = |shard: &Value, key: &str| shard[key].as_str().unwrap().to_owned();
        let shards = printed["shards"].as_array().unwrap();
        assert_eq!(shards.len(), MACHINES, "{printed}");
        shards.iter().map(|shard| (text(shard, "shard"), text(shard, "filter"))).collect()
    }

    fn all_at_once(&self, by: &str, shards: &[Shard]) -> Vec<Share> {
        let share = |(shard, filter): &Shard| {
            let name = format!("by-{by}-{shard}");
            Share::of(&self.site, self.site.machine(&name, &self.builder), &name, filter)
        };
        thread::scope(|scope| {
            let threads: Vec<_> = shards.iter().map(|shard| scope.spawn(move || share(shard))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a shard runs")).collect()
        })
    }

    /// What `lvh report` tells of all that these machines ran, and fails over.
    #[track_caller]
    fn report(&self, machines: &[&Machine]) -> String {
        let mut command = self.builder.command("lvh");
        command.arg("report").args(machines.iter().map(|machine| machine.results()));
        command.args(["--expect", "tests.json", "-o", "report.html", "-o", "summary.md"]);
        self.builder.run(&mut command).ends_with(1).stderr
    }

    #[track_caller]
    fn check_same(&self, machines: &[&Machine]) {
        let results: Vec<_> = machines.iter().map(|machine| machine.results()).collect();
        assert_eq!(outcomes(&results), self.outcomes);
        assert_eq!(self.report(machines), self.verdict);
    }

    /// Prints what the shards take beside one machine.
    fn compare(&self, by: &str, shares: &[Share]) {
        shares.iter().for_each(Share::print);
        for (index, what) in ["tests", "prefetch and tests"].iter().enumerate() {
            let together: Duration = shares.iter().map(|share| share.cpu()[index]).sum();
            let (together, alone) = (together.as_secs_f64(), self.whole.cpu()[index].as_secs_f64());
            let ratio = together / alone;
            println!("by {by}: {what}: {together:.1} s of CPU together, {alone:.1} s alone: {ratio:.2} (goal: 1.2)");
        }
    }

    /// A new machine in the place of one is switched off at some moment, and begins anew with what it has then.
    fn check_a_killed_shard(&self, shards: &[Shard], shares: &[Share]) {
        let seed = env::var("LVH_TEST_SEED")
            .map_or_else(|_| RandomState::new().hash_one(std::process::id()), |seed| seed.parse().expect("a number"));
        let (victim, fraction) = (seed as usize % MACHINES, (seed >> 32) as f64 / f64::from(u32::MAX));
        let after = (shares[victim].prefetch.time + shares[victim].run.time).mul_f64(fraction);
        let (machine, filter) = (self.site.machine("again", &self.builder), &shards[victim].1);
        println!("LVH_TEST_SEED={seed}: shard {} is killed after {after:.1?}", shards[victim].0);
        self.is_killed(&machine, filter, after);
        machine.run(&mut Share::fetching(&self.site, &machine, filter)).ends_with(0);
        println!("shard {} again: {}", shards[victim].0, Share::run(&self.site, &machine, filter));
        let others = shares.iter().enumerate().filter(|(number, _)| *number != victim);
        let others = others.map(|(_, share)| &share.machine);
        self.check_same(&others.chain([&machine]).collect::<Vec<_>>());
    }

    /// Runs the shard until then; nothing of it stays.
    fn is_killed(&self, machine: &Machine, filter: &str, after: Duration) {
        let until = Instant::now() + after;
        for mut command in [Share::fetching(&self.site, machine, filter), Share::running(&self.site, machine, filter)] {
            let traces = Traces::mark(command.stdout(Stdio::null()).stderr(Stdio::null()));
            let ended = ends_until(&mut command, until);
            traces.check_gone();
            if !ended {
                break;
            }
        }
    }
}

/// Whether the command ends by itself until then; else it is killed.
fn ends_until(command: &mut Command, until: Instant) -> bool {
    let mut child = command.spawn().unwrap();
    while Instant::now() < until {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    false
}

/// All were run, and not all is well.
fn check_outcomes(outcomes: &Outcomes) {
    let count = |word: &str| outcomes.values().filter(|outcome| outcome.starts_with(word)).count();
    let (failed, skipped) = (4 * 3 + 1, 3 + 1);
    let expected = (40 * 3, failed, skipped);
    assert_eq!((outcomes.len(), count("failed"), count("skipped")), expected, "{outcomes:?}");
}
