//! `lvh doctor`: what this machine has and lacks, and how to mend it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use lvh_core::Config;
use lvh_core::doctor::{Check, Facts, State, can_run, judge};

use crate::terminal;

/// Check what this machine has and lacks for running VMs, and how to mend it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Nothing is changed. Exit code 0 where lvh can run, 1 where something mandatory is missing.")]
pub(crate) struct Args {}

/// Prints the table; the code says whether lvh can run here.
pub(crate) fn run(Args {}: Args) -> anyhow::Result<ExitCode> {
    let dir = std::env::current_dir().context("failed to find the working directory")?;
    let data_dir = Config::for_process(&dir)?.data_dir()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let checks = judge(&Facts::gather(Path::new("/"), &path, &data_dir));
    terminal::output(&table(&checks)).context("failed to write to stdout")?;
    Ok(if can_run(&checks) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One line for each check, its cost and fix below it, and a verdict.
fn table(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        add_row(&mut text, check, width).expect("writing to a string does not fail");
    }
    text + "\n" + &verdict(checks) + "\n"
}

fn add_row(text: &mut String, check: &Check, width: usize) -> std::fmt::Result {
    writeln!(text, "{:<8} {:<width$}  {}", word(check.state), check.name, check.found)?;
    let notes = [("cost", check.cost), ("fix", check.fix.as_deref())];
    for (label, note) in notes.into_iter().filter_map(|(label, note)| Some((label, note?))) {
        writeln!(text, "{:<8} {:<width$}  {:<5} {note}", "", "", format!("{label}:"))?;
    }
    Ok(())
}

fn word(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Degraded => "warning",
        State::Missing => "MISSING",
    }
}

fn verdict(checks: &[Check]) -> String {
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let (missing, warnings) = (count(State::Missing), count(State::Degraded));
    match (missing, warnings) {
        (0, 0) => "lvh can run here".to_owned(),
        (0, _) => format!("lvh can run here, with {warnings} warning{}", plural(warnings)),
        _ => format!("lvh cannot run here: {missing} thing{} missing", plural(missing)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &'static str, state: State) -> Check {
        let lacks = state != State::Ok;
        let fix = lacks.then(|| "sudo mend it".to_owned());
        Check { name, state, found: "found".into(), cost: lacks.then_some("time"), fix }
    }

    #[test]
    fn the_table_lines_up() {
        let checks = [check("QEMU", State::Missing), check("/dev/kvm", State::Degraded), check("x", State::Ok)];
        let expected = "\
MISSING  QEMU      found
                   cost: time
                   fix:  sudo mend it
warning  /dev/kvm  found
                   cost: time
                   fix:  sudo mend it
ok       x         found

lvh cannot run here: 1 thing missing
";
        assert_eq!(table(&checks), expected);
    }

    #[test]
    fn the_verdict_counts() {
        assert_eq!(verdict(&[check("a", State::Ok)]), "lvh can run here");
        assert_eq!(verdict(&[check("a", State::Degraded)]), "lvh can run here, with 1 warning");
    }
}
