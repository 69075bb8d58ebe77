//! Counts the invocations under way and the processes that are there, so that an end can wait for theirs.

use tokio::sync::watch;

/// The count.
#[derive(Default)]
pub(super) struct Living(watch::Sender<usize>);

/// One of those that are counted, until it is dropped.
pub(super) struct Alive(watch::Sender<usize>);

impl Living {
    /// One more.
    pub(super) fn one_more(&self) -> Alive {
        self.0.send_modify(|count| *count += 1);
        Alive(self.0.clone())
    }

    /// Resolves when there is none.
    pub(super) async fn none_left(&self) {
        // The sender is here: it cannot close while we wait.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
