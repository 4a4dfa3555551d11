use super::config::KernelConfig;
use super::image::bzimage::{self, BzImage};
use super::image::compression::Compression;
use super::image::elf::{self, Elf};
use super::image::payload::Payload;
use crate::property::check_reader;

/// A real program.
const INIT: &[u8] = include_bytes!(env!("LVH_INIT_X86_64"));

/// Nothing is copied.
const NOTHING: (usize, usize) = (0, 0);

#[test]
fn elf_files() {
    let module = elf::tests::sample(".modinfo", b"depends=a,b\0", "Xen", 18);
    check_reader(200_000, &[&module, INIT], NOTHING, |bytes| {
        let Some(elf) = Elf::parse(bytes) else { return };
        let _ = (elf.section(".modinfo"), elf.has_note("Xen", 18), elf.interpreter());
    });
}

#[test]
fn bzimages() {
    let image = bzimage::tests::sample("6.12.1-x #1", b"payload");
    check_reader(150_000, &[&image], (1024, 0), |bytes| {
        let Some(image) = BzImage::parse(bytes) else { return };
        let _ = (image.release(), image.payload());
    });
}

#[test]
fn payloads() {
    let vmlinux = elf::tests::sample(".rodata", b"IKCFG_ST\x1f\x8b\x08\0\0\0\0\0\0\x03", "Xen", 18);
    let image = bzimage::tests::sample("6.12.1-x #1", &vmlinux);
    check_reader(50_000, &[&image, &vmlinux], UNPACKED, |bytes| drop(Payload::extract(bytes)));
}

/// The largest dictionary and what a decoder needs beside it; a byte may stand for some ten thousands.
const UNPACKED: (usize, usize) = (300 << 20, 64 << 10);

#[test]
fn compressed_files() {
    let samples: Vec<Vec<u8>> = super::image::compression::tests::samples();
    let samples: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
    check_reader(30_000, &samples, UNPACKED, |bytes| {
        if let Some(format) = Compression::detect(bytes) {
            let _ = format.decompress(bytes);
        }
    });
}

#[test]
fn configurations() {
    let text = b"# Automatically generated\nCONFIG_VIRTIO_FS=m\n# CONFIG_9P_FS is not set\nCONFIG_BPF=y\n\
        CONFIG_NR_CPUS=64\nCONFIG_LSM=\"landlock,bpf\"\nCONFIG_OLD=n\nCONFIG_EMPTY=\"\"\nnonsense=1\n";
    check_reader(50_000, &[text], (4096, 40), |bytes| {
        let config = KernelConfig::parse(&String::from_utf8_lossy(bytes));
        let _ = (config.is_on("BPF"), config.get("LSM"));
    });
}
