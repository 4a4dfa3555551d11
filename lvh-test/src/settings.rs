//! The harness's own settings: what the environment asks of a run, beside the configuration that all of lvh shares.

use std::path::PathBuf;

use lvh_core::config::{Config, Env, Expected};

/// What a run goes by, beside its arguments.
#[derive(Debug)]
pub(crate) struct Setup {
    /// What all of lvh shares.
    pub(crate) config: Config,
    /// What is the harness's own.
    pub(crate) settings: HarnessSettings,
}

/// What the environment asks of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HarnessSettings {
    /// `LVH_MODE=vm|host`: where test bodies run. Default: in VMs.
    pub(crate) mode: Mode,
    /// `LVH_KEEP=1`: leave the VMs of failed tests running. Default: false.
    pub(crate) retain: bool,
    /// `LVH_GDB=1`: wait for gdb before a guest's first instruction. Default: false.
    pub(crate) gdb: bool,
    /// `LVH_JUNIT=PATH`: where the JUnit report goes, relative to the workspace. Default: nowhere.
    pub(crate) junit: Option<PathBuf>,
}

/// Where test bodies run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// In VMs.
    #[default]
    Vm,
    /// On the host.
    Host,
}

impl HarnessSettings {
    /// Reads the variables that `env` knows.
    ///
    /// # Errors
    /// A value is not one of those allowed; the message names the variable and them.
    pub(crate) fn from_env(env: &Env<'_>) -> lvh_core::Result<Self> {
        Ok(Self {
            mode: env.parse("LVH_MODE", parse_mode)?.unwrap_or_default(),
            retain: env.switch("LVH_KEEP")?.unwrap_or_default(),
            gdb: env.switch("LVH_GDB")?.unwrap_or_default(),
            junit: env.raw("LVH_JUNIT").map(PathBuf::from),
        })
    }
}

impl Setup {
    /// What holds in the package that the tests belong to; cargo names it, and without cargo it is where we are.
    ///
    /// # Errors
    /// `lvh.toml` or a variable is wrong.
    pub(crate) fn of_process() -> lvh_core::Result<Self> {
        let package = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| ".".into(), PathBuf::from);
        let config = Config::for_process(&package)?;
        Ok(Self { config, settings: HarnessSettings::from_env(&Env::of_process())? })
    }
}

fn parse_mode(text: &str) -> Result<Mode, Expected> {
    match text {
        "vm" => Ok(Mode::Vm),
        "host" => Ok(Mode::Host),
        _ => Err(Expected::one_of(&["vm", "host"])),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use lvh_core::config::Env;

    use super::{HarnessSettings, Mode};

    fn read(variables: &[(&str, &str)]) -> lvh_core::Result<HarnessSettings> {
        let value = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        HarnessSettings::from_env(&Env::new(&value))
    }

    #[test]
    fn variables_are_read() {
        let all = [("LVH_MODE", "host"), ("LVH_KEEP", "1"), ("LVH_GDB", "1"), ("LVH_JUNIT", "reports/")];
        let expected = HarnessSettings { mode: Mode::Host, retain: true, gdb: true, junit: Some("reports/".into()) };
        assert_eq!(read(&all).unwrap(), expected);
        assert_eq!(read(&[("LVH_MODE", "vm"), ("LVH_KEEP", "0")]).unwrap(), HarnessSettings::default());
    }

    #[test]
    fn empty_variables_ask_for_nothing() {
        assert_eq!(read(&[("LVH_MODE", ""), ("LVH_JUNIT", "")]).unwrap(), HarnessSettings::default());
    }

    #[test]
    fn a_bad_variable_is_named_with_what_it_may_be() {
        for (name, value, expected) in [("LVH_MODE", "x", "`vm` or `host`"), ("LVH_GDB", "yes", "`1` or `0`")] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert_eq!(error, format!("the environment variable `{name}` is `{value}` (expected {expected})"));
        }
    }
}
