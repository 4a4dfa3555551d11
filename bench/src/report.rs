//! What a run says: a table, the goals, and everything for machines.

use serde_json::{Value, json};

use crate::contenders::{EXEC, EXEC_CLOUD, EXEC_FAST, FLOOR, NEXTEST, ONE, ONE_COLD, TEN, VMTEST, VNG};
use crate::first_build::FirstBuild;
use crate::goals::{self, Goal, Limit};
use crate::icount::Count;
use crate::machine::Machine;
use crate::measure::Sample;
use crate::series::Series;
use crate::starts::{self, Start};
use crate::statistics::{median, min, paired, paired_ratio};
use crate::table;

/// All that was measured.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) series: Vec<Series>,
    pub(crate) starts: Vec<Start>,
    pub(crate) first_build: Option<Result<FirstBuild, String>>,
    pub(crate) counts: Vec<Count>,
}

const HEAD: [&str; 9] = ["what", "wall s", "min", "CPU s", "peak MiB", "× floor", "(CPU)", "vng/this", "vmtest/this"];

impl Report {
    /// What a person reads.
    pub(crate) fn text(&self) -> String {
        let first_build = match &self.first_build {
            Some(Ok(built)) => built.table(),
            _ => String::new(),
        };
        let goals = goals::table(&self.goals(), self.machine.is_busy());
        let (starts, counts) = (starts::table(&self.starts), self.count_table());
        let parts = [self.machine.text(), self.table(), self.notes(), starts, first_build, counts, goals];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join("\n")
    }

    /// What a program reads.
    pub(crate) fn to_json(&self) -> Value {
        let first_build = self.first_build.as_ref().map(|built| match built {
            Ok(built) => built.to_json(),
            Err(why) => json!({ "failure": why }),
        });
        let busy = self.machine.is_busy();
        json!({
            "machine": self.machine.to_json(),
            "contenders": self.series.iter().map(Series::to_json).collect::<Vec<_>>(),
            "further_test_ms": { "wall": self.further_test()[0], "cpu": self.further_test()[1] },
            "first_build": first_build,
            "icount": self.counts.iter().map(Count::to_json).collect::<Vec<_>>(),
            "starts": self.starts.iter().map(Start::to_json).collect::<Vec<_>>(),
            "goals": self.goals().iter().map(|goal| goal.to_json(busy)).collect::<Vec<_>>(),
        })
    }

    fn table(&self) -> String {
        if self.series.is_empty() {
            return String::new();
        }
        let head = HEAD.map(str::to_owned).to_vec();
        table::render(&[vec![head], self.series.iter().map(|series| self.row(series)).collect()].concat())
    }

    fn row(&self, series: &Series) -> Vec<String> {
        let values = |of: fn(&Sample) -> f64| series.values(of).into_iter().flatten().collect::<Vec<_>>();
        let (walls, cpus, peaks) = (values(|s| s.wall), values(|s| s.cpu), values(|s| s.peak_mib));
        let floor = self.find(FLOOR);
        let over = |peer: &str| self.find(peer).and_then(|peer| paired_ratio(&peer.walls(), &series.walls()));
        vec![
            series.contender.what.to_owned(),
            number(median(&walls), 2),
            number(min(&walls), 2),
            number(median(&cpus), 2),
            number(median(&peaks), 0),
            number(floor.and_then(|floor| paired_ratio(&series.walls(), &floor.walls())), 2),
            number(floor.and_then(|floor| paired_ratio(&series.cpus(), &floor.cpus())), 2),
            number(over(VNG), 1),
            number(over(VMTEST), 1),
        ]
    }

    fn find(&self, name: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.contender.name == name)
    }

    /// What stands below the table: figures that are no contender's, and whatever went wrong.
    fn notes(&self) -> String {
        let mut lines = Vec::new();
        if let [Some(wall), Some(cpu)] = self.further_test() {
            lines.push(format!("a further test in a running VM: {wall:.0} ms, {cpu:.0} ms of CPU"));
        }
        match &self.first_build {
            Some(Ok(FirstBuild { sample, crates, .. })) => lines.push(format!(
                "first build of examples/hello: {crates} crates, {:.0} s of CPU, {:.0} s, once",
                sample.cpu, sample.wall
            )),
            Some(Err(why)) => lines.push(format!("first build of examples/hello failed: {why}")),
            None => {}
        }
        for series in &self.series {
            let failed = series.samples.iter().filter(|sample| sample.is_none()).count();
            let what = series.contender.what;
            lines.extend(match series.failures.as_slice() {
                [] => None,
                [why] if series.samples.is_empty() => Some(format!("{what}: not run: {why}")),
                [.., why] => Some(format!("{what}: failed {failed} of {} times: {why}", series.samples.len())),
            });
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Milliseconds that each test beyond the first adds, of wall and of CPU time.
    fn further_test(&self) -> [Option<f64>; 2] {
        let pair = self.find(TEN).zip(self.find(ONE));
        let ms = |ten: Vec<_>, one: Vec<_>| paired(&ten, &one, |ten, one| (ten - one) / 9.0 * 1e3);
        let wall = pair.and_then(|(ten, one)| ms(ten.walls(), one.walls()));
        [wall, pair.and_then(|(ten, one)| ms(ten.cpus(), one.cpus()))]
    }

    fn count_table(&self) -> String {
        if self.counts.is_empty() {
            return String::new();
        }
        let head =
            ["Minsn to init's first line", "lvh-init", "floor", "floor, plain bzImage"].map(str::to_owned).to_vec();
        let row = |count: &Count| {
            let figures = [count.lvh, count.floor, count.plain].map(|minsn| number(minsn, 0));
            [vec![count.release.clone()], figures.to_vec()].concat()
        };
        let failures =
            self.counts.iter().flat_map(|count| count.failures.iter().map(|why| format!("{}: {why}\n", count.release)));
        let rows = [vec![head], self.counts.iter().map(row).collect()].concat();
        table::render(&rows) + &failures.collect::<String>()
    }

    fn goals(&self) -> Vec<Goal> {
        let ratio = |above: &str, below: &str| {
            let pair = self.find(above).zip(self.find(below));
            let wall = pair.and_then(|(above, below)| paired_ratio(&above.walls(), &below.walls()));
            [wall, pair.and_then(|(above, below)| paired_ratio(&above.cpus(), &below.cpus()))]
        };
        let goal = |what, limit, unit, measured| Goal { what, limit, unit, measured };
        let (most, least) = (Limit::AtMost, Limit::AtLeast);
        vec![
            goal("lvh exec uname: warm", most(0.15), "× floor", ratio(EXEC, FLOOR)),
            goal("cargo test: 1 test, warm", most(0.3), "× floor", ratio(ONE, FLOOR)),
            goal("cargo test: 1 test, cold", most(1.3), "× floor", ratio(ONE_COLD, FLOOR)),
            goal(
                "lvh exec uname: cold, a kernel of lvh-fast",
                most(0.5),
                "× cloud kernel",
                ratio(EXEC_FAST, EXEC_CLOUD),
            ),
            goal("a further test in a running VM", most(100.0), "ms", self.further_test()),
            goal("cargo nextest: each of 10 tests", most(0.35), "s of CPU", [None, self.nextest_test()]),
            goal("first build of examples/hello", most(75.0), "s of CPU", [None, self.first_build_cpu()]),
            goal("virtme-ng, beside warm lvh exec", least(4.0), "×", ratio(VNG, EXEC)),
            goal("vmtest, beside warm lvh exec", least(4.0), "×", ratio(VMTEST, EXEC)),
        ]
    }

    /// CPU seconds of each of nextest's ten tests, each of which has a VM.
    fn nextest_test(&self) -> Option<f64> {
        let cpus: Vec<f64> = self.find(NEXTEST)?.cpus().into_iter().flatten().collect();
        median(&cpus).map(|cpu| cpu / 10.0)
    }

    fn first_build_cpu(&self) -> Option<f64> {
        Some(self.first_build.as_ref()?.as_ref().ok()?.sample.cpu)
    }
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}
