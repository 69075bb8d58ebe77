//! What a mapping reads from: a stream, be it the local one or another behind the Kinesis API.

use super::epoch_ms;
use crate::runtime::PAYLOAD_BYTES;
use crate::stream::{ApiError, ErrorCode, Position, Read, Shard, ShardId, Stream};

/// A stream that a mapping can read: the local one, or one behind the Kinesis API.
pub trait Source: Send + Sync + 'static {
    /// The stream's ARN.
    fn arn(&self) -> String;

    /// Its shards.
    fn shards(&self) -> impl Future<Output = Result<Vec<Lineage>, Unreadable>> + Send;

    /// The position that `from` means now, such that it means the same later: whatever comes, whatever is trimmed, and
    /// however often reading from there fails. It may mean records more, never one less.
    fn fix(
        &self,
        shard: ShardId,
        from: Position,
    ) -> impl Future<Output = Result<Position, Unreadable>> + Send;

    /// Reads at most `most` records of a shard, waiting until there is one. An end of the shard is no records and no
    /// next position.
    fn read(
        &self,
        shard: ShardId,
        from: Position,
        most: usize,
    ) -> impl Future<Output = Result<Read, Unreadable>> + Send;

    /// Records that arrived before this moment, in milliseconds since 1970, are in the stream no more; none where that
    /// is not known.
    fn kept_from_ms(&self) -> Option<u64> {
        None
    }
}

/// A shard and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// The shard.
    pub id: ShardId,
    /// The shards that it came from by a split or a merge; they are read to their end before it.
    pub parents: Vec<ShardId>,
    /// Where its first record is or was, so that those are noticed that are trimmed before they are read;
    /// [`Position::TrimHorizon`] from a source that does not tell of them.
    pub begins: Position,
}

/// Why a source cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It may be soon.
    #[error("{0}")]
    Now(String),
    /// It never will be: the stream is gone.
    #[error("{0}")]
    ForGood(String),
}

impl Source for Stream {
    fn arn(&self) -> String {
        Self::arn(self).to_owned()
    }

    async fn shards(&self) -> Result<Vec<Lineage>, Unreadable> {
        let lineage = |shard: Shard| Lineage {
            id: shard.id,
            parents: shard.parent.into_iter().chain(shard.adjacent_parent).collect(),
            begins: Position::At(shard.starting),
        };
        Ok(Self::shards(self).into_iter().map(lineage).collect())
    }

    async fn fix(&self, shard: ShardId, from: Position) -> Result<Position, Unreadable> {
        let now_ms = epoch_ms();
        match from {
            // No record of that time is there to be pointed at.
            Position::AtTimestamp(ms) if ms > now_ms => Ok(from),
            from => Self::fix(self, shard, &from, now_ms).map_err(unreadable),
        }
    }

    async fn read(&self, shard: ShardId, from: Position, most: usize) -> Result<Read, Unreadable> {
        loop {
            let version = self.version();
            let read = read_now(self, shard, from, most)?;
            if !read.records.is_empty() || read.next.is_none() || read.skipped > 0 {
                return Ok(read);
            }
            self.changed(version).await;
        }
    }

    fn kept_from_ms(&self) -> Option<u64> {
        Some(Self::kept_from_ms(self))
    }
}

fn read_now(stream: &Stream, shard: ShardId, from: Position, most: usize) -> Result<Read, Unreadable> {
    stream.read(&shard, &from, most, PAYLOAD_BYTES).map_err(unreadable)
}

fn unreadable(error: ApiError) -> Unreadable {
    match error.code {
        ErrorCode::ResourceNotFound => Unreadable::ForGood(error.message),
        _ => Unreadable::Now(error.message),
    }
}
