//! What was measured of one contender.

use serde_json::{Value, json};

use crate::contenders::Contender;
use crate::measure::Sample;
use crate::recipe::Recipe;
use crate::statistics::{median, min};

/// A contender and its runs, one a round.
#[derive(Debug)]
pub(crate) struct Series {
    /// Who.
    pub(crate) contender: Contender,
    /// A round's sample; none where it failed.
    pub(crate) samples: Vec<Option<Sample>>,
    /// Why it failed, in whichever rounds it did.
    pub(crate) failures: Vec<String>,
}

impl Series {
    /// Nothing yet; a contender that cannot run has failed from the start.
    pub(crate) fn new(contender: Contender) -> Self {
        let failures = contender.recipe.as_ref().err().cloned().into_iter().collect();
        Self { contender, samples: Vec::new(), failures }
    }

    /// Takes a round's result.
    pub(crate) fn push(&mut self, result: Result<Sample, String>) {
        self.samples.push(result.map_err(|why| self.failures.push(why)).ok());
    }

    /// One figure of every round.
    pub(crate) fn values(&self, of: impl Fn(&Sample) -> f64) -> Vec<Option<f64>> {
        self.samples.iter().map(|sample| sample.as_ref().map(&of)).collect()
    }

    /// Wall-clock seconds of every round.
    pub(crate) fn walls(&self) -> Vec<Option<f64>> {
        self.values(|sample| sample.wall)
    }

    /// CPU seconds of every round.
    pub(crate) fn cpus(&self) -> Vec<Option<f64>> {
        self.values(|sample| sample.cpu)
    }

    pub(crate) fn to_json(&self) -> Value {
        let figure = |of: fn(&Sample) -> f64| {
            let values: Vec<f64> = self.values(of).into_iter().flatten().collect();
            json!({ "median": median(&values), "min": min(&values) })
        };
        let command = self.contender.recipe.as_ref().map(Recipe::line).ok();
        json!({
            "name": self.contender.name,
            "what": self.contender.what,
            "command": command,
            "wall_s": figure(|sample| sample.wall),
            "cpu_s": figure(|sample| sample.cpu),
            "peak_mib": figure(|sample| sample.peak_mib),
            "samples": self.samples.iter().map(|sample| sample.map(Sample::to_json)).collect::<Vec<_>>(),
            "failures": self.failures,
        })
    }
}

impl Sample {
    pub(crate) fn to_json(self) -> Value {
        json!({ "wall_s": self.wall, "cpu_s": self.cpu, "peak_mib": self.peak_mib })
    }
}
