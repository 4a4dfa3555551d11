//! What holds for every input of a reader: it does not panic, and takes no more memory than the input calls for.
//!
//! Inputs are random bytes, random fields, and samples with a few changes; they are the same in every run. A failure
//! prints the case's number. `LVH_PROPERTY_TIMES=100` looks at a hundred times as many.

mod input;
mod memory;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use arbtest::arbitrary::{Result, Unstructured};
use arbtest::arbtest;

pub(crate) use input::Inputs;

/// How many bytes of randomness one case gets.
const RANDOMNESS: u64 = 512;

/// Runs `property` on `cases` sources of randomness.
#[expect(clippy::print_stderr, reason = "a failure says how it comes again")]
pub(crate) fn check(cases: u64, mut property: impl FnMut(&mut Unstructured<'_>) -> Result<()>) {
    let times = std::env::var("LVH_PROPERTY_TIMES").map_or(1, |times| times.parse().expect("a number"));
    for case in 1..=cases * times {
        // The upper half is the seed proper, which must not be zero; the lower one is the length.
        let seed = case.wrapping_mul(0x9e37_79b1) << 32 | RANDOMNESS;
        // Err: the randomness was used up before there was an input.
        let run = || arbtest(|random| property(random).or(Ok(()))).seed(seed).run();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            eprintln!("case {case} of {cases}");
            resume_unwind(panic);
        }
    }
}

/// Has `read` look at `cases` inputs, some of them made from `samples`. It may use `base` bytes of memory at a time, and
/// `factor` more for each byte of the input.
pub(crate) fn check_reader(cases: u64, samples: &[&[u8]], (base, factor): (usize, usize), read: impl Fn(&[u8])) {
    let inputs = RefCell::new(Inputs::new(samples));
    check(cases, |random| {
        inputs.borrow_mut().next(random, |input| {
            let used = memory::peak_of(|| read(input));
            let most = base + factor * input.len();
            assert!(used <= most, "{used} bytes of memory for an input of {} bytes: {input:02x?}", input.len());
        })
    });
}
