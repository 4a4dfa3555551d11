//! Where the time of a start goes: seen from outside, by when each line is printed, and told by lvh, of QEMU and the guest.

use std::io::{self, BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::bench::Bench;
use crate::contenders::{self, EXEC, EXEC_COLD, ONE, ONE_COLD};
use crate::recipe::Recipe;
use crate::statistics::median;
use crate::table;
use crate::terminal::say;

/// The parts of a run, one after the other.
pub(crate) const PARTS: [&str; 8] = ["cargo", "lvh", "QEMU", "resume or boot", "agent", "root", "program", "end"];

/// How long each part took, in seconds.
type Times = [f64; PARTS.len()];

/// What is started, and what it is called.
const STARTS: [(&str, &str); 4] = [
    (EXEC, "lvh exec, warm"),
    (ONE, "cargo test, warm"),
    (EXEC_COLD, "lvh exec, cold"),
    (ONE_COLD, "cargo test, cold"),
];

/// What was measured of one kind of start.
#[derive(Debug)]
pub(crate) struct Start {
    /// What a person calls it.
    pub(crate) what: &'static str,
    /// Medians of the parts, in seconds; none where no run succeeded.
    pub(crate) parts: Option<Times>,
    /// How many runs those are of.
    runs: usize,
    /// Why the last that failed did.
    failure: Option<String>,
}

/// Measures each kind of start so many times, in turns, and once before.
pub(crate) fn measure(bench: &Bench, rounds: u32) -> Vec<Start> {
    let mut results = STARTS.map(|_| Vec::new());
    for round in 0..=rounds {
        say(&format!("where starts spend their time: round {round} of {rounds}"));
        for ((name, _), results) in STARTS.iter().zip(&mut results) {
            let result = contenders::recipe(bench, name).and_then(|recipe| run(&recipe));
            if round > 0 {
                results.push(result);
            }
        }
    }
    STARTS.into_iter().zip(results).map(|((_, what), results)| Start::of(what, results)).collect()
}

impl Start {
    fn of(what: &'static str, results: Vec<Result<Times, String>>) -> Self {
        let failure = results.iter().filter_map(|result| result.as_ref().err()).next_back().cloned();
        let times: Vec<Times> = results.into_iter().flatten().collect();
        let of_part = |part: usize| median(&times.iter().map(|times| times[part]).collect::<Vec<_>>());
        let parts = (!times.is_empty()).then(|| std::array::from_fn(|part| of_part(part).unwrap_or_default()));
        Self { what, parts, runs: times.len(), failure }
    }

    /// Of a run like that.
    #[cfg(test)]
    pub(crate) fn example(what: &'static str, parts: Times) -> Self {
        Self::of(what, vec![Ok(parts)])
    }

    fn row(&self) -> Vec<String> {
        let ms = |part: f64| format!("{:.0}", part * 1e3);
        let figures = self.parts.iter().flat_map(|parts| parts.iter().copied().chain([parts.iter().sum()]));
        [self.what.to_owned()].into_iter().chain(figures.map(ms)).collect()
    }

    pub(crate) fn to_json(&self) -> Value {
        let parts = self.parts.map(|parts| {
            Value::Object(
                PARTS.iter().zip(parts).map(|(name, part)| ((*name).to_owned(), part.into())).collect::<Map<_, _>>(),
            )
        });
        json!({ "what": self.what, "runs": self.runs, "median_s": parts, "failure": self.failure })
    }
}

/// What a person reads.
pub(crate) fn table(starts: &[Start]) -> String {
    if starts.is_empty() {
        return String::new();
    }
    let head = ["ms, medians"].into_iter().chain(PARTS).chain(["sum"]).map(str::to_owned).collect();
    let failures = starts.iter().filter_map(|start| Some(format!("{}: {}\n", start.what, start.failure.as_ref()?)));
    let rows = [vec![head], starts.iter().map(Start::row).collect()].concat();
    table::render(&rows) + &failures.collect::<String>()
}

/// A line, and when it was printed, in seconds after the start.
#[derive(Debug)]
struct Line {
    at: f64,
    text: String,
}

fn run(recipe: &Recipe) -> Result<Times, String> {
    let (lines, all) = lines(recipe).map_err(|error| format!("`{}`: {error}", recipe.program.display()))?;
    let last = lines.last().map_or("no output", |line| line.text.as_str());
    times(&lines, all, &recipe.expect).ok_or_else(|| format!("it did not say what it did: {last}"))
}

/// All that a command prints, and how long it took.
fn lines(recipe: &Recipe) -> io::Result<(Vec<Line>, f64)> {
    let (reader, writer) = io::pipe()?;
    let mut command = recipe.command();
    command.env("LVH_VERBOSE", "1").stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let start = Instant::now();
    let mut child = command.spawn()?;
    // It holds our ends of the pipe.
    drop(command);
    let line = |text: io::Result<String>| text.map(|text| Line { at: start.elapsed().as_secs_f64(), text });
    let lines = BufReader::new(reader).lines().map(line).collect::<io::Result<_>>()?;
    child.wait()?;
    Ok((lines, start.elapsed().as_secs_f64()))
}

/// The parts of a run that took `all`: cargo says when it starts the program, lvh when the VM is ready and what that took,
/// and the program `expect`s to be heard, as a test does.
fn times(lines: &[Line], all: f64, expect: &str) -> Option<Times> {
    let cargo = lines.iter().find(|line| line.text.trim_start().starts_with("Running ")).map_or(0.0, |line| line.at);
    let started = lines.iter().position(|line| line.text.contains(" started in "))?;
    let [all_of_vm, qemu, guest, agent, root] = milliseconds(&lines[started].text)?.map(|ms| ms / 1e3);
    let said = |line: &&Line| line.text.contains(expect) || line.text.ends_with("ok");
    let (ready, program) = (lines[started].at, lines[started + 1..].iter().find(said)?.at);
    Some([cargo, ready - all_of_vm - cargo, qemu, guest, agent, root, program - ready, all - program])
}

/// The numbers before each `ms`: of the whole start, and of its parts.
fn milliseconds(line: &str) -> Option<[f64; 5]> {
    let words: Vec<&str> = line.split([' ', ':', ',']).collect();
    let numbers = words.windows(2).filter(|pair| pair[1] == "ms").map(|pair| pair[0].parse().ok());
    numbers.collect::<Option<Vec<f64>>>()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTED: &str = "lvh: kernel `6.12`: started in 361 ms: QEMU 46 ms, guest 90 ms, agent 112 ms, root 113 ms";

    fn check(lines: &[(u32, &str)], all: u32, expected: Option<[i64; PARTS.len()]>) {
        let lines: Vec<Line> =
            lines.iter().map(|&(ms, text)| Line { at: f64::from(ms) / 1e3, text: text.into() }).collect();
        let times = times(&lines, f64::from(all) / 1e3, "6.12.1");
        assert_eq!(times.map(|times| times.map(|time| (time * 1e3).round() as i64)), expected, "{lines:?}");
    }

    #[test]
    fn lines_tell_the_parts() {
        let ready = "lvh: kernel `6.12`: 6.12.1 ready in 0.4 s (tcg, virtio-serial, 9p, warm)";
        let exec = [(400, ready), (401, STARTED), (421, "6.12.1")];
        check(&exec, 431, Some([0, 40, 46, 90, 112, 113, 20, 10]));
        let running = "     Running tests/ten.rs (target/debug/deps/ten-1)";
        let test = [(200, running), (210, "running 1 test"), (600, STARTED), (640, "test test_0 ... ok"), (650, "")];
        check(&test, 700, Some([200, 39, 46, 90, 112, 113, 40, 60]));
    }

    #[test]
    fn runs_that_did_not_get_there_have_none() {
        check(&[], 9, None);
        check(&[(5, "6.12.1")], 9, None);
        check(&[(5, STARTED), (6, "test test_0 ... FAILED")], 9, None);
        check(&[(5, "lvh: k: started in 9 ms: QEMU x ms"), (6, "6.12.1")], 9, None);
    }

    #[test]
    fn a_start_is_the_medians_of_its_parts() {
        let run = |part| Ok([part; PARTS.len()]);
        let start = Start::of("x", vec![run(1.0), Err("lost".into()), run(3.0), run(9.0)]);
        assert_eq!((start.parts, start.runs), (Some([3.0; PARTS.len()]), 3));
        assert_eq!(start.failure.as_deref(), Some("lost"));
        assert_eq!(Start::of("x", Vec::new()).parts, None);
    }
}
