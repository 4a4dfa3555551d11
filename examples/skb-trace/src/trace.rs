//! Probes on functions, and what they see.

use std::mem::MaybeUninit;
use std::time::Duration;

use anyhow::{Context, Result};
use libbpf_rs::btf::{Btf, types::Struct};
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, ProgramAttachType, ProgramMut, RingBuffer, RingBufferBuilder};

use crate::skeleton::{SkbTraceProgs, SkbTraceSkelBuilder};
use crate::symbols::Symbols;
use crate::{Event, Function};

/// How probes are put on functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probes {
    /// On all at once (kprobe.multi): Linux 5.18 with `CONFIG_FPROBE`.
    Multi,
    /// On one after the other.
    Single,
}

impl Probes {
    /// All at once, where the kernel can.
    ///
    /// # Errors
    /// The kernel has no BTF.
    pub fn best() -> Result<Self> {
        let btf = Btf::from_vmlinux().context("failed to read the kernel's BTF")?;
        let multi = btf.type_by_name::<Struct>("bpf_kprobe_multi_link");
        Ok(if multi.is_some() { Self::Multi } else { Self::Single })
    }
}

/// Probes on functions; they go when it is dropped.
pub struct Trace {
    ring: RingBuffer<'static>,
    _links: Vec<Link>,
}

impl Trace {
    /// Puts probes on the functions.
    ///
    /// # Errors
    /// We are not root, or the kernel refuses a probe.
    pub fn start(functions: &[Function], probes: Probes, mut on_event: impl FnMut(Event) + 'static) -> Result<Self> {
        let mut storage = MaybeUninit::uninit();
        let mut open = SkbTraceSkelBuilder::default().open(&mut storage)?;
        if probes == Probes::Multi {
            for mut program in open.open_object_mut().progs_mut() {
                program.set_attach_type(ProgramAttachType::KprobeMulti);
            }
        }
        let skeleton = open.load().context("failed to load the BPF programs")?;

        let symbols = Symbols::of(functions)?;
        let callback = move |bytes: &[u8]| {
            on_event(Event::decode(bytes, &symbols));
            0
        };
        let mut ring = RingBufferBuilder::new();
        ring.add(&skeleton.maps.events, callback)?;
        let ring = ring.build()?;
        // Links and ring buffer keep what they need of the skeleton.
        Ok(Self { ring, _links: attach(&skeleton.progs, functions, probes)? })
    }

    /// Waits for calls, and tells of each.
    ///
    /// # Errors
    /// The wait was interrupted.
    pub fn poll(&self, timeout: Duration) -> Result<()> {
        Ok(self.ring.poll(timeout)?)
    }
}

/// Attaches to each function the program for its argument.
fn attach(programs: &SkbTraceProgs<'_>, functions: &[Function], probes: Probes) -> Result<Vec<Link>> {
    let SkbTraceProgs { argument_1, argument_2, argument_3, argument_4, argument_5, .. } = programs;
    let mut links = Vec::new();
    for (argument, program) in [argument_1, argument_2, argument_3, argument_4, argument_5].into_iter().enumerate() {
        let names = functions.iter().filter(|function| function.argument == argument).map(|function| &function.name);
        links.extend(attach_program(program, names.collect(), probes)?);
    }
    Ok(links)
}

fn attach_program(program: &ProgramMut<'_>, names: Vec<&String>, probes: Probes) -> Result<Vec<Link>> {
    match probes {
        Probes::Multi if names.is_empty() => Ok(Vec::new()),
        Probes::Multi => Ok(vec![program.attach_kprobe_multi(false, names)?]),
        Probes::Single => names
            .into_iter()
            .map(|name| program.attach_kprobe(false, name).with_context(|| format!("failed to probe `{name}`")))
            .collect(),
    }
}
