//! Who starts which program: a BPF program at a tracepoint, loaded with aya.

use anyhow::Context;
use aya::Ebpf;
use aya::maps::{MapData, RingBuf};
use aya::programs::TracePoint;

/// `execs.bpf.c`, compiled by `build.rs`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/execs.bpf.o"));

/// A program that was started: `struct exec` of `execs.bpf.c`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Exec {
    /// The process that it runs in.
    pub pid: u32,
    /// The process that started that one.
    pub parent: u32,
    command: [u8; 16],
}

impl Exec {
    /// The program's name, as far as the kernel keeps it: 15 bytes.
    pub fn command(&self) -> String {
        let name = self.command.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }
}

/// The programs that are started anywhere while this lives; the iterator has those of so far, and does not wait.
pub struct Execs {
    events: RingBuf<MapData>,
    /// Dropped, it detaches its programs.
    _ebpf: Ebpf,
}

impl Execs {
    /// Loads the BPF program and attaches it.
    ///
    /// # Errors
    /// We are not root, or the kernel does not take the program.
    pub fn attach() -> anyhow::Result<Self> {
        let mut ebpf = Ebpf::load(OBJECT)?;
        let program: &mut TracePoint = ebpf.program_mut("on_exec").context("no program `on_exec`")?.try_into()?;
        program.load()?;
        program.attach("sched", "sched_process_exec")?;
        let events = RingBuf::try_from(ebpf.take_map("execs").context("no map `execs`")?)?;
        Ok(Self { events, _ebpf: ebpf })
    }
}

impl Iterator for Execs {
    type Item = Exec;

    fn next(&mut self) -> Option<Exec> {
        let event = self.events.next()?;
        assert_eq!(event.len(), size_of::<Exec>());
        // SAFETY: that many bytes are there, and any bytes are an `Exec`.
        Some(unsafe { event.as_ptr().cast::<Exec>().read_unaligned() })
    }
}
