//! How a row of figures is made: the contestants take turns, so that what disturbs the machine disturbs all alike.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use local::stream::Stream;

use crate::process::{Running, Start};

/// How often something is started that is measured from its start.
const STARTS: usize = 11;

/// Turns of each contestant; the first does not count, in it the others' compilers compile.
const TURNS: usize = 7;

/// Fewest invocations in a turn.
const LEAST: u32 = 2;

/// How long what an invocation has written may be on its way.
const ON_ITS_WAY: Duration = Duration::from_secs(5);

/// What contestants are given, again and again.
pub(crate) struct Load<'a> {
    pub(crate) event: Arc<[u8]>,
    /// How long each is invoked, the first turn aside.
    pub(crate) time: Duration,
    /// The share of a processor that each has, if not all.
    pub(crate) share: Option<f64>,
    pub(crate) proof: Proof<'a>,
}

/// What an invocation leaves behind by which it is seen that all of its work was done.
#[derive(Clone, Copy)]
pub(crate) enum Proof<'a> {
    /// So many records in this stream.
    Stored(&'a Stream, u64),
    /// So many lines of log.
    Logged(u64),
    /// It cannot be told.
    None,
}

impl Proof<'_> {
    /// What an invocation has to leave, and what all have left so far.
    fn of(self, running: &Running) -> Option<(u64, u64)> {
        match self {
            Self::Stored(stream, items) => Some((items, stream.counts().appended)),
            Self::Logged(items) => Some((items, running.log().lines())),
            Self::None => None,
        }
    }
}

/// What an invocation took of time and processor, in microseconds: the median of all turns' means. In a turn, threads
/// beside the main one (a collector's) have done their part, and the pauses of a share of a processor are even.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Busy {
    pub(crate) cpu: f64,
    pub(crate) wall: f64,
}

/// Invokes those that take part.
pub(crate) fn busy(starts: &[Option<Start>], load: &Load<'_>) -> Result<Vec<Option<Busy>>> {
    let start = |start: &Start| Ok((Running::start(start, load.share)?, start.works));
    let running = starts.iter().map(|one| one.as_ref().map(start).transpose());
    let running = running.collect::<Result<Vec<_>>>()?;
    let mut took = vec![Vec::new(); running.len()];
    turns(TURNS, |turn| {
        for (contestant, took) in running.iter().zip(&mut took) {
            let Some((running, works)) = contestant else { continue };
            let mean = invoke(running, load, *works)?;
            if turn > 0 {
                took.push(mean);
            }
        }
        Ok(())
    })?;
    let of_all = |took: Vec<Busy>| {
        let cpu = median(took.iter().map(|mean| mean.cpu).collect())?;
        let wall = median(took.iter().map(|mean| mean.wall).collect())?;
        Some(Busy { cpu, wall })
    };
    Ok(took.into_iter().map(of_all).collect())
}

/// A contestant's turn: the means.
fn invoke(running: &Running, load: &Load<'_>, works: bool) -> Result<Busy> {
    let proof = if works { load.proof } else { Proof::None };
    let before = proof.of(running);
    let turn = load.time / u32::try_from(TURNS - 1)?;
    let (begun, mut times, mut cpu, mut wall) = (Instant::now(), 0_u32, Duration::ZERO, Duration::ZERO);
    while begun.elapsed() < turn || times < LEAST {
        let took = running.invoke(&load.event)?;
        cpu += took.cpu;
        wall += took.wall;
        times += 1;
    }
    if let Some((items, before)) = before {
        let (waited, given) = (Instant::now(), items * u64::from(times));
        let came = loop {
            let came = proof.of(running).map_or(0, |(_, now)| now - before);
            if came >= given || waited.elapsed() > ON_ITS_WAY {
                break came;
            }
            thread::sleep(Duration::from_millis(1));
        };
        ensure!(came == given, "{}: {given} were given and {came} came out", running.name());
    }
    let mean = |sum: Duration| sum.as_secs_f64() * 1e6 / f64::from(times);
    Ok(Busy { cpu: mean(cpu), wall: mean(wall) })
}

/// From the start of a process to its first question, microseconds, the median.
pub(crate) fn first_question(starts: &[Option<Start>]) -> Result<Vec<Option<f64>>> {
    each_start(starts, |start| Ok(Running::start(start, None)?.started_in))
}

/// From the start of a process to its first answer, less what it waited for the event.
pub(crate) fn first_answer(
    starts: &[Option<Start>],
    event: &Arc<[u8]>,
    share: Option<f64>,
) -> Result<Vec<Option<f64>>> {
    each_start(starts, |start| {
        let running = Running::start(start, share)?;
        Ok(running.started_in + running.invoke(event)?.wall)
    })
}

fn each_start(
    starts: &[Option<Start>],
    measure: impl Fn(&Start) -> Result<Duration>,
) -> Result<Vec<Option<f64>>> {
    let mut times = vec![Vec::new(); starts.len()];
    turns(STARTS, |_| {
        for (start, times) in starts.iter().zip(&mut times) {
            if let Some(start) = start {
                times.push(measure(start)?.as_secs_f64() * 1e6);
            }
        }
        Ok(())
    })?;
    Ok(times.into_iter().map(median).collect())
}

/// Bytes of the log of one invocation, the first aside.
pub(crate) fn logged(start: &Start, event: &Arc<[u8]>) -> Result<u64> {
    let running = Running::start(start, None)?;
    running.invoke(event)?;
    let before = settled(&running);
    running.invoke(event)?;
    Ok(settled(&running) - before)
}

/// What has come of the log, once no more comes.
fn settled(running: &Running) -> u64 {
    let mut seen = 0;
    loop {
        thread::sleep(Duration::from_millis(100));
        let now = running.log().bytes();
        if now == seen {
            return now;
        }
        seen = now;
    }
}

/// Takes turns, and on a terminal says which.
fn turns(count: usize, mut turn: impl FnMut(usize) -> Result<()>) -> Result<()> {
    let mut out = std::io::stderr();
    let terminal = out.is_terminal();
    for number in 0..count {
        if terminal {
            let _ = write!(out, "\r  {} of {count} ", number + 1);
        }
        turn(number)?;
    }
    if terminal {
        let _ = write!(out, "\r{:20}\r", "");
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
