//! What the benchmarks share: the [`events`] they give, and the two ways in which the work done with them is measured.
//!
//! A crate's `benches/speed.rs` lists its [`Case`]s. `cargo bench -p packet --bench speed` takes their time, and with
//! `-- --instructions` counts what they execute, beside what was counted before (`instructions.txt`). The time is
//! what a user pays and the machine's noise is in it; the count is blind to caches and to the processor's own ways, but
//! the same twice: a change of one in a hundred shows.

pub mod events;

mod instructions;

use std::fmt;
use std::process::ExitCode;

pub use divan;

/// Some work, to be done again and again.
pub type Work = Box<dyn FnMut()>;

/// Something whose cost is watched.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The crate, and behind a slash what it does.
    pub name: &'static str,
    /// How many packets, records or lines the work is done with, each time.
    pub items: u32,
    /// Makes everything the work needs, so that this is not measured. The work itself checks that it did its work.
    pub prepare: fn() -> Work,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Case {
    /// Takes its time.
    pub fn measure(&self, bencher: divan::Bencher<'_, '_>) {
        let mut work = (self.prepare)();
        bencher.counter(divan::counter::ItemsCount::new(self.items)).bench_local(&mut work);
    }
}

/// The `main` of a benchmark with these cases.
pub fn main(cases: &[Case]) -> ExitCode {
    // Cargo adds `--bench`.
    let given: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let given: Vec<_> = given.iter().map(String::as_str).collect();
    let done = match given[..] {
        ["--instructions"] => instructions::compare(cases),
        ["--instructions", "--keep"] => instructions::keep(cases),
        [instructions::REPEAT, name, times] => instructions::repeat(cases, name, times),
        _ => {
            divan::main();
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
