use crate::Arch;
use crate::kernel::options::{Base, KernelOption};
use crate::store::Key;

/// What kernel is to be made of a source tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildSpec {
    /// What its configuration starts from.
    pub base: Base,
    /// What is set then; of two settings of one option the last counts.
    pub options: Vec<KernelOption>,
    /// What it runs on.
    pub arch: Arch,
    /// Further arguments of each call of make, such as `LLVM=1`.
    pub make_args: Vec<String>,
    /// An option that is not honoured is an error.
    pub strict: bool,
}

impl Default for BuildSpec {
    fn default() -> Self {
        let (base, arch) = (Base::Defconfig, Arch::HOST);
        Self { base, options: Vec::new(), arch, make_args: Vec::new(), strict: false }
    }
}

impl BuildSpec {
    /// Changes with whatever the configuration depends on.
    pub(in crate::kernel) fn key(&self) -> Key {
        let base = match self.base {
            Base::Defconfig => "defconfig",
            Base::Nothing => "allnoconfig",
        };
        let words = [base, self.arch.as_str()].map(str::to_owned).into_iter();
        let options = self.options.iter().map(ToString::to_string);
        Key::of(words.chain(self.make_args.iter().cloned()).chain(["options".to_owned()]).chain(options))
    }
}
