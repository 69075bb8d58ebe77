//! The producer as every way in reaches it: what an invocation says of its packets is found out here, once for all.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::runtime::{Function, Outcome, Tail, request_id};
use crate::tally::{Said, Tally};

/// A function whose invocations carry packets. Clones are the same.
#[derive(Clone)]
pub struct Producer {
    function: Function,
    tally: Arc<Tally>,
    _under_way: mpsc::Sender<Infallible>,
}

/// Waits for those who hold a [`Producer`].
#[derive(Debug)]
pub struct UnderWay(mpsc::Receiver<Infallible>);

impl Producer {
    /// The producer, and what waits until nobody holds it any more: then every packet is counted.
    pub fn new(function: Function, tally: Arc<Tally>) -> (Self, UnderWay) {
        let (sender, receiver) = mpsc::channel(1);
        (Self { function, tally, _under_way: sender }, UnderWay(receiver))
    }

    /// The function.
    pub fn function(&self) -> &Function {
        &self.function
    }

    pub(crate) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    pub(crate) async fn invoke(&self, event: Bytes) -> (Outcome, Said) {
        self.invoke_heard(&request_id(), event, None).await
    }

    pub(crate) async fn invoke_heard(
        &self,
        request_id: &str,
        event: Bytes,
        tail: Option<&Tail>,
    ) -> (Outcome, Said) {
        let outcome = self.function.invoke_heard(request_id, event, tail).await;
        let said = match Said::by(&outcome) {
            Said::NoneTaken => Said::NoneTaken,
            Said::What => {
                self.tally.answered(request_id);
                Said::What
            }
            // It may have ended between its last line and its answer.
            Said::Nothing => {
                self.function.flush_log().await;
                if self.tally.was_told(request_id) { Said::What } else { Said::Nothing }
            }
        };
        (outcome, said)
    }
}

impl UnderWay {
    /// Resolves when the last holder is gone.
    pub async fn ended(mut self) {
        while self.0.recv().await.is_some() {}
    }
}
