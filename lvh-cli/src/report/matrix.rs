//! One table of all results: a row per test, a column per kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use lvh_core::natural::natural;

use super::expected::ExpectedTest;
use super::failure::Failure;
use super::input::Inputs;
use super::junit::{Ending, TestRun, Writer};
use super::place::Places;

/// The results of all reports by test and kernel.
#[derive(Debug)]
pub(super) struct Matrix {
    /// The kernels, oldest version first; in front, what no report names.
    pub(super) columns: Vec<Column>,
    /// By test binary and test.
    pub(super) rows: Vec<Row>,
    pub(super) counts: Counts,
    /// Where logs are.
    pub(super) inputs: Inputs,
}

#[derive(Debug)]
pub(super) struct Column {
    /// The kernel, with the image behind it; `None` where it is the test's only one, and no report names it.
    pub(super) place: Option<String>,
    /// Several where shards had different packages of it.
    pub(super) releases: BTreeSet<String>,
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) binary: String,
    pub(super) path: String,
    /// One for each column.
    pub(super) cells: Vec<Option<Cell>>,
}

/// A test on a kernel.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) outcome: Outcome,
    pub(super) seconds: Option<f64>,
    /// How often its runner tried again.
    pub(super) retries: usize,
    /// How many shards ran it.
    pub(super) times: usize,
    /// The report that tells of it.
    pub(super) report: PathBuf,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Ran(Ending),
    /// It should have run.
    Missing,
}

/// How many tests, on each kernel, ended how.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
    pub(super) missing: usize,
    pub(super) repeated: usize,
}

/// A test's place in the table: its binary, its path, its kernel.
type Key = (String, String, Option<String>);

impl Matrix {
    /// That of all reports; what is `expected` and in none is missing.
    pub(super) fn of(mut inputs: Inputs, expected: &[ExpectedTest]) -> anyhow::Result<Self> {
        let reports = std::mem::take(&mut inputs.reports);
        let runs: Vec<(PathBuf, TestRun)> =
            reports.into_iter().flat_map(|(path, runs)| runs.into_iter().map(move |run| (path.clone(), run))).collect();
        anyhow::ensure!(!runs.is_empty() || !expected.is_empty(), "no test ran: the reports are empty");
        let names = runs.iter().map(|(_, run)| run.name.as_str()).chain(expected.iter().map(|test| test.name.as_str()));
        let places = Places::of(runs.iter().filter_map(|(_, run)| run.place.as_deref()), names);
        let (releases, mut cells) = (releases(&runs, &places), cells_of(runs, &places));
        let missing: Vec<Key> = expected.iter().filter_map(|test| missing_key(test, &places, &cells)).collect();
        cells.extend(missing.into_iter().map(|key| (key, Cell::missing())));
        Ok(Self::arranged(cells, releases, inputs))
    }

    fn arranged(cells: BTreeMap<Key, Cell>, releases: BTreeMap<String, BTreeSet<String>>, inputs: Inputs) -> Self {
        let mut places: Vec<Option<String>> = cells.keys().map(|(_, _, place)| place.clone()).collect();
        places.sort_by_cached_key(|place| place.as_deref().map(natural));
        places.dedup();
        let mut counts = Counts::default();
        let mut rows: Vec<Row> = Vec::new();
        for ((binary, path, place), cell) in cells {
            counts.add(&cell);
            if rows.last().is_none_or(|row| (&row.binary, &row.path) != (&binary, &path)) {
                rows.push(Row { binary, path, cells: places.iter().map(|_| None).collect() });
            }
            let column = places.iter().position(|other| *other == place).expect("every place is there");
            rows.last_mut().expect("one was pushed").cells[column] = Some(cell);
        }
        let releases = |place: &Option<String>| place.as_ref().and_then(|place| releases.get(place)).cloned();
        let columns = places.into_iter().map(|place| Column { releases: releases(&place).unwrap_or_default(), place });
        Self { columns: columns.collect(), rows, counts, inputs }
    }

    /// Each cell that `wanted` takes, with what to call its test.
    pub(super) fn cells<'m>(
        &'m self,
        wanted: impl Fn(&Cell) -> bool + 'm,
    ) -> impl Iterator<Item = (Title<'m>, &'m Cell)> {
        self.rows
            .iter()
            .flat_map(|row| row.cells.iter().zip(&self.columns).map(move |(cell, column)| (row, cell, column)))
            .filter_map(move |(row, cell, column)| {
                let cell = cell.as_ref().filter(|cell| wanted(cell))?;
                Some((Title { binary: &row.binary, path: &row.path, place: column.place.as_deref() }, cell))
            })
    }

    /// The verdict for a terminal, with the tests to look at.
    pub(super) fn verdict_lines(&self) -> String {
        const LINES: usize = 20;
        let mut text = format!("lvh: {}\n", self.counts.sentence());
        let bad: Vec<String> =
            self.cells(Cell::needs_a_look).map(|(title, cell)| format!("  {title}: {}\n", cell.note())).collect();
        text.extend(bad.iter().take(LINES).map(String::as_str));
        if let more @ 1.. = bad.len().saturating_sub(LINES) {
            let _ = writeln!(text, "  and {more} more");
        }
        text
    }
}

/// What to call a test on a kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Title<'m> {
    pub(super) binary: &'m str,
    path: &'m str,
    place: Option<&'m str>,
}

impl Title<'_> {
    /// Without the binary.
    pub(super) fn short(&self) -> String {
        self.place.map_or_else(|| self.path.to_owned(), |place| format!("{} on {place}", self.path))
    }
}

impl std::fmt::Display for Title<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.binary, self.short())
    }
}

impl Column {
    /// Its heading.
    pub(super) fn label(&self) -> &str {
        self.place.as_deref().unwrap_or("host, or only kernel")
    }
}

impl Cell {
    fn missing() -> Self {
        Self { outcome: Outcome::Missing, seconds: None, retries: 0, times: 0, report: PathBuf::new() }
    }

    fn needs_a_look(&self) -> bool {
        self.times > 1 || matches!(self.outcome, Outcome::Missing | Outcome::Ran(Ending::Failed(_)))
    }

    /// Why it failed.
    pub(super) fn failure(&self) -> Option<&Failure> {
        match &self.outcome {
            Outcome::Ran(ending) => ending.failure(),
            Outcome::Missing => None,
        }
    }

    /// How it ended, in a word.
    pub(super) fn word(&self) -> &'static str {
        match self.outcome {
            Outcome::Ran(Ending::Passed) => "passed",
            Outcome::Ran(Ending::Skipped(_)) => "skipped",
            Outcome::Ran(Ending::Failed(_)) => "FAILED",
            Outcome::Missing => "not run",
        }
    }

    /// What there is to say of it in a line.
    pub(super) fn note(&self) -> String {
        let why = match &self.outcome {
            Outcome::Ran(Ending::Failed(failure)) => format!(": {}", failure.first_line()),
            Outcome::Ran(Ending::Skipped(reason)) if !reason.is_empty() => format!(": {reason}"),
            _ => String::new(),
        };
        let repeated = if self.times > 1 { format!(" (ran {} times)", self.times) } else { String::new() };
        format!("{}{why}{repeated}", self.word())
    }
}

impl Counts {
    fn add(&mut self, cell: &Cell) {
        *match cell.outcome {
            Outcome::Ran(Ending::Passed) => &mut self.passed,
            Outcome::Ran(Ending::Skipped(_)) => &mut self.skipped,
            Outcome::Ran(Ending::Failed(_)) => &mut self.failed,
            Outcome::Missing => &mut self.missing,
        } += 1;
        self.repeated += usize::from(cell.times > 1);
    }

    /// Whether all that should run did, and none failed.
    pub(super) fn is_good(self) -> bool {
        self.failed == 0 && self.missing == 0
    }

    /// What is bad first; what there is none of is left out.
    pub(super) fn sentence(self) -> String {
        let Self { passed, failed, skipped, missing, repeated } = self;
        let parts = [(failed, "failed"), (missing, "not run"), (repeated, "run more than once"), (skipped, "skipped")];
        let parts = parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        parts.chain([format!("{passed} passed")]).collect::<Vec<_>>().join(", ")
    }
}

/// Where an expected test stands that no report has.
fn missing_key(test: &ExpectedTest, places: &Places, cells: &BTreeMap<Key, Cell>) -> Option<Key> {
    let (path, place) = places.split(&test.name);
    let key = (test.binary.clone(), path.to_owned(), place);
    // A test of one kernel has that in the reports, and not in its name.
    let first = cells.range((key.0.clone(), key.1.clone(), None)..).next().map(|(first, _)| first);
    let at_any_place = first.is_some_and(|first| (&first.0, &first.1) == (&key.0, &key.1));
    let ran = if key.2.is_some() { cells.contains_key(&key) } else { at_any_place };
    (!ran).then_some(key)
}

/// The releases of each kernel.
fn releases(runs: &[(PathBuf, TestRun)], places: &Places) -> BTreeMap<String, BTreeSet<String>> {
    let mut releases: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, run) in runs {
        let place = places.split(&run.name).1.or_else(|| run.place.clone());
        if let (Some(place), Some(release)) = (place, &run.release) {
            releases.entry(place).or_default().insert(release.clone());
        }
    }
    releases
}

fn cells_of(runs: Vec<(PathBuf, TestRun)>, places: &Places) -> BTreeMap<Key, Cell> {
    let mut told: BTreeMap<(String, String), Vec<(PathBuf, String)>> = BTreeMap::new();
    for (report, run) in runs.iter().filter(|(_, run)| run.writer == Writer::Lvh) {
        let of_test = told.entry((run.binary.clone(), run.name.clone())).or_default();
        of_test.extend(run.place.iter().map(|place| (report.clone(), place.clone())));
    }
    let mut grouped: BTreeMap<Key, Vec<(PathBuf, TestRun)>> = BTreeMap::new();
    for (report, run) in runs {
        let (path, place) = places.split(&run.name);
        let beside = || nearest(told.get(&(run.binary.clone(), run.name.clone()))?, &report);
        let place = place.or_else(|| run.place.clone()).or_else(beside);
        let key = (run.binary.clone(), path.to_owned(), place);
        grouped.entry(key).or_default().push((report, run));
    }
    grouped.into_iter().map(|(key, runs)| (key, merge(runs))).collect()
}

/// What lvh's record in the directories around `report` says of the same test.
fn nearest(told: &[(PathBuf, String)], report: &Path) -> Option<String> {
    let shared = |other: &Path| other.components().zip(report.components()).take_while(|(a, b)| a == b).count();
    told.iter().max_by_key(|(other, _)| shared(other)).map(|(_, place)| place.clone())
}

/// cargo-nextest and lvh tell of one run: what counts most holds, and lvh's words. More runs are another shard's.
fn merge(runs: Vec<(PathBuf, TestRun)>) -> Cell {
    let by_lvh = runs.iter().filter(|(_, run)| run.writer == Writer::Lvh).count();
    let times = by_lvh.max(runs.len() - by_lvh);
    let retries = runs.iter().map(|(_, run)| run.retries).max().unwrap_or_default();
    let rank = |run: &TestRun| {
        let ending = match run.ending {
            Ending::Passed => 0,
            Ending::Skipped(_) => 1,
            Ending::Failed(_) => 2,
        };
        (ending, run.writer == Writer::Lvh)
    };
    // Under cargo-nextest the test's own words go past lvh.
    let blocks = runs.iter().filter_map(|(_, run)| Some(run.ending.failure()?.block.clone()));
    let fullest = blocks.max_by_key(String::len);
    let (report, mut run) = runs.into_iter().max_by_key(|(_, run)| rank(run)).expect("a group has one at least");
    if let (Ending::Failed(failure), Some(block)) = (&mut run.ending, fullest) {
        failure.block = block;
    }
    Cell { outcome: Outcome::Ran(run.ending), seconds: run.seconds, retries, times, report }
}
