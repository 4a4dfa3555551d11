use std::cell::Cell;
use std::fmt::Debug;

use super::initramfs::cpio::Archive;
use super::kernel_log::event::KernelEvents;
use super::kernel_log::record::KernelRecord;
use super::protocol::{ToGuest, ToHost, decode, encode};
use super::wire::Wire;
use crate::property::{check, check_reader};

/// What is read from any bytes is written as these bytes.
fn check_message<T: Wire + Debug + PartialEq>(cases: u64) {
    let understood = Cell::new(0);
    // A pair of two empty `Bytes` has 48 bytes for 8 of the input, in a `Vec` that may have doubled just before.
    check_reader(cases, &[], (1024, 30), |bytes| {
        let Ok(message) = decode::<T>(bytes) else { return };
        understood.set(understood.get() + 1);
        let again = encode(&message);
        assert_eq!(&again[4..], bytes, "{message:?}");
        assert_eq!(decode::<T>(&again[4..]).unwrap(), message);
    });
    assert!(understood.get() > cases / 1000, "only {} of {cases} were messages", understood.get());
}

#[test]
fn messages_to_the_guest() {
    check_message::<ToGuest>(150_000);
}

#[test]
fn messages_to_the_host() {
    check_message::<ToHost>(150_000);
}

#[test]
fn kernel_records() {
    let log = b"6,339,5140900,-;NET: Registered\n SUBSYSTEM=acpi\n12,340,5140901,-;a \\x5cx09 \\x09;b\n\
        4,341,18446744073709551615,-;WARNING: CPU: 0 PID: 1 at kernel/x.c:1 x+0x1/0x2\n4,342,6,-;Oops: 0000 [#1] SMP\n";
    check_reader(100_000, &[log], (4096, 60), |bytes| {
        let mut events = KernelEvents::default();
        for record in KernelRecord::parse_all(bytes) {
            let _ = record.to_string();
            let _ = events.next(&record);
        }
    });
}

/// An entry of an archive: name, mode, device and content.
type Entry = (String, u32, (u32, u32), Vec<u8>);

/// Reads the `newc` form as the kernel does (init/initramfs.c).
fn unpack(mut archive: &[u8]) -> Vec<Entry> {
    let whole = archive.len();
    let mut entries = Vec::new();
    loop {
        assert_eq!(&archive[..6], b"070701");
        let field = |number: usize| {
            let digits = str::from_utf8(&archive[6 + 8 * number..][..8]).unwrap();
            u32::from_str_radix(digits, 16).unwrap()
        };
        let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
        let device = (field(9), field(10));
        let name = String::from_utf8(archive[110..110 + name_size - 1].to_vec()).unwrap();
        assert_eq!(archive[110 + name_size - 1], 0);
        let content = (110 + name_size).next_multiple_of(4);
        let bytes = archive[content..content + size].to_vec();
        archive = &archive[(content + size).next_multiple_of(4)..];
        assert_eq!((whole - archive.len()) % 4, 0);
        if name == "TRAILER!!!" {
            assert!(archive.is_empty());
            return entries;
        }
        entries.push((name, mode, device, bytes));
    }
}

#[test]
fn archives_hold_what_was_put_in() {
    check(20_000, |random| {
        let mut archive = Archive::default();
        let mut put = Vec::new();
        for _ in 0..random.int_in_range(0..=6)? {
            let depth = random.int_in_range(1..=3)?;
            let part =
                |random: &mut arbtest::arbitrary::Unstructured<'_>| random.choose(&["a", "bc", "def", "tmp"]).copied();
            let path =
                (0..depth).map(|_| part(random).map(|part| format!("/{part}"))).collect::<Result<String, _>>()?;
            let name = path[1..].to_owned();
            match random.int_in_range(0..=2)? {
                0 => {
                    let (mode, content) = (random.int_in_range(0..=0o777)?, random.arbitrary::<Vec<u8>>()?);
                    archive.file(&path, mode, &content);
                    put.push((name, 0o100_000 | mode, (0, 0), content));
                }
                1 => {
                    let device = (random.int_in_range(0..=255)?, random.int_in_range(0..=255)?);
                    archive.character_device(&path, device.0, device.1);
                    put.push((name, 0o020_600, device, Vec::new()));
                }
                _ => archive.directory(&path),
            }
        }
        check_archive(&unpack(&archive.finish()), &put);
        Ok(())
    });
}

/// Files and devices are there in order, each below directories that came before, each of which came once.
fn check_archive(entries: &[Entry], put: &[Entry]) {
    let is_directory = |entry: &&Entry| entry.1 & 0o170_000 == 0o040_000;
    let others: Vec<_> = entries.iter().filter(|entry| !is_directory(entry)).cloned().collect();
    assert_eq!(others, put);
    for (number, (name, ..)) in entries.iter().enumerate() {
        let directories = entries[..number].iter().filter(is_directory);
        let above: Vec<&str> = directories.map(|(name, ..)| name.as_str()).collect();
        assert!(name.rsplit_once('/').is_none_or(|(parent, _)| above.contains(&parent)), "{entries:?}");
        assert!(!is_directory(&&entries[number]) || !above.contains(&name.as_str()), "{entries:?}");
    }
}
