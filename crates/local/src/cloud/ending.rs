//! How a cloud ends: the input stops, what is under way has the grace, what is left is given back.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::{Cloud, Mapped};
use crate::gateway::Left;
use crate::mapping::Rest;
use crate::stream::{Record, Stream};

/// How often it is looked whether the mappings are through.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What was still on its way at the end.
#[derive(Debug, Default)]
pub struct Unfinished {
    /// Events that are at no end: batches of a gateway, and asynchronous ones.
    pub events: Vec<Left>,
    /// Records that the functions had not handled; those of a stream elsewhere only as far as they were read.
    pub records: Vec<Record>,
    /// Messages of the queue that nobody has deleted.
    pub messages: Vec<String>,
}

impl Unfinished {
    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.records.is_empty() && self.messages.is_empty()
    }

    /// The packets of the events.
    pub fn packets(&self) -> u64 {
        self.events.iter().map(|left| left.packets).sum()
    }
}

impl Cloud {
    /// Resolves when every record of the streams here is at its end in every mapping of them: handled, given up or
    /// removed by retention; and what the functions wrote about them has come to the logs. It may never, where a mapping
    /// is disabled or tries for ever: put a time limit around it.
    pub async fn settled(&self) {
        while !self.mappings.iter().all(Mapped::is_through) {
            sleep(LOOK_EVERY).await;
        }
        for function in &self.functions {
            function.flush_log().await;
        }
    }

    /// Takes no more input, lets what is under way come to its end within the grace, then ends the rest: no process and
    /// no port of the cloud is left.
    pub async fn stop(mut self) -> Unfinished {
        let deadline = Instant::now() + self.config.grace;
        self.stop_input.send_replace(true);
        let mut unfinished = Unfinished::default();
        // Each of them keeps to the grace by itself.
        while let Some(left) = self.inputs.join_next().await {
            unfinished.events.extend(left.unwrap_or_default());
        }
        let all = async {
            while !self.mappings.iter().all(|mapped| mapped.is_done(&self.tally)) {
                sleep(LOOK_EVERY).await;
            }
        };
        let _ = timeout_at(deadline, all).await;
        self.stop_rest.send_replace(true);
        let mut rests = Vec::new();
        while let Some(stopped) = self.pollers.join_next().await {
            rests.extend(stopped);
        }
        for function in &self.functions {
            function.stop().await;
        }
        self.registry.clear();
        for under_way in self.under_way.drain(..) {
            under_way.ended().await;
        }
        while self.apis.join_next().await.is_some() {}
        for (rests, stream) in rests {
            rests.into_iter().for_each(|rest| collect(rest, stream.as_ref(), &mut unfinished.records));
        }
        unfinished.messages = self.queue.bodies();
        unfinished
    }
}

/// What a mapping had read and not handled, and what it had not read. What a remote stream still holds stays there.
fn collect(rest: Rest, stream: Option<&Stream>, records: &mut Vec<Record>) {
    records.extend(rest.records);
    let (Some(stream), mut next) = (stream, rest.next) else { return };
    while let Some(from) = next {
        let Ok(read) = stream.read(&rest.shard, &from, 10_000, usize::MAX) else { return };
        next = read.next.filter(|_| !read.records.is_empty());
        records.extend(read.records);
    }
}
