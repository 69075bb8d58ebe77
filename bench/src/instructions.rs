//! How many instructions a case executes for a packet (or record, or line), counted by Valgrind: beside what was counted before, or kept for
//! the next time.
//!
//! A case is done some times, and then twice as often; the difference is the work alone, without what a process does
//! to start and to prepare. What is counted runs on the processor that Valgrind plays: code that looks for newer
//! instructions at run time (AVX-512, SHA extensions) finds fewer of them there than in Lambda. So counts compare with
//! counts, of the same compiler, and with nothing else; and of crates that were built together, since a crate built
//! with fewer beside it may have fewer features in what it depends on, which moves counts by less than one in a hundred.
//!
//! Where the instructions go: `CARGO_PROFILE_BENCH_STRIP=none CARGO_PROFILE_BENCH_DEBUG=line-tables-only`, the same
//! command under `valgrind --tool=callgrind`, and `callgrind_annotate`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::Case;

/// The argument that makes a benchmark do one case some times: its name and how often follow.
pub(crate) const REPEAT: &str = "--repeat";

/// How often a case is done the first time.
const TIMES: u32 = 4;

/// Changes beyond this many percent are pointed out. The same code gives the same count to a few in ten thousand.
const NOTEWORTHY: f64 = 2.0;

/// What is counted and by what, as lines begin that say it in the file.
const BY: &str = "# ";

/// Counts of an earlier day.
#[derive(Debug, Default)]
struct Kept {
    /// Compiler and Valgrind.
    by: String,
    counts: BTreeMap<String, f64>,
}

/// Counts each case and prints it beside what was kept.
pub(crate) fn compare(cases: &[Case]) -> Result<()> {
    let Some(by) = tools() else { return Ok(()) };
    let kept = Kept::read()?;
    if !kept.by.is_empty() && kept.by != by {
        println!("the counts kept are of {}; here is {by}: they compare loosely", kept.by);
    }
    for case in cases {
        let count = count(case)?;
        let beside = match kept.counts.get(case.name) {
            None => "not kept yet".to_owned(),
            Some(before) => {
                let change = (count / before - 1.0) * 100.0;
                let word = match change {
                    _ if change > NOTEWORTHY => "  MORE",
                    _ if change < -NOTEWORTHY => "  less",
                    _ => "",
                };
                format!("{before:>10.1} kept {change:>+8.2} %{word}")
            }
        };
        println!("{:<44}{count:>10.1} {beside}", case.name);
    }
    Ok(())
}

/// Counts each case and keeps it, in place of everything kept of this crate.
pub(crate) fn keep(cases: &[Case]) -> Result<()> {
    let Some(by) = tools() else { return Ok(()) };
    let mut kept = Kept::read()?;
    kept.by = by;
    let crates: Vec<_> = cases.iter().map(|case| of_crate(case.name)).collect();
    kept.counts.retain(|name, _| !crates.contains(&of_crate(name)));
    for case in cases {
        let count = count(case)?;
        println!("{:<44}{count:>10.1}", case.name);
        kept.counts.insert(case.name.to_owned(), count);
    }
    kept.write()
}

/// Does a case so often: what Valgrind looks at.
pub(crate) fn repeat(cases: &[Case], name: &str, times: &str) -> Result<()> {
    let case = cases.iter().find(|case| case.name == name).with_context(|| format!("no case {name}"))?;
    let times: u32 = times.parse().with_context(|| format!("expected a number of times, given {times}"))?;
    let mut work = (case.prepare)();
    (0..times).for_each(|_| work());
    Ok(())
}

/// Instructions for each of its packets, records or lines.
fn count(case: &Case) -> Result<f64> {
    let (once, twice) = (executed(case.name, TIMES)?, executed(case.name, 2 * TIMES)?);
    Ok((twice - once) / f64::from(TIMES) / f64::from(case.items))
}

/// Instructions of a process that does a case so often.
fn executed(name: &str, times: u32) -> Result<f64> {
    let this = std::env::current_exe()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(this)
        .args([REPEAT, name, &times.to_string()])
        .env_clear() // it lies on the stack, and shifts what is there
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .output()
        .context("valgrind cannot be started")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{name} failed under valgrind:\n{said}");
    }
    // ==123== Collected : 123456
    let collected =
        said.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, count)| count.trim());
    let collected = collected.and_then(|count| count.parse().ok());
    collected.with_context(|| format!("expected a line `Collected : NUMBER` from callgrind, found\n{said}"))
}

/// Compiler and Valgrind; none, and a word about it, where there is no Valgrind.
fn tools() -> Option<String> {
    let version = |program: &str| {
        let output = Command::new(program).arg("--version").output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(valgrind) = version("valgrind") else {
        eprintln!("valgrind is missing: instructions are not counted");
        return None;
    };
    let compiler = version("rustc").unwrap_or_else(|| "an unknown compiler".to_owned());
    Some(format!("{compiler}, {valgrind}, {}", std::env::consts::ARCH))
}

fn of_crate(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

impl Kept {
    fn file() -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt"))
    }

    fn read() -> Result<Self> {
        let file = Self::file();
        if !file.exists() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        Self::parse(&text).with_context(|| file.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let mut kept = Self::default();
        for line in text.lines() {
            if let Some(by) = line.strip_prefix(BY) {
                by.clone_into(&mut kept.by);
                continue;
            }
            let (name, count) = line.rsplit_once(' ').unwrap_or_default();
            let count =
                count.parse().with_context(|| format!("expected a name and a count, found {line:?}"))?;
            kept.counts.insert(name.trim_end().to_owned(), count);
        }
        Ok(kept)
    }

    fn write(&self) -> Result<()> {
        let file = Self::file();
        std::fs::write(&file, self.to_string()).with_context(|| file.display().to_string())
    }
}

impl std::fmt::Display for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{BY}{}", self.by)?;
        self.counts.iter().try_for_each(|(name, count)| writeln!(f, "{name:<44}{count:>10.1}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, line: &str) {
        let why = Kept::parse(text).unwrap_err();
        assert_eq!(why.to_string(), format!("expected a name and a count, found {line:?}"));
    }

    #[test]
    fn what_is_kept_is_read_again_in_the_order_of_names() {
        let text = "# rustc 1.0.0, valgrind-3.0, x86_64\n\
                    consumer/1000 packets                            100.5\n\
                    packet/key [0:4]                                   7.0\n";
        let kept = Kept::parse(text).unwrap();
        assert_eq!(kept.by, "rustc 1.0.0, valgrind-3.0, x86_64");
        assert_eq!(kept.counts["consumer/1000 packets"], 100.5);
        assert_eq!(kept.to_string(), text);
    }

    #[test]
    fn a_line_without_a_count_is_refused() {
        refused("packet/parse", "packet/parse");
        refused("packet/parse 1\n\n", "");
        refused("packet/parse many", "packet/parse many");
    }

    #[test]
    fn the_file_that_is_kept_can_be_read() {
        assert!(!Kept::read().unwrap().counts.is_empty());
    }
}
