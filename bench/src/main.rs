//! `bench/run`: what lvh costs, beside the bare kernel and its peers, on one kernel and in turns.

mod bench;
mod chart;
mod compiler;
mod contenders;
mod first_build;
mod floor;
mod goals;
mod guest;
mod icount;
mod machine;
mod measure;
mod peers;
mod recipe;
mod report;
mod series;
mod shim;
mod starts;
mod statistics;
mod table;
mod terminal;

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use clap::builder::PossibleValuesParser;

use crate::bench::Bench;
use crate::contenders::{FIRST_BUILD, ICOUNT, NAMES, STARTS, is_wanted};
use crate::first_build::FirstBuild;
use crate::machine::Machine;
use crate::report::Report;
use crate::series::Series;
use crate::terminal::{output, say};

/// Measure lvh beside the bare kernel, virtme-ng and vmtest.
///
/// All boot the same kernel under the same accelerator, in turns: what slows the machine down for a while slows all of
/// them, and ratios are taken within a round. CPU seconds are those of the whole tree of processes; the peak is that of the
/// largest process, which is QEMU.
#[derive(Debug, Parser)]
#[command(name = "bench/run")]
struct Args {
    /// Write everything to FILE, each sample included
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write pictures of where starts spend their time to DIR
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,
    /// How often each contender runs
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The kernel that all boot
    #[arg(long, value_name = "K", default_value = "6.12")]
    kernel: String,
    /// A kernel of the group `lvh-fast`, to boot beside Debian's cloud kernel: its build tree, or a name of bench/lvh.toml, which is
    /// built first where it is not yet
    #[arg(long, value_name = "K")]
    fast_kernel: Option<String>,
    /// Measure only these
    #[arg(long, value_name = "NAME", num_args = 1.., value_parser = PossibleValuesParser::new(NAMES.map(|(name, _)| name)))]
    only: Vec<String>,
    /// Where relative paths start
    #[arg(long, hide = true, default_value = ".")]
    from: PathBuf,
}

impl Args {
    /// As the commands find it that are started elsewhere: what has a slash is a path.
    fn fast_kernel(&self) -> Option<String> {
        let kernel = self.fast_kernel.as_ref()?;
        let path = || self.from.join(kernel).display().to_string();
        Some(if kernel.contains('/') { path() } else { kernel.clone() })
    }
}

fn main() -> anyhow::Result<()> {
    if let Some(log) = std::env::var_os(compiler::LOG) {
        compiler::stand_in(&log);
    }
    let args = Args::parse();
    let bench = Bench::prepare(&args.kernel, args.fast_kernel())?;
    let mut machine = Machine::look(&bench);
    let wanted = |name| is_wanted(name, &args.only);
    let counts = if wanted(ICOUNT) { icount::count_all(&bench) } else { Vec::new() };
    let first_build = wanted(FIRST_BUILD).then(|| build_first(&bench));
    let series = measure_rounds(&bench, &args);
    let starts = if wanted(STARTS) { starts::measure(&bench, args.rounds) } else { Vec::new() };
    machine.finish();
    let report = Report { machine, series, starts, first_build, counts };
    // What was measured is on the terminal, whatever becomes of the files.
    output(&report.text())?;
    write_files(&report, &args)
}

fn write_files(report: &Report, args: &Args) -> anyhow::Result<()> {
    if let Some(json) = &args.json {
        let file = args.from.join(json);
        fs::write(&file, format!("{:#}\n", report.to_json()))
            .with_context(|| format!("failed to write `{}`", file.display()))?;
    }
    match &args.pictures {
        Some(dir) if !report.starts.is_empty() => chart::write(&report.starts, &args.from.join(dir)),
        _ => Ok(()),
    }
}

fn build_first(bench: &Bench) -> Result<FirstBuild, String> {
    say("building examples/hello from nothing");
    FirstBuild::measure(bench)
}

/// Runs every contender once a round: first unmeasured, which builds tests and fills caches, and shows who cannot run. Each
/// round begins with another one, so that nobody always runs after the same neighbour.
fn measure_rounds(bench: &Bench, args: &Args) -> Vec<Series> {
    let mut series: Vec<Series> = contenders::wanted(bench, &args.only).into_iter().map(Series::new).collect();
    for round in 0..=args.rounds as usize {
        for turn in 0..series.len() {
            let index = (turn + round) % series.len();
            measure_once(bench, &mut series[index], round);
        }
    }
    series
}

fn measure_once(bench: &Bench, series: &mut Series, round: usize) {
    let Ok(recipe) = &series.contender.recipe else { return };
    let result = measure::run(recipe, &bench.log(series.contender.name));
    let said = result.as_ref().map_or_else(String::clone, |sample| format!("{:.2} s", sample.wall));
    let which = if round == 0 { "warm-up".to_owned() } else { format!("round {round}") };
    say(&format!("{which}: {}: {said}", series.contender.what));
    if round > 0 {
        series.push(result);
    }
}
