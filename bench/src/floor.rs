//! The bare floor: QEMU and the kernel as lvh starts them, without lvh.

use std::ffi::OsString;
use std::path::Path;

/// Options of QEMU that the floor has in common with lvh; their devices and files are lvh's own.
const SHARED: [&str; 6] = ["-display", "-machine", "-accel", "-cpu", "-smp", "-m"];
const SHARED_FLAGS: [&str; 3] = ["-nodefaults", "-no-user-config", "-no-reboot"];

/// What distinguishes one floor from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    /// The kernel command line that lvh gives, so that the two cannot drift apart.
    Lvh,
    /// A console and `panic=-1`, and nothing that makes a boot shorter.
    Plain,
}

/// QEMU's arguments for the floor, from those that lvh gave it.
pub(crate) fn arguments(lvh: &[String], kernel: &Path, initrd: &Path, words: Words) -> Vec<OsString> {
    let mut args: Vec<OsString> = SHARED_FLAGS.map(Into::into).into();
    for option in SHARED {
        if let Some(value) = value_of(lvh, option) {
            args.extend([option.into(), without_memory_backend(value).into()]);
        }
    }
    let append = match words {
        Words::Lvh => kernel_words(lvh),
        Words::Plain => "console=ttyS0 quiet panic=-1".to_owned(),
    };
    args.extend(["-kernel".into(), kernel.into(), "-initrd".into(), initrd.into()]);
    args.extend(["-append".into(), append.into()]);
    args
}

/// The value of an option on a command line.
pub(crate) fn value_of<'a>(args: &'a [String], option: &str) -> Option<&'a str> {
    args.iter().zip(args.iter().skip(1)).find(|(name, _)| *name == option).map(|(_, value)| value.as_str())
}

/// Memory that another process can map is for devices that lvh serves; the floor has none.
fn without_memory_backend(value: &str) -> String {
    value.split(',').filter(|part| !part.starts_with("memory-backend=")).collect::<Vec<_>>().join(",")
}

fn kernel_words(lvh: &[String]) -> String {
    let append = value_of(lvh, "-append").unwrap_or_default();
    let of_kernel = append.split_whitespace().take_while(|&word| word != "--");
    of_kernel.filter(|word| !word.starts_with("rdinit=")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_keeps_the_machine_and_drops_the_devices() {
        let lvh = "-nodefaults -no-user-config -display none -no-reboot -machine q35,memory-backend=memory,sata=off \
            -accel tcg -cpu max -smp 1 -m 1024M -object memory-backend-memfd,id=memory -kernel /lvh -initrd /proc/self/fd/9";
        let mut lvh: Vec<String> = lvh.split_whitespace().map(str::to_owned).collect();
        lvh.extend(
            ["-append", "console=ttyS0 quiet fast rdinit=/init -- channel=x", "-device", "y"].map(str::to_owned),
        );
        let line = |words| {
            let args = arguments(&lvh, Path::new("/k"), Path::new("/i"), words);
            args.iter().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ")
        };
        let machine = "-nodefaults -no-user-config -no-reboot -display none -machine q35,sata=off -accel tcg -cpu max \
            -smp 1 -m 1024M -kernel /k -initrd /i -append";
        assert_eq!(line(Words::Lvh), format!("{machine} console=ttyS0 quiet fast"));
        assert_eq!(line(Words::Plain), format!("{machine} console=ttyS0 quiet panic=-1"));
    }
}
