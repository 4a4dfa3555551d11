//! Whether KVM is worth a try: nobody watches this QEMU, and one whose guest hangs would do so for ever.

use std::path::Path;

use crate::config::Accel;
use crate::vm::qemu::accel::{
    FOREIGN_HINT, KvmState, NO_KVM_HINT, Remembered, STATE, for_cpus, foreign, open_kvm, slow,
};
use crate::vm::{Hypervisor, kvm};
use crate::{Arch, Error, ErrorKind, Result, Store};

/// Who executes a guest of `arch` with so many CPUs, and a line that says why it is slow where the user cannot know.
/// What VMs of `data_dir` found out about KVM counts; where none did, a small guest is run under it.
///
/// # Errors
/// The user insists on KVM, and there is none.
pub fn accelerator(
    accel: Accel,
    arch: Arch,
    cpus: u32,
    data_dir: Option<&Path>,
) -> Result<(Hypervisor, Option<String>)> {
    let tcg = || for_cpus(Hypervisor::Tcg { single_thread: false }, cpus, arch);
    if accel == Accel::Tcg {
        return Ok((tcg(), None));
    }
    let (usable, hint) = match arch == Arch::HOST {
        true => (usable_kvm(data_dir), NO_KVM_HINT),
        false => (Err(foreign(arch)), FOREIGN_HINT),
    };
    match (usable, accel) {
        (Ok(()), _) => Ok((Hypervisor::Kvm, None)),
        (Err(why), Accel::Kvm) => Err(Error::new(ErrorKind::Missing, why).with_hint(hint)),
        (Err(why), _) => Ok((tcg(), Some(slow(&why)))),
    }
}

fn usable_kvm(data_dir: Option<&Path>) -> std::result::Result<(), String> {
    let device = open_kvm()?;
    match data_dir.and_then(|dir| Remembered::open(&Store::state_in(dir, STATE)).recall()) {
        Some(KvmState::Works) => Ok(()),
        Some(KvmState::Broken(why)) => Err(why),
        // No verdict of ours is written down: that is for who has run a kernel.
        Some(KvmState::Closed(_)) | None => kvm::trial(&device).map_err(|fault| fault.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_counts_and_insisting_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (broken, foreign) =
            (|| "it hangs".to_owned(), if Arch::HOST == Arch::X86_64 { Arch::Aarch64 } else { Arch::X86_64 });
        Remembered::open(&Store::state_in(dir.path(), STATE)).keep(&KvmState::Broken(broken()));
        let (slow, why) = accelerator(Accel::Auto, Arch::HOST, 1, Some(dir.path())).unwrap();
        assert_eq!(slow, Hypervisor::Tcg { single_thread: false });
        assert!(why.is_some_and(|why| why.ends_with("; using TCG, about ten times slower")));
        let error = accelerator(Accel::Kvm, Arch::HOST, 1, Some(dir.path())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Missing);
        assert_eq!(accelerator(Accel::Tcg, Arch::HOST, 1, Some(dir.path())).unwrap().1, None);
        assert_ne!(accelerator(Accel::Auto, foreign, 1, Some(dir.path())).unwrap().0, Hypervisor::Kvm);
    }
}
