//! Why a guest did not come up.

use std::io;

use crate::error::{Error, ErrorKind};
use crate::vm::spec::VmSpec;

/// Why a guest did not come up.
pub(crate) enum Failure {
    /// The accelerator cannot run it; another may.
    Accelerator(String),
    /// Anything else, with QEMU's and the console's last words.
    Boot { why: String, output: String },
    /// The host could not even start it.
    Host(Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Host(Error::new(ErrorKind::Io, "failed to start the VM").with_source(error))
    }
}

impl Failure {
    pub(crate) fn into_error(self, spec: &VmSpec) -> Error {
        let kernel = format!("kernel `{}` ({})", spec.kernel.name, spec.kernel.release);
        match self {
            Self::Accelerator(why) => Error::new(ErrorKind::Boot, format!("{kernel} did not boot: {why}"))
                .with_hint("set LVH_ACCEL=auto to fall back to TCG"),
            Self::Boot { why, output } => {
                let hint = hint(&why, &output);
                let error = Error::new(ErrorKind::Boot, format!("{kernel} did not boot: {why}")).with_output(output);
                hint.into_iter().fold(error, Error::with_hint)
            }
            Self::Host(error) => error,
        }
    }
}

/// How to mend what a boot failed over, where we know it.
fn hint(why: &str, output: &str) -> Option<&'static str> {
    if why.starts_with("timed out") {
        Some("`boot-timeout` of [vm] in lvh.toml, or `boot_timeout` of the test, gives it more time")
    } else if why.contains("deadlocked on memory") || why.contains("Out of memory") {
        Some("`memory` of [vm] in lvh.toml, or of the test, gives it more")
    } else if why.starts_with("QEMU ended") && output.contains("Cannot allocate memory") {
        Some("`memory` of [vm] in lvh.toml, or of the test, asks for more than this machine can give")
    } else {
        None
    }
}
