//! Stops the processes of an environment between invocations, as Lambda freezes it: what a function has left to be done
//! after its answer stops with them, and goes on with the next invocation or never ("Lambda execution environment
//! lifecycle", <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>).
//!
//! As there, an environment is frozen once its answer is in and it has asked for its next event.

use std::sync::{Mutex, PoisonError};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

pub(super) struct Freezer {
    state: Mutex<State>,
}

struct State {
    /// The processes; none if they are never to be stopped, or are gone.
    group: Option<Pid>,
    /// Whether it is busy with its start or with an invocation.
    busy: bool,
    /// Whether it has asked for an event and waits for it.
    asks: bool,
    stopped: bool,
}

impl Freezer {
    /// Of a process group that was just started.
    pub(super) fn new(group: Option<Pid>) -> Self {
        Self { state: Mutex::new(State { group, busy: true, asks: false, stopped: false }) }
    }

    /// Told before an event is on its way, and when its answer is in.
    pub(super) fn busy(&self, busy: bool) {
        self.change(|state| state.busy = busy);
    }

    /// Told when the process asks for an event, and when it has one.
    pub(super) fn asks(&self, asks: bool) {
        self.change(|state| state.asks = asks);
    }

    /// Told before the processes are ended: their number may then be that of others.
    pub(super) fn leave(&self) {
        self.change(|state| state.group = None);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        // Deciding and doing are one step, so that an invocation never meets a process that is stopped behind it.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        let stop = state.asks && !state.busy;
        if stop != state.stopped
            && let Some(group) = state.group
        {
            // A group that has ended by itself is found to have ended elsewhere.
            let _ = killpg(group, if stop { Signal::SIGSTOP } else { Signal::SIGCONT });
            state.stopped = stop;
        }
    }
}
