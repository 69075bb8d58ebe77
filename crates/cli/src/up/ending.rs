//! The end of a run: what is in flight gets the grace, what is left is collected and written to a file.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use local::gateway::{Left, UnderWay};
use local::mapping::Rest;
use local::runtime::Function;
use local::stream::Stream;
use local::tally::{Count, Tally};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::GRACE;

/// Where packets and records go that were still on their way at the end.
const UNFINISHED_FOLDER: &str = ".rivulet";

/// What has to come to its end.
pub(super) struct Ending {
    pub(super) udp: JoinHandle<Vec<Left>>,
    pub(super) http: JoinHandle<()>,
    pub(super) invoke: JoinHandle<Vec<Left>>,
    pub(super) mapping: JoinHandle<Vec<Rest>>,
    pub(super) api: JoinHandle<()>,
    pub(super) queue: JoinHandle<()>,
    pub(super) stop_rest: watch::Sender<bool>,
    pub(super) local: Option<Stream>,
    pub(super) handled: Arc<Count>,
    pub(super) tally: Arc<Tally>,
    pub(super) producer: Function,
    pub(super) consumer: Function,
    pub(super) under_way: UnderWay,
}

/// Lets what is in flight come to its end within the grace, then ends the rest.
pub(super) async fn finish(ending: Ending) -> Unfinished {
    let deadline = Instant::now() + GRACE;
    // Each of the three keeps to the grace by itself.
    let mut events = ending.udp.await.unwrap_or_default();
    events.extend(ending.invoke.await.unwrap_or_default());
    let _ = ending.http.await;
    let all_handled = async {
        // Of another Kinesis nothing is known but what was put there.
        let stored = || {
            ending.local.as_ref().map_or_else(|| ending.tally.acknowledged.get(), |own| own.counts().appended)
        };
        while ending.handled.get() < stored() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = tokio::time::timeout_at(deadline, all_handled).await;
    let _ = ending.stop_rest.send(true);
    let rests = ending.mapping.await.unwrap_or_default();
    ending.producer.stop().await;
    ending.consumer.stop().await;
    ending.under_way.ended().await;
    let _ = ending.api.await;
    let _ = ending.queue.await;
    let mut records = Vec::new();
    for rest in rests {
        records.extend(rest.records);
        // What a remote stream still holds stays there.
        let Some(stream) = &ending.local else { continue };
        let mut next = rest.next;
        while let Some(from) = next {
            let Ok(read) = stream.read(&rest.shard, &from, 10_000, usize::MAX) else { break };
            next = read.next.filter(|_| !read.records.is_empty());
            records.extend(read.records);
        }
    }
    Unfinished { events, records, messages: Vec::new() }
}

/// What was still on its way at the end.
pub(super) struct Unfinished {
    /// Events that are at no end: batches of the gateway, and asynchronous ones.
    pub(super) events: Vec<Left>,
    /// Records that the consumer had not handled.
    pub(super) records: Vec<local::stream::Record>,
    /// Messages of the queue that nobody has deleted.
    pub(super) messages: Vec<String>,
}

impl Unfinished {
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.records.is_empty() && self.messages.is_empty()
    }

    pub(super) fn packets(&self) -> u64 {
        self.events.iter().map(|left| left.packets).sum()
    }

    /// Writes a line for each event, each record and each message; the events can be invoked again as they are.
    pub(super) fn write(&self) -> Result<PathBuf> {
        std::fs::create_dir_all(UNFINISHED_FOLDER).context(UNFINISHED_FOLDER)?;
        // Two runs may end at once, in one folder.
        let (now, process) = (jiff::Timestamp::now().strftime("%Y-%m-%dT%H-%M-%S"), std::process::id());
        let path = PathBuf::from(UNFINISHED_FOLDER).join(format!("unfinished-{now}-{process}.jsonl"));
        let file = std::fs::File::create_new(&path).with_context(|| path.display().to_string())?;
        let mut file = std::io::BufWriter::new(file);
        for left in &self.events {
            writeln!(file, "{}", on_one_line(&left.event))?;
        }
        for record in &self.records {
            let line = serde_json::json!({
                "SequenceNumber": record.sequence_number.to_string(),
                "PartitionKey": &*record.partition_key,
                "Data": BASE64_STANDARD.encode(&record.data),
            });
            writeln!(file, "{line}")?;
        }
        for message in &self.messages {
            writeln!(file, "{}", on_one_line(message))?;
        }
        file.flush()?;
        Ok(path)
    }
}

/// JSON may have line breaks between its tokens, and nowhere else.
fn on_one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}
