//! What one try at booting ended in, if not in a running guest.

use std::io;

use super::diagnosis::Cause;
use crate::error::{Error, ErrorKind};
use crate::machine::with_hint;
use crate::vm::VmSpec;

/// What one try at booting ended in.
pub(crate) enum Failure {
    /// The accelerator cannot run the guest; another may.
    Accelerator(String),
    /// The guest did not come up.
    Boot {
        /// Why.
        cause: Cause,
        /// What it was booted on, such as `channel serial, share 9p, tcg`.
        on: String,
        /// QEMU's and the console's last words.
        output: String,
    },
    /// The host could not even start it.
    Host(Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Host(with_hint(Error::new(ErrorKind::Io, "failed to start the VM"), error))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Host(error)
    }
}

impl Failure {
    /// The same for the user, who asked for `spec`.
    pub(crate) fn into_error(self, spec: &VmSpec) -> Error {
        let image = spec.image.as_ref().map(|image| format!(" with image {image}")).unwrap_or_default();
        let guest = format!("kernel `{}` ({}){image}", spec.kernel.name, spec.kernel.release);
        match self {
            Self::Accelerator(why) => Error::new(ErrorKind::Boot, format!("{guest} did not boot: {why}"))
                .with_hint("set LVH_ACCEL=auto to fall back to TCG"),
            Self::Boot { cause, on, output } => {
                let error = Error::new(ErrorKind::Boot, format!("{guest} did not boot: {cause} ({on})"));
                cause.hint().into_iter().fold(error.with_output(output), Error::with_hint)
            }
            Self::Host(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use crate::image::{DiskFormat, Image};
    use crate::kernel::Kernel;
    use crate::store::Key;

    fn spec() -> VmSpec {
        VmSpec::new(Kernel::example(), &Config::default())
    }

    /// Checks what the user is told.
    #[track_caller]
    fn check(failure: Failure, expected: &str) {
        assert_eq!(failure.into_error(&spec()).report(), expected);
    }

    #[test]
    fn an_image_is_named() {
        let image = Image {
            name: "base".into(),
            path: "/b".into(),
            format: DiskFormat::Raw,
            digest: Key::of(["a disk"]),
            in_use: Vec::new(),
        };
        let failure = Failure::Accelerator("KVM does not work".into());
        let report = failure.into_error(&spec().image(&image)).report();
        let expected = format!("kernel `k` (6.1) with image {} did not boot: ", image.label());
        assert!(report.starts_with(&expected), "{report}");
    }

    #[test]
    fn each_failure_has_its_words_and_its_hint() {
        check(
            Failure::Accelerator("KVM does not work".into()),
            "kernel `k` (6.1) did not boot: KVM does not work\n\nhint: set LVH_ACCEL=auto to fall back to TCG",
        );
        let boot =
            |cause| Failure::Boot { cause, on: "channel serial, share 9p, tcg".into(), output: "last words".into() };
        check(
            boot(Cause::InternalError),
            "kernel `k` (6.1) did not boot: QEMU reports an internal error (channel serial, share 9p, tcg)\n---- output ----\nlast words\n\
             ----------------",
        );
        check(
            boot(Cause::OutOfMemory("Out of memory".into())),
            "kernel `k` (6.1) did not boot: the kernel panicked: Out of memory (channel serial, share 9p, tcg)\n\
             ---- output ----\nlast words\n----------------\n\nhint: `memory` of [vm] in lvh.toml, or of the test, gives it more",
        );
        check(Error::new(ErrorKind::Io, "no pipe").with_hint("why").into(), "no pipe\n\nhint: why");
    }
}
