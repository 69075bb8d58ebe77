//! The signals to the processes of an environment: ends them, and stops them between invocations, as Lambda freezes it: what a function has left to be done
//! after its answer stops with them, and goes on with the next invocation or never ("Lambda execution environment
//! lifecycle", <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>).
//!
//! As there, an environment is frozen once its answer is in and it has asked for its next event.

use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

pub(super) struct Freezer {
    state: Mutex<State>,
}

struct State {
    /// The processes; none if they are gone.
    group: Option<Pid>,
    /// Whether they are ever to be stopped.
    freezes: bool,
    /// Whether it is busy with its start or with an invocation.
    busy: bool,
    /// Whether it has asked for an event and waits for it.
    asks: bool,
    stopped: bool,
}

impl Freezer {
    /// Of a process group that was just started.
    pub(super) fn new(group: Option<Pid>, freezes: bool) -> Self {
        Self { state: Mutex::new(State { group, freezes, busy: true, asks: false, stopped: false }) }
    }

    /// Told before an event is on its way, and when its answer is in.
    pub(super) fn busy(&self, busy: bool) {
        self.change(|state| state.busy = busy);
    }

    /// Told when the process asks for an event, and when it has one.
    pub(super) fn asks(&self, asks: bool) {
        self.change(|state| state.asks = asks);
    }

    /// Ends the processes, those that are stopped too. Once: their number may then be that of others.
    pub(super) fn kill(&self) {
        if let Some(group) = self.state().group.take() {
            // All of them may have ended by themselves.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        // Deciding and doing are one step, so that an invocation never meets a process that is stopped behind it.
        let mut state = self.state();
        change(&mut state);
        let stop = state.asks && !state.busy;
        if stop != state.stopped
            && state.freezes
            && let Some(group) = state.group
        {
            // A group that has ended by itself is found to have ended elsewhere.
            let _ = killpg(group, if stop { Signal::SIGSTOP } else { Signal::SIGCONT });
            state.stopped = stop;
        }
    }
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
