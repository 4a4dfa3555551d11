//! What kernels have and lack on this machine.

use std::fmt::Display;

use lvh_core::doctor::{Check, KernelReport, State};
use lvh_core::kernel::{self, Kernel, KernelSource};
use lvh_core::vm::{Candidate, VmSpec};
use lvh_core::{Config, Error};

use super::table::{Row, count, table};
use super::{machine, show};
use crate::fetch_kernel;
use crate::terminal;
use crate::vm::vm_command::from_here;

/// Prints a table for each kernel; whether lvh can boot them all here.
pub(super) fn run(config: &Config, names: Vec<String>) -> anyhow::Result<bool> {
    // A wrong name is known before anything is fetched.
    let sources = names.into_iter().map(|name| {
        let name = from_here(name);
        config.kernel(&name).map(|source| (name, source))
    });
    let sources = sources.collect::<lvh_core::Result<Vec<_>>>()?;
    let missing: Vec<Check> =
        machine::look(config)?.into_iter().filter(|check| check.state == State::Missing).collect();
    let mut healthy = missing.is_empty();
    if !healthy {
        let rows: Vec<Row<'_>> = missing.iter().map(Row::from).collect();
        show(&format!("this machine boots no kernel as it is:\n\n{}\n", table(&rows)))?;
    }
    for (position, (name, source)) in sources.iter().enumerate() {
        let gap = if position > 0 { "\n" } else { "" };
        let (text, can_boot) = match examine(config, name, source) {
            Ok((kernel, report)) => (describe(&kernel, source, &report), report.can_boot()),
            Err(error) => (refuse(name, &error), false),
        };
        show(&format!("{gap}{text}"))?;
        healthy &= can_boot;
    }
    Ok(healthy)
}

fn examine(config: &Config, name: &str, source: &KernelSource) -> lvh_core::Result<(Kernel, KernelReport)> {
    let kernel = kernel::resolve_blocking(name, source, &fetch_kernel::store(config)?, &terminal::events())?;
    let report = KernelReport::of(&VmSpec::new(kernel.clone(), config))?;
    Ok((kernel, report))
}

/// A kernel that is not to be had, or is none.
fn refuse(name: &str, error: &Error) -> String {
    let (subject, report) = (format!("kernel `{name}`: "), error.report());
    // Most errors say that themselves.
    format!("{subject}{}\n\nlvh cannot boot this kernel\n", report.strip_prefix(&subject).unwrap_or(&report))
}

fn describe(kernel: &Kernel, source: &KernelSource, report: &KernelReport) -> String {
    let mut rows = vec![
        Row::new("ok", "from", origin(kernel, source)),
        Row::new("ok", "image", kernel.image.display().to_string()),
    ];
    rows.extend(report.files.iter().map(Row::from));
    let KernelReport { candidates, transport, .. } = report;
    let (channel, share) = transport.as_ref().ok().map(|transport| (transport.channel, transport.share)).unzip();
    rows.extend(offers("channel", "LVH_CHANNEL", &candidates.channel, channel));
    rows.extend(offers("share", "LVH_SHARE", &candidates.share, share));
    let refusal = transport.as_ref().err();
    rows.extend(refusal.map(|error| Row { fix: error.hint(), ..Row::new("MISSING", "transport", error.to_string()) }));
    rows.extend(options("lvh's needs", &report.own));
    rows.extend(options("BPF", &report.bpf));
    format!("kernel `{}`: Linux {}\n\n{}\n{}\n", kernel.name, kernel.release, table(&rows), verdict(report))
}

/// Where the kernel comes from: the package with its version and digest, or the path that was named.
fn origin(kernel: &Kernel, source: &KernelSource) -> String {
    match source {
        KernelSource::Deb(deb) => format!("{} ({} of Debian's {})", kernel.identity, deb.package, deb.suite),
        KernelSource::Path(path) => path.display().to_string(),
        KernelSource::Host => "the kernel that runs here".to_owned(),
        _ => kernel.identity.clone(),
    }
}

/// The candidates for one part of the transport: taken, on offer, or not, with the reason.
fn offers<T: Copy + PartialEq + Display>(
    name: &str,
    variable: &str,
    candidates: &[Candidate<T>],
    taken: Option<T>,
) -> Vec<Row<'static>> {
    let row = |Candidate { transport, lack, modules, .. }: &Candidate<T>| {
        let loads = match modules {
            0 => "nothing to load".to_owned(),
            modules => format!("{} to load", count(*modules, "module")),
        };
        let (word, found) = match lack {
            Some(why) => ("no", why.clone()),
            None if taken == Some(*transport) => ("taken", format!("what a VM uses; {loads}")),
            None => ("offered", format!("{variable}={transport} would take it; {loads}")),
        };
        Row::new(word, format!("{name} {transport}"), found)
    };
    candidates.iter().map(row).collect()
}

/// What is there in one line, what is not in a line each.
fn options<'a>(name: &str, checks: &'a [Check]) -> Vec<Row<'a>> {
    let (there, lacking): (Vec<_>, Vec<_>) = checks.iter().partition(|check| check.state == State::Ok);
    let names: Vec<&str> = there.iter().map(|check| check.name).collect();
    let list = (!names.is_empty()).then(|| Row::list("ok", name, &names));
    list.into_iter().chain(lacking.into_iter().map(Row::from)).collect()
}

fn verdict(report: &KernelReport) -> String {
    let number = |state| report.checks().filter(|check| check.state == state).count();
    let missing = number(State::Missing) + usize::from(report.transport.is_err());
    let transport = match &report.transport {
        Ok(transport) if missing == 0 => transport,
        _ => return format!("lvh cannot boot this kernel: {} missing", count(missing, "thing")),
    };
    let verb = match report.own.is_empty() {
        true => "lvh will try to boot this kernel, of which too little is known,",
        false => "lvh can boot this kernel",
    };
    let how = format!("{verb} on channel {} with share {}", transport.channel, transport.share);
    match number(State::Degraded) {
        0 => how,
        warnings => format!("{how}, with {}", count(warnings, "warning")),
    }
}
