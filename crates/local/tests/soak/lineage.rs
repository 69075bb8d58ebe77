//! Which shards a reader may read next: those whose parents it has read to their end.

use std::collections::{BTreeMap, BTreeSet};

use local::stream::ShardId;
use serde::Deserialize;

/// A shard, as `ChildShards` and `ListShards` name it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Shard {
    pub(crate) shard_id: ShardId,
    #[serde(default)]
    parent_shards: Vec<ShardId>,
    parent_shard_id: Option<ShardId>,
    adjacent_parent_shard_id: Option<ShardId>,
}

/// The shards that one reader knows of.
#[derive(Default)]
pub(crate) struct Lineage {
    waiting: BTreeMap<ShardId, Vec<ShardId>>,
    reading: BTreeSet<ShardId>,
    ended: BTreeSet<ShardId>,
}

impl Lineage {
    /// Learns of shards; of those that it knows nothing new.
    pub(crate) fn offer(&mut self, shards: Vec<Shard>) {
        for shard in shards {
            let id = shard.shard_id;
            if !self.reading.contains(&id) && !self.ended.contains(&id) {
                let parents = shard.parent_shards.into_iter();
                let parents = parents.chain(shard.parent_shard_id).chain(shard.adjacent_parent_shard_id);
                self.waiting.insert(id, parents.collect());
            }
        }
    }

    /// Takes those that can be read now.
    pub(crate) fn ready(&mut self) -> Vec<ShardId> {
        let ended = &self.ended;
        let ready = self.waiting.extract_if(.., |_, parents| parents.iter().all(|p| ended.contains(p)));
        let ready: Vec<_> = ready.map(|(id, _)| id).collect();
        self.reading.extend(&ready);
        ready
    }

    /// A shard has been read to its end.
    pub(crate) fn end(&mut self, shard: ShardId) {
        self.reading.remove(&shard);
        self.ended.insert(shard);
    }

    /// Those that are being read.
    pub(crate) fn reading(&self) -> String {
        let names: Vec<_> = self.reading.iter().map(ShardId::to_string).collect();
        names.join(", ")
    }

    /// Those that wait for parents, with them.
    pub(crate) fn waiting(&self) -> String {
        let name = |(id, parents): (&ShardId, &Vec<ShardId>)| {
            let parents: Vec<_> = parents.iter().map(ShardId::to_string).collect();
            format!("{id} for {}", parents.join(" and "))
        };
        self.waiting.iter().map(name).collect::<Vec<_>>().join(", ")
    }
}
