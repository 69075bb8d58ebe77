//! The process of an environment: with all that it starts and writes, until nothing of it is left.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::freezer::Freezer;
use super::living::Alive;
use super::log::Log;
use super::output::Output;
use super::tail::Ear;

/// Longest wait for the last output of a process that has ended: one that it started may have left its group, and keep
/// the output open.
const DRAIN: Duration = Duration::from_secs(1);

/// Dropped, it ends.
pub(super) struct Process {
    pub(super) freezer: Arc<Freezer>,
    outputs: Vec<Output>,
    end: watch::Receiver<Option<End>>,
}

/// What there is to say of a process that is gone.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// How it ended, such as "exit status: 7".
    pub(super) how: String,
    /// The last line that it wrote.
    pub(super) last_words: Vec<u8>,
}

impl Process {
    /// Starts it; `alive` is held until nothing of it is left.
    pub(super) fn start(
        mut command: Command,
        freezes: bool,
        log: &Log,
        ear: &Ear,
        alive: Alive,
    ) -> std::io::Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C in the terminal is for `rivulet up`, which ends its functions when their work is done.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let freezer = Arc::new(Freezer::new(group, freezes));
        let pipes = [
            child.stdout.take().map(|pipe| Output::start(pipe, log, ear)),
            child.stderr.take().map(|pipe| Output::start(pipe, log, ear)),
        ];
        let (outputs, pumps) = pipes.into_iter().flatten().unzip();
        let (tell, end) = watch::channel(None);
        let watched = Arc::clone(&freezer);
        tokio::spawn(async move {
            tell.send_replace(Some(ended(child, &watched, pumps).await));
            drop(alive);
        });
        Ok(Self { freezer, outputs, end })
    }

    /// Resolves when nothing of it is left and all that it wrote was passed on.
    pub(super) async fn ended(&mut self) -> End {
        let gone = || End { how: "it is gone".into(), last_words: Vec::new() };
        self.end
            .wait_for(Option::is_some)
            .await
            .map_or_else(|_| gone(), |end| end.clone().unwrap_or_else(gone))
    }

    /// Ends it and whatever it has started.
    pub(super) async fn kill(&mut self) -> End {
        self.freezer.kill();
        self.ended().await
    }

    /// Its outputs that can be waited for.
    pub(super) fn outputs(&self) -> &[Output] {
        &self.outputs
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.freezer.kill();
    }
}

/// Waits for its end, however that comes, then ends what it has started and waits for the last that was written.
async fn ended(mut child: Child, freezer: &Freezer, pumps: Vec<JoinHandle<Vec<u8>>>) -> End {
    let status = child.wait().await;
    freezer.kill();
    let mut last_words = Vec::new();
    let deadline = Instant::now() + DRAIN;
    for pump in pumps {
        let abort = pump.abort_handle();
        match timeout_at(deadline, pump).await {
            Ok(Ok(line)) if !line.is_empty() => last_words = line,
            Ok(_) => {}
            Err(_) => abort.abort(),
        }
    }
    End { how: how_it_ended(status), last_words }
}

fn how_it_ended(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}
