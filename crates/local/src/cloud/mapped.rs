//! A mapping of the cloud: how far it is, and who is told what becomes of the records.

use std::sync::Arc;

use crate::gateway::Notes;
use crate::mapping::{Event, Kept, Listener, Mapping, Progress, State};
use crate::stream::{Position, Stream};
use crate::tally::Tally;

/// A mapping, and what it reads.
#[derive(Clone)]
pub(super) struct Mapped {
    pub(super) mapping: Mapping,
    /// None of a stream elsewhere.
    pub(super) stream: Option<Stream>,
}

impl Mapped {
    /// Whether every record of the stream is at its end; of a stream elsewhere nothing is known.
    pub(super) fn is_through(&self) -> bool {
        let Some(stream) = &self.stream else { return true };
        let progress = self.mapping.progress();
        stream.shards().iter().all(|shard| {
            let unread = |from| stream.unread(&shard.id, &from).unwrap_or(0);
            match progress.iter().find(|progress| progress.shard == shard.id) {
                None => unread(Position::At(shard.starting)) == 0,
                Some(shard) => {
                    shard.waiting == 0
                        && shard.under_way.is_empty()
                        && shard.next.is_none_or(|from| unread(from) == 0)
                }
            }
        })
    }

    /// Whether waiting for it would bring nothing more. Of a stream elsewhere it is not known what it holds: there it has
    /// to be through with what it has read, and the packets that were put there have to be in the consumer's log, or
    /// given up.
    pub(super) fn is_done(&self, tally: &Tally) -> bool {
        let acknowledged = tally.acknowledged.get();
        match (self.mapping.state(), &self.stream) {
            (State::Disabled, _) => true,
            (_, Some(_)) => self.is_through(),
            (_, None) => {
                let is_idle = |shard: &Progress| shard.waiting == 0 && shard.under_way.is_empty();
                self.mapping.progress().iter().all(is_idle)
                    && tally.logged.get() + tally.discarded.get() >= acknowledged
            }
        }
    }
}

/// Counts what a mapping tells of, and passes on what a person should know.
pub(super) fn listener(tally: Arc<Tally>, notes: Notes) -> Listener {
    Arc::new(move |event| match event {
        Event::Handled(_) => {}
        Event::Discarded(records, why, kept) => {
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
            tally.trimmed.add(records);
            notes(&format!(
                "{records} records were removed by retention before the consumer had handled them"
            ));
        }
        Event::Trouble(why) => notes(&why),
    })
}
