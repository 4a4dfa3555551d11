//! What of a build depends on the architecture.

use crate::Arch;

/// The make arguments, names and places of one architecture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    arch: Arch,
}

impl Target {
    /// All that can be built for.
    pub(super) const ALL: [Self; 2] = [Self { arch: Arch::X86_64 }, Self { arch: Arch::Aarch64 }];

    pub(super) fn of(arch: Arch) -> Self {
        Self { arch }
    }

    /// The folder of `arch` in the source.
    pub(super) fn srcarch(self) -> &'static str {
        match self.arch {
            Arch::X86_64 => "x86",
            Arch::Aarch64 => "arm64",
        }
    }

    /// What make is told where the machine is another.
    pub(super) fn cross_args(self) -> Vec<String> {
        if self.arch == Arch::HOST {
            return Vec::new();
        }
        let arch = match self.arch {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "arm64",
        };
        vec![format!("ARCH={arch}"), format!("CROSS_COMPILE={}", self.cross_prefix())]
    }

    fn cross_prefix(self) -> &'static str {
        match self.arch {
            _ if self.arch == Arch::HOST => "",
            Arch::X86_64 => "x86_64-linux-gnu-",
            Arch::Aarch64 => "aarch64-linux-gnu-",
        }
    }

    /// GCC for it.
    pub(super) fn gcc(self) -> String {
        format!("{}gcc", self.cross_prefix())
    }

    /// The Debian package of [`Target::gcc`].
    pub(super) fn gcc_package(self) -> &'static str {
        match self.arch {
            _ if self.arch == Arch::HOST => "gcc",
            Arch::X86_64 => "gcc-x86-64-linux-gnu",
            Arch::Aarch64 => "gcc-aarch64-linux-gnu",
        }
    }

    /// The goal of make that makes the image.
    pub(super) fn goal(self) -> &'static str {
        match self.arch {
            Arch::X86_64 => "bzImage",
            Arch::Aarch64 => "Image.gz",
        }
    }

    /// The image, in the output directory.
    pub(super) fn image(self) -> &'static str {
        match self.arch {
            Arch::X86_64 => "arch/x86/boot/bzImage",
            Arch::Aarch64 => "arch/arm64/boot/Image",
        }
    }

    /// What people look for in the tree, and what of the output directory that is.
    pub(super) fn standing(self) -> &'static [(&'static str, &'static str)] {
        match self.arch {
            Arch::X86_64 => &[
                ("arch/x86_64/boot/bzImage", "arch/x86/boot/bzImage"),
                ("arch/x86/boot/bzImage", "arch/x86/boot/bzImage"),
            ],
            Arch::Aarch64 => &[
                ("arch/arm64/boot/Image.gz", "arch/arm64/boot/Image.gz"),
                ("arch/arm64/boot/Image", "arch/arm64/boot/Image"),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_architecture_is_crossed_to() {
        assert!(Target::of(Arch::HOST).cross_args().is_empty());
        assert_eq!(Target::of(Arch::HOST).gcc(), "gcc");
        let check = |arch: Arch, args: [&str; 2], package: &str| {
            let target = Target::of(arch);
            assert_eq!((target.cross_args(), target.gcc_package()), (args.map(str::to_owned).to_vec(), package));
        };
        match Arch::HOST {
            Arch::X86_64 => {
                check(Arch::Aarch64, ["ARCH=arm64", "CROSS_COMPILE=aarch64-linux-gnu-"], "gcc-aarch64-linux-gnu");
            }
            Arch::Aarch64 => {
                check(Arch::X86_64, ["ARCH=x86_64", "CROSS_COMPILE=x86_64-linux-gnu-"], "gcc-x86-64-linux-gnu")
            }
        }
    }
}
