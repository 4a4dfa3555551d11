//! What executes the guest: found out by trying, and remembered.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::Arch;
use crate::config::Accel;
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::stamp;
use crate::process;
use crate::store::{Key, Store};
use crate::vm::qemu::command_line::Hypervisor;
use crate::vm::qemu::kvm::{self, Fault};
use crate::vm::qemu::version::version;

/// What KVM is used through.
const DEVICE: &str = "/dev/kvm";

/// What KVM on this machine turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KvmState {
    /// A guest has run.
    Works,
    /// It cannot run a guest; why.
    Broken(String),
    /// Its device did not open; why. It may at any time.
    Closed(String),
}

/// What is remembered of KVM, in a file.
#[derive(Debug, Clone)]
pub(crate) struct Remembered {
    file: PathBuf,
}

impl KvmState {
    /// Why it is of no use.
    pub(crate) fn fault(&self) -> Option<&str> {
        match self {
            Self::Works => None,
            Self::Broken(why) | Self::Closed(why) => Some(why),
        }
    }
}

impl Remembered {
    /// What is known, below `dir`, which need not exist, of the KVM that is there now. That is another one after the
    /// machine booted, after its module was loaded anew or in a container with a device of its own, for another QEMU, and
    /// on another processor, to which a machine that is a guest itself may have moved.
    pub(crate) fn open(dir: &Path) -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let qemu = process::find(Arch::HOST.qemu()).map(|qemu| stamp(&qemu.canonicalize().unwrap_or(qemu)));
        Self::of(dir, [boot, stamp(Path::new(DEVICE)), qemu.unwrap_or_default(), processor()])
    }

    fn of(dir: &Path, circumstances: [String; 4]) -> Self {
        Self { file: dir.join(format!("kvm-{}", Key::of(circumstances))) }
    }

    /// The verdict, where one was reached.
    pub(crate) fn recall(&self) -> Option<KvmState> {
        let text = fs::read_to_string(&self.file).ok()?;
        match text.trim_end().split_once(' ') {
            None if text.trim_end() == "works" => Some(KvmState::Works),
            Some(("broken", why)) => Some(KvmState::Broken(why.to_owned())),
            Some(("closed", why)) => Some(KvmState::Closed(why.to_owned())),
            _ => None,
        }
    }

    /// Writes it down. That it cannot is no failure: the next run finds out again.
    pub(crate) fn keep(&self, verdict: &KvmState) {
        let text = match verdict {
            KvmState::Works => "works\n".to_owned(),
            KvmState::Broken(why) => format!("broken {}\n", why.replace('\n', " ")),
            KvmState::Closed(why) => format!("closed {}\n", why.replace('\n', " ")),
        };
        if self.file.is_dir() {
            // No verdict of ours.
            let _ = fs::remove_dir_all(&self.file);
        }
        if let Some(dir) = self.file.parent() {
            let _ = fs::create_dir_all(dir);
        }
        // Readers see the old file or the whole new one.
        let temporary = self.file.with_extension(std::process::id().to_string());
        if fs::write(&temporary, text).is_ok() {
            let _ = fs::rename(&temporary, &self.file);
        }
    }

    /// Whether nobody was told this of the machine so far. Where that cannot be kept, it stays news.
    pub(crate) fn is_news(&self, text: &str) -> bool {
        let name = self.file.file_name().unwrap_or_default().display();
        let told = self.file.with_file_name(format!("told-{}", Key::of([name.to_string().as_str(), text])));
        let _ = fs::create_dir_all(told.parent().unwrap_or(Path::new("/")));
        File::create_new(told).map_or_else(|error| error.kind() != io::ErrorKind::AlreadyExists, |_| true)
    }
}

/// What a guest under KVM sees of this machine's processor.
pub(crate) fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let tells = |line: &&str| ["model name", "flags", "microcode"].iter().any(|field| line.starts_with(field));
    info.split("\n\n").next().unwrap_or_default().lines().filter(tells).collect::<Vec<_>>().join("\n")
}

/// The name of the store's state directory that holds the verdict.
pub(crate) const STATE: &str = "machine";

/// Whether KVM has booted a VM, or why it did not although its device opens, as the store in `data_dir` remembers.
pub(crate) fn remembered_kvm(data_dir: &Path) -> Option<std::result::Result<(), String>> {
    Remembered::open(&Store::state_in(data_dir, STATE)).recall().and_then(|verdict| match verdict {
        KvmState::Works => Some(Ok(())),
        KvmState::Broken(why) => Some(Err(why)),
        KvmState::Closed(_) => None,
    })
}

/// What to try, in this order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Never empty.
    pub hypervisors: Vec<Hypervisor>,
    /// Why KVM is not among them although the user would have it, where nobody was told since the machine's boot.
    pub news: Option<KvmState>,
}

const TCG: Hypervisor = Hypervisor::Tcg { single_thread: false };

/// What to try for a guest of `arch` and `accel`.
///
/// # Errors
/// The user insists on KVM, and there is none for that guest.
pub(crate) fn candidates(accel: Accel, arch: Arch, remembered: &Remembered) -> Result<Choice> {
    let only = |hypervisor| Ok(Choice { hypervisors: vec![hypervisor], news: None });
    match accel {
        Accel::Tcg => only(TCG),
        Accel::Kvm if arch != Arch::HOST => Err(Error::new(ErrorKind::Missing, foreign(arch)).with_hint(FOREIGN_HINT)),
        Accel::Auto if arch != Arch::HOST => only(TCG),
        Accel::Kvm => match open_kvm() {
            Ok(_) => only(Hypervisor::Kvm),
            Err(why) => Err(Error::new(ErrorKind::Missing, why).with_hint(NO_KVM_HINT)),
        },
        Accel::Auto => {
            let verdict = remembered.recall();
            let tried = matches!(verdict, Some(KvmState::Works | KvmState::Broken(_)));
            // One that fails shows what is wrong with it when it boots.
            let emulates = |kvm| !tried && matches!(kvm::trial(&kvm), Err(Fault::Emulates));
            Ok(auto(open_kvm().map(emulates), verdict))
        }
    }
}

/// Why KVM does not run guests of another architecture than the host's.
pub(crate) fn foreign(arch: Arch) -> String {
    format!("KVM runs no guests of {arch} here")
}

/// What to do about that.
pub(crate) const FOREIGN_HINT: &str = "set LVH_ACCEL=tcg (about ten times slower)";

/// What to do about a KVM that was insisted on.
pub(crate) const NO_KVM_HINT: &str = "add yourself to the group `kvm`, or set LVH_ACCEL=tcg (about ten times slower)";

/// `opened` says whether the KVM that opened was seen to emulate its guests.
fn auto(opened: std::result::Result<bool, String>, verdict: Option<KvmState>) -> Choice {
    let tcg = |news| Choice { hypervisors: vec![TCG], news };
    match (opened, verdict) {
        (Err(why), told) => {
            let closed = KvmState::Closed(why);
            tcg((told.as_ref() != Some(&closed)).then_some(closed))
        }
        // Said when it was found out.
        (Ok(_), Some(KvmState::Broken(_))) => tcg(None),
        (Ok(true), _) => tcg(Some(KvmState::Broken(Fault::Emulates.to_string()))),
        // What has worked may cease to, when the machine itself is a guest that moves to another host.
        (Ok(false), Some(KvmState::Works | KvmState::Closed(_)) | None) => {
            Choice { hypervisors: vec![Hypervisor::Kvm, TCG], news: None }
        }
    }
}

/// The first QEMU whose translator keeps track of code that guests patch while several threads run it.
const PATCHED_CODE_IS_SAFE: (u32, u32) = (8, 1);

/// How `hypervisor` runs `cpus` CPUs: under TCG in one thread where QEMU would break the guest otherwise.
pub(crate) fn for_cpus(hypervisor: Hypervisor, cpus: u32, arch: Arch) -> Hypervisor {
    match hypervisor {
        Hypervisor::Tcg { .. } if cpus > 1 => {
            let safe = version(arch.qemu()).is_some_and(|version| version >= PATCHED_CODE_IS_SAFE);
            Hypervisor::Tcg { single_thread: !safe }
        }
        other => other,
    }
}

/// The line that says why guests are slow.
pub(crate) fn slow(why: &str) -> String {
    format!("{why}; using TCG, about ten times slower")
}

/// Its device, or why that does not open.
pub(crate) fn open_kvm() -> std::result::Result<File, String> {
    let opened = File::options().read(true).write(true).open(DEVICE);
    opened.map_err(|error| format!("KVM is not usable: cannot open `{DEVICE}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let remembered = Remembered::open(&dir.path().join("new"));
        assert_eq!(remembered.recall(), None);
        // Damage is no verdict, and gives way to one.
        for damage in ["", "wor", "broken", "\0\0 x"] {
            fs::create_dir_all(dir.path().join("new")).unwrap();
            fs::write(&remembered.file, damage).unwrap();
            assert_eq!(remembered.recall(), None, "{damage:?}");
        }
        fs::remove_file(&remembered.file).unwrap();
        fs::create_dir(&remembered.file).unwrap();
        let closed = KvmState::Closed("no device".to_owned());
        for verdict in [KvmState::Broken("KVM is not usable: internal\nerror".to_owned()), KvmState::Works, closed] {
            remembered.keep(&verdict);
            match remembered.recall() {
                Some(KvmState::Broken(why)) => assert_eq!(why, "KVM is not usable: internal error"),
                other => assert_eq!(other, Some(verdict)),
            }
        }
    }

    #[test]
    fn news_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let circumstances = ["boot", "device", "qemu", "processor"].map(str::to_owned);
        let [one, same] = [(); 2].map(|()| Remembered::of(&dir.path().join("new"), circumstances.clone()));
        let other = Remembered::of(dir.path(), circumstances.clone().map(|what| what + "2"));
        assert_eq!(
            [one.is_news("x"), same.is_news("x"), one.is_news("y"), other.is_news("x")],
            [true, false, true, true]
        );
    }

    #[test]
    fn a_verdict_is_of_one_device_one_qemu_and_one_processor() {
        let dir = tempfile::tempdir().unwrap();
        let circumstances = ["boot", "device", "qemu", "processor"].map(str::to_owned);
        Remembered::of(dir.path(), circumstances.clone()).keep(&KvmState::Broken("it died".to_owned()));
        for changed in 0..circumstances.len() {
            let mut other = circumstances.clone();
            other[changed] = "another".to_owned();
            let other = Remembered::of(dir.path(), other);
            assert_eq!(other.recall(), None, "{changed}");
            other.keep(&KvmState::Works);
        }
        let kept = Remembered::of(dir.path(), circumstances).recall();
        assert_eq!(kept, Some(KvmState::Broken("it died".to_owned())));
    }

    #[test]
    fn guests_of_another_architecture_have_no_kvm() {
        let dir = tempfile::tempdir().unwrap();
        let remembered = Remembered::open(dir.path());
        remembered.keep(&KvmState::Works);
        let foreign = if Arch::HOST == Arch::X86_64 { Arch::Aarch64 } else { Arch::X86_64 };
        for accel in [Accel::Auto, Accel::Tcg] {
            let choice = candidates(accel, foreign, &remembered).unwrap();
            assert_eq!(choice, Choice { hypervisors: vec![TCG], news: None });
        }
        let error = candidates(Accel::Kvm, foreign, &remembered).unwrap_err();
        assert_eq!(error.to_string(), format!("KVM runs no guests of {foreign} here"));
    }

    #[test]
    fn kvm_is_tried_until_it_failed_once() {
        let broken = || Some(KvmState::Broken("x".to_owned()));
        assert_eq!(auto(Ok(false), None).hypervisors, [Hypervisor::Kvm, TCG]);
        assert_eq!(auto(Ok(false), Some(KvmState::Works)).hypervisors, [Hypervisor::Kvm, TCG]);
        assert_eq!(auto(Ok(false), broken()), Choice { hypervisors: vec![TCG], news: None });
        // Each reason is said once.
        let closed = |why: &str| Some(KvmState::Closed(why.to_owned()));
        let y = || Err("y".to_owned());
        assert_eq!(auto(y(), None).news, closed("y"));
        assert_eq!(auto(y(), broken()).news, closed("y"));
        assert_eq!(auto(y(), closed("x")).news, closed("y"));
        assert_eq!(auto(y(), closed("y")), Choice { hypervisors: vec![TCG], news: None });
        assert_eq!(auto(Ok(false), closed("y")).hypervisors, [Hypervisor::Kvm, TCG]);
        let emulates = Some(KvmState::Broken(Fault::Emulates.to_string()));
        for told in [None, closed("y")] {
            assert_eq!(auto(Ok(true), told), Choice { hypervisors: vec![TCG], news: emulates.clone() });
        }
        assert_eq!(auto(Ok(true), emulates), Choice { hypervisors: vec![TCG], news: None });
    }
}
