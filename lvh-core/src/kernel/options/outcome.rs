//! What became of each option.

use std::collections::HashSet;
use std::fmt;

use super::expression::Truth;
use super::{Kconfig, KernelOption, Setting};
use crate::kernel::{KernelConfig, Value};
use crate::{Error, ErrorKind, Result};

/// An option, and what `make` did with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionOutcome {
    /// What was asked for.
    pub option: KernelOption,
    /// What came of it.
    pub outcome: Outcome,
}

/// What became of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is as it was asked for.
    Honoured,
    /// It is set to something else, such as `m`, or `n` where nothing says why.
    WrongValue {
        /// What it is.
        got: String,
    },
    /// The tree's Kconfig files do not have it.
    UnknownSymbol {
        /// The one that was perhaps meant.
        nearest: Option<String>,
    },
    /// It depends on what is not so.
    UnmetDependency {
        /// What it takes, such as `NET_CLS`, `A or B` or `QUIET off`: all of these.
        needs: Vec<String>,
    },
    /// It has no prompt: other options turn it on.
    NotSettable,
}

impl OptionOutcome {
    /// Whether the option was honoured.
    pub fn is_honoured(&self) -> bool {
        self.outcome == Outcome::Honoured
    }
}

impl fmt::Display for OptionOutcome {
    /// Such as `CONFIG_TLS=m: needs INET`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.option)?;
        match &self.outcome {
            Outcome::Honoured => f.write_str("honoured"),
            Outcome::WrongValue { got } => write!(f, "came out as `{got}`"),
            Outcome::UnknownSymbol { nearest: None } => f.write_str("this kernel has no such option"),
            Outcome::UnknownSymbol { nearest: Some(name) } => {
                write!(f, "this kernel has no such option; did you mean CONFIG_{name}?")
            }
            Outcome::UnmetDependency { needs } => write!(f, "needs {}", needs.join(", ")),
            Outcome::NotSettable => f.write_str("cannot be set by itself: other options turn it on"),
        }
    }
}

/// What became of each of `options` in `config`. `kconfig` is only asked for where something was not honoured.
pub(in crate::kernel) fn judge(
    options: &[KernelOption],
    config: &KernelConfig,
    kconfig: impl FnOnce() -> Kconfig,
) -> Vec<OptionOutcome> {
    let mut kconfig = Lazy { make: Some(kconfig), made: None };
    let judged = effective(options).into_iter().map(|option| {
        let got = config.get(&option.symbol);
        let outcome = match is_honoured(&option.setting, got) {
            true => Outcome::Honoured,
            false => explain(option, got, config, kconfig.get()),
        };
        OptionOutcome { option: option.clone(), outcome }
    });
    judged.collect()
}

/// An error where an option is not as it was asked for, unless it is optional.
pub(in crate::kernel) fn refuse_lost(subject: &str, outcomes: &[OptionOutcome]) -> Result<()> {
    let lost: Vec<_> =
        outcomes.iter().filter(|o| !o.is_honoured() && !o.option.optional).map(ToString::to_string).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let (count, options) = (lost.len(), if lost.len() == 1 { "option was" } else { "options were" });
    Err(Error::new(ErrorKind::Artifact, format!("{subject}: {count} {options} not honoured"))
        .with_output(lost.join("\n")))
}

/// Made when it is first needed.
struct Lazy<F> {
    make: Option<F>,
    made: Option<Kconfig>,
}

impl<F: FnOnce() -> Kconfig> Lazy<F> {
    fn get(&mut self) -> &Kconfig {
        if let Some(make) = self.make.take() {
            self.made = Some(make());
        }
        self.made.as_ref().expect("it was just made")
    }
}

/// The last of each name.
fn effective(options: &[KernelOption]) -> Vec<&KernelOption> {
    let mut seen = HashSet::new();
    let mut last: Vec<_> = options.iter().rev().filter(|option| seen.insert(&option.symbol)).collect();
    last.reverse();
    last
}

fn is_honoured(wanted: &Setting, got: Option<&Value>) -> bool {
    match (wanted, got) {
        (Setting::Default, _) | (Setting::No, None) => true,
        (Setting::Yes, Some(Value::Yes)) | (Setting::Module, Some(Value::Module)) => true,
        (Setting::Value(wanted) | Setting::Text(wanted), Some(Value::Text(got))) => wanted == got,
        // A string that is off is empty.
        (Setting::No, Some(Value::Text(got))) => got.is_empty(),
        // Kconfig leaves a string's line out where what it depends on is off.
        (Setting::Text(wanted), None) => wanted.is_empty(),
        _ => false,
    }
}

fn explain(option: &KernelOption, got: Option<&Value>, config: &KernelConfig, kconfig: &Kconfig) -> Outcome {
    let symbol = option.symbol.as_str();
    if !kconfig.knows(symbol) {
        return Outcome::UnknownSymbol { nearest: kconfig.nearest(symbol).map(str::to_owned) };
    }
    let wanted = if option.setting == Setting::Module { Truth::Module } else { Truth::Yes };
    let needs = match option.setting {
        Setting::No => Vec::new(),
        _ => kconfig.lacks(symbol, config, wanted),
    };
    match got {
        _ if !needs.is_empty() => Outcome::UnmetDependency { needs },
        None if !kconfig.has_prompt(symbol) => Outcome::NotSettable,
        None => Outcome::WrongValue { got: "n".to_owned() },
        Some(Value::Yes) => Outcome::WrongValue { got: "y".to_owned() },
        Some(Value::Module) => Outcome::WrongValue { got: "m".to_owned() },
        Some(Value::Text(text)) => Outcome::WrongValue { got: text.clone() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KCONFIG: &str = "config NET\n\tbool \"Net\"\nconfig TLS\n\ttristate \"TLS\"\n\tdepends on INET\n\
                           config USB\n\tbool \"USB\"\nconfig CRC\n\ttristate\nconfig NR_CPUS\n\tint \"CPUs\"\n";

    fn judged(entry: &[&str], config: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("Kconfig"), KCONFIG).unwrap();
        let options = KernelOption::parse_entry(entry).unwrap();
        let outcomes = judge(&options, &KernelConfig::parse(config), || Kconfig::load(dir.path(), "x86"));
        outcomes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn outcomes() {
        let check = |entry: &[&str], config: &str, expected: &str| assert_eq!(judged(entry, config), expected);
        check(&["-e", "NET"], "CONFIG_NET=y\n", "CONFIG_NET=y: honoured");
        check(&["-d", "LUSTRE_FS"], "", "# CONFIG_LUSTRE_FS is not set: honoured");
        check(&["-d", "KEYS"], "CONFIG_KEYS=\"\"\n", "# CONFIG_KEYS is not set: honoured");
        check(&["-e", "NTE"], "", "CONFIG_NTE=y: this kernel has no such option");
        check(&["-e", "NR_CPUZ"], "", "CONFIG_NR_CPUZ=y: this kernel has no such option; did you mean CONFIG_NR_CPUS?");
        check(&["-m", "TLS"], "", "CONFIG_TLS=m: needs INET");
        check(&["-e", "TLS"], "CONFIG_INET=m\nCONFIG_TLS=m\n", "CONFIG_TLS=y: needs INET=y (it is m)");
        check(&["-m", "TLS"], "CONFIG_INET=y\nCONFIG_TLS=y\n", "CONFIG_TLS=m: came out as `y`");
        check(&["-d", "USB"], "CONFIG_USB=y\n", "# CONFIG_USB is not set: came out as `y`");
        check(&["-e", "CRC"], "", "CONFIG_CRC=y: cannot be set by itself: other options turn it on");
        check(&["--set-val", "NR_CPUS", "8"], "CONFIG_NR_CPUS=64\n", "CONFIG_NR_CPUS=8: came out as `64`");
        check(&["-e", "NET", "-d", "NET"], "", "# CONFIG_NET is not set: honoured");
        check(&["-u", "NET"], "CONFIG_NET=y\n", "# CONFIG_NET: its default: honoured");
    }

    #[test]
    fn lost_options_are_an_error_that_names_them() {
        let option = |symbol: &str, optional| KernelOption { symbol: symbol.into(), setting: Setting::Yes, optional };
        let outcome = Outcome::UnknownSymbol { nearest: None };
        let lost = |symbol, optional| OptionOutcome { option: option(symbol, optional), outcome: outcome.clone() };
        assert!(refuse_lost("kernel `k`", &[lost("NEWER", true)]).is_ok());
        let error = refuse_lost("kernel `k`", &[lost("A", false), lost("NEWER", true)]).unwrap_err();
        assert_eq!(error.to_string(), "kernel `k`: 1 option was not honoured");
        assert_eq!(error.output(), Some("CONFIG_A=y: this kernel has no such option"));
    }
}
