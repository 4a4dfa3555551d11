//! Prints the kernel functions that each skb passes through.

use std::io::{self, Write};
use std::time::Duration;
use std::{env, process};

use anyhow::{Result, bail};
use skb_trace::{Event, Probes, Trace, functions};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [pattern] = arguments.as_slice() else {
        bail!("usage: skb-trace PATTERN, a regular expression such as '(ip|udp)_.*'");
    };
    let functions = functions(pattern)?;
    let probes = Probes::best()?;
    let trace = Trace::start(&functions, probes, |event| {
        // Whoever reads may have enough.
        writeln!(io::stdout(), "{event}").unwrap_or_else(|_| process::exit(0));
    })?;
    eprintln!("{} functions, {probes:?} probes; Ctrl-C ends it", functions.len());
    println!("{}", Event::HEADER);
    loop {
        trace.poll(Duration::from_secs(1))?;
    }
}
