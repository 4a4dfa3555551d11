//! What this machine has and lacks.

use std::path::Path;

use lvh_core::Config;
use lvh_core::doctor::{Check, Facts, State, can_run, judge};

use super::show;
use super::table::{Row, count, table};

/// Prints the table; whether lvh can run here.
pub(super) fn run(config: &Config) -> anyhow::Result<bool> {
    let checks = look(config)?;
    let rows: Vec<Row<'_>> = checks.iter().map(Row::from).collect();
    show(&format!("{}\n{}\n", table(&rows), verdict(&checks)))?;
    Ok(can_run(&checks))
}

/// All that there is to say of this machine.
pub(super) fn look(config: &Config) -> lvh_core::Result<Vec<Check>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Ok(judge(&Facts::gather(Path::new("/"), &path, config)?))
}

fn verdict(checks: &[Check]) -> String {
    let number = |state| checks.iter().filter(|check| check.state == state).count();
    match (number(State::Missing), number(State::Degraded)) {
        (0, 0) => "lvh can run here".to_owned(),
        (0, warnings) => format!("lvh can run here, with {}", count(warnings, "warning")),
        (missing, _) => format!("lvh cannot run here: {} missing", count(missing, "thing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_counts() {
        let check = |state| Check { name: "a", state, found: String::new(), cost: None, fix: None };
        assert_eq!(verdict(&[check(State::Ok)]), "lvh can run here");
        assert_eq!(verdict(&[check(State::Degraded), check(State::Ok)]), "lvh can run here, with 1 warning");
        let two = [check(State::Missing), check(State::Degraded), check(State::Missing)];
        assert_eq!(verdict(&two), "lvh cannot run here: 2 things missing");
    }
}
