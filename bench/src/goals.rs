//! What the project wants to reach. None of its failures is one of the run: figures are news, not a test.

use serde_json::{Value, json};

use crate::table;

/// A figure, and what it is to be.
#[derive(Debug)]
pub(crate) struct Goal {
    /// What is measured.
    pub(crate) what: &'static str,
    /// How much it may be, or is to be.
    pub(crate) limit: Limit,
    /// Of what: the figure's unit.
    pub(crate) unit: &'static str,
    /// By wall-clock and by CPU time; none where it was not measured, or is not meant.
    pub(crate) measured: [Option<f64>; 2],
}

/// Which figures are good.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    /// Whether it is met; none: what it takes to judge was not measured. On a busy machine wall time means little.
    fn is_met(&self, busy: bool) -> Option<bool> {
        let [wall, cpu] = self.measured;
        let judged = if busy { cpu } else { wall.or(cpu) };
        judged.map(|figure| match self.limit {
            Limit::AtMost(limit) => figure <= limit,
            Limit::AtLeast(limit) => figure >= limit,
        })
    }

    fn limit_text(&self) -> String {
        match self.limit {
            Limit::AtMost(limit) => format!("≤ {limit} {}", self.unit),
            Limit::AtLeast(limit) => format!("≥ {limit} {}", self.unit),
        }
    }

    fn row(&self, busy: bool) -> Vec<String> {
        let [wall, cpu] =
            self.measured.map(|figure| figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.2}")));
        let verdict = match self.is_met(busy) {
            Some(true) => "met",
            Some(false) => "not met",
            None => "not judged",
        };
        vec![self.what.to_owned(), self.limit_text(), wall, cpu, verdict.to_owned()]
    }

    pub(crate) fn to_json(&self, busy: bool) -> Value {
        let [wall, cpu] = self.measured;
        json!({ "what": self.what, "goal": self.limit_text(), "wall": wall, "cpu": cpu, "met": self.is_met(busy) })
    }
}

/// What a person reads.
pub(crate) fn table(goals: &[Goal], busy: bool) -> String {
    let head = ["what is to be reached", "goal", "by wall", "by CPU", ""].map(str::to_owned).to_vec();
    let note = "the machine was busy with other work: goals are judged by CPU time, and wall time means little\n";
    let rows = [vec![head], goals.iter().map(|goal| goal.row(busy)).collect()].concat();
    if busy { note.to_owned() + &table::render(&rows) } else { table::render(&rows) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_is_wall_time_but_on_busy_machines() {
        let met = |limit, measured, busy| Goal { what: "x", limit, unit: "s", measured }.is_met(busy);
        let (most, least) = (Limit::AtMost(1.0), Limit::AtLeast(4.0));
        assert_eq!(met(most, [Some(1.0), Some(2.0)], false), Some(true));
        assert_eq!(met(most, [Some(1.0), Some(2.0)], true), Some(false));
        assert_eq!(met(most, [None, Some(0.5)], false), Some(true));
        assert_eq!(met(least, [Some(5.0), Some(3.9)], true), Some(false));
        assert_eq!(met(least, [Some(5.0), None], true), None);
    }

    #[test]
    fn figures_stand_beside_their_goals() {
        let goal = Goal { what: "warm", limit: Limit::AtMost(0.3), unit: "× floor", measured: [Some(0.39), None] };
        assert_eq!(goal.row(false), ["warm", "≤ 0.3 × floor", "0.39", "-", "not met"]);
    }
}
