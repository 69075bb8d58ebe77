//! Who takes part in a run, how far each is, and the watch over them: who stands still is named.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// What a reader may get beyond what there is, before it is taken to go round in circles.
const SURPLUS: u64 = 20_000;

/// How often the watch looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// One that takes part.
#[derive(Debug)]
pub(crate) struct Member {
    name: String,
    want: u64,
    count: AtomicU64,
    begun: AtomicBool,
    done: AtomicBool,
    doing: Mutex<String>,
}

impl Member {
    /// One that is to come to `want`, of records or of what else it makes.
    pub(crate) fn new(name: impl Into<String>, want: u64) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            want,
            count: AtomicU64::new(0),
            begun: AtomicBool::new(false),
            done: AtomicBool::new(false),
            doing: Mutex::default(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Is at `count` now. From the first time on it is watched.
    pub(crate) fn at(&self, count: u64) {
        self.begun.store(true, Ordering::Relaxed);
        self.count.store(count, Ordering::Relaxed);
    }

    /// Says what it does, for the case that it never ends.
    pub(crate) fn does(&self, what: impl Into<String>) {
        *self.doing.lock().unwrap_or_else(PoisonError::into_inner) = what.into();
    }

    /// Has nothing more to do.
    pub(crate) fn ends(&self) {
        self.done.store(true, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn under_way(&self) -> bool {
        self.begun.load(Ordering::Relaxed) && !self.done.load(Ordering::Relaxed)
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doing = self.doing.lock().unwrap_or_else(PoisonError::into_inner);
        write!(f, "{} at {} of {}: {doing}", self.name, self.count(), self.want)
    }
}

/// Waits for the run, from outside of its runtime: a run whose every thread is blocked is noticed too.
///
/// # Errors
/// What the run itself says; who is stuck, if one stands still for `patience` or all of it takes longer than `limit`.
pub(crate) fn watch<T>(
    crew: &[Arc<Member>],
    run: &mpsc::Receiver<Result<T, String>>,
    patience: Duration,
    limit: Duration,
    show: impl Fn(Duration),
) -> Result<T, String> {
    let begun = Instant::now();
    let mut moved: Vec<_> = crew.iter().map(|member| (member.count(), begun)).collect();
    loop {
        match run.recv_timeout(LOOK_EVERY) {
            Ok(result) => return result,
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err("the run panicked".into()),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        show(begun.elapsed());
        for (member, (count, since)) in crew.iter().zip(&mut moved) {
            let now = member.count();
            if now != *count || !member.under_way() {
                (*count, *since) = (now, Instant::now());
            }
            if now > member.want + SURPLUS {
                return Err(format!("more than there is: {member}"));
            }
        }
        let under_way = || crew.iter().zip(&moved).filter(|(member, _)| member.under_way());
        let late = begun.elapsed() > limit;
        if late || under_way().any(|(_, (_, since))| since.elapsed() > patience) {
            // Who waits for somebody that stands still has stood a little longer.
            let stuck = under_way().filter(|(_, (_, since))| late || since.elapsed() > patience / 2);
            let stuck: Vec<_> = stuck
                .map(|(member, (_, since))| format!("{member}, for {} s", since.elapsed().as_secs()))
                .collect();
            return Err(format!("stuck after {} s: {}", begun.elapsed().as_secs(), stuck.join("; ")));
        }
    }
}
