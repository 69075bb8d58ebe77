//! What functions write, on its way to the sink: on a thread of its own, so that a sink that blocks (standard output
//! into a pipe that nobody reads) holds up the functions' output, as a full pipe does, and nothing else.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::LogSink;

/// Chunks of lines that may wait for the sink.
pub(super) const WAITING: usize = 64;

/// The near end. Clones lead to the same sink.
#[derive(Clone)]
pub(super) struct Log {
    sender: mpsc::Sender<Message>,
}

enum Message {
    Lines(Vec<u8>),
    Flush(oneshot::Sender<()>),
}

impl Log {
    /// The sink of the function of this name.
    pub(super) fn start(name: String, sink: LogSink) -> Self {
        let (sender, mut messages) = mpsc::channel(WAITING);
        std::thread::spawn(move || {
            while let Some(message) = messages.blocking_recv() {
                match message {
                    Message::Lines(lines) => sink(&name, &lines),
                    // Whoever asked may have stopped waiting.
                    Message::Flush(done) => drop(done.send(())),
                }
            }
        });
        Self { sender }
    }

    /// Passes on whole lines, when there is room.
    pub(super) async fn lines(&self, lines: Vec<u8>) {
        // The thread ends with the last sender, so it is there.
        let _ = self.sender.send(Message::Lines(lines)).await;
    }

    /// Waits until all that was passed on before has reached the sink, or until `limit` is over.
    pub(super) async fn flush(&self, limit: Duration) {
        let (done, reached) = oneshot::channel();
        let flush = async {
            let _ = self.sender.send(Message::Flush(done)).await;
            let _ = reached.await;
        };
        let _ = timeout(limit, flush).await;
    }
}
