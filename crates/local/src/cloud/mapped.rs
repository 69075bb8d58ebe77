//! A mapping of the cloud: how far it is, and who is told what becomes of the records.

use std::sync::Arc;

use crate::gateway::Notes;
use crate::mapping::{Event, Kept, Listener, Mapping, State};
use crate::stream::{Position, Stream};
use crate::tally::{Count, Tally};

/// A mapping, and what it reads.
#[derive(Clone)]
pub(super) struct Mapped {
    pub(super) mapping: Mapping,
    /// None of a stream elsewhere.
    pub(super) stream: Option<Stream>,
    /// Records that are at their end.
    pub(super) done: Arc<Count>,
}

impl Mapped {
    /// Whether every record of the stream is at its end; of a stream elsewhere nothing is known.
    pub(super) fn is_through(&self) -> bool {
        let Some(stream) = &self.stream else { return true };
        let progress = self.mapping.progress();
        stream.shards().iter().all(|shard| {
            let unread = |from| stream.unread(&shard.id, &from).unwrap_or(0);
            match progress.iter().find(|progress| progress.shard == shard.id) {
                None => unread(Position::TrimHorizon) == 0,
                Some(shard) => {
                    shard.waiting == 0
                        && shard.under_way.is_empty()
                        && shard.next.is_none_or(|from| unread(from) == 0)
                }
            }
        })
    }

    /// Whether waiting for it would bring nothing more. Of a stream elsewhere nothing is known but what was put there.
    pub(super) fn is_done(&self, acknowledged: u64) -> bool {
        match (self.mapping.state(), &self.stream) {
            (State::Disabled, _) => true,
            (_, Some(_)) => self.is_through(),
            (_, None) => self.done.get() >= acknowledged,
        }
    }
}

/// Counts what a mapping tells of, and passes on what a person should know.
pub(super) fn listener(tally: Arc<Tally>, done: Arc<Count>, notes: Notes) -> Listener {
    Arc::new(move |event| match event {
        Event::Handled(records) => done.add(records),
        Event::Discarded(records, why, kept) => {
            done.add(records);
            tally.discarded.add(records);
            notes(&match kept {
                Kept::Nowhere => format!("{records} records were discarded: {why}"),
                Kept::At(place) => {
                    tally.reported.add(records);
                    format!("a batch of {records} was given up: {why}; it is told of in {place}")
                }
                Kept::Refused(refusal) => {
                    format!(
                        "{records} records were discarded: {why}; the on-failure destination does not take them: {refusal}"
                    )
                }
            });
        }
        Event::Trimmed(records) => {
            done.add(records);
            tally.trimmed.add(records);
            notes(&format!(
                "{records} records were removed by retention before the consumer had handled them"
            ));
        }
        Event::Trouble(why) => notes(&why),
    })
}
