//! How a run is going: on a terminal a few lines at its bottom, drawn anew twice a second; in a pipe a line of counts
//! now and then.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use local::mapping::{Mapping, Progress, State};
use local::queue::{Counts, Queue};
use local::stream::Stream;
use local::tally::Tally;
use tokio::time::sleep;

/// How often the lines are drawn.
const DRAW_EVERY: Duration = Duration::from_millis(500);

/// How often the counts are written into a pipe while they change.
const COUNTS_EVERY: Duration = Duration::from_secs(5);

/// Over how many drawings a rate is taken: one alone sees a whole batch or none.
const RATE_OVER: usize = 6;

/// Most shards that have a line of their own.
const SHARDS: usize = 8;

/// What is looked at.
pub(crate) struct Watched {
    pub(crate) tally: Arc<Tally>,
    pub(crate) queue: Queue,
    pub(crate) mapping: Mapping,
    /// None of a stream elsewhere.
    pub(crate) stream: Option<Stream>,
}

impl Watched {
    /// Shows how the run is going, until it is dropped.
    pub(crate) async fn show(self) {
        if super::is_terminal() { self.draw().await } else { self.note().await }
    }

    async fn draw(self) {
        let mut seen = std::collections::VecDeque::new();
        loop {
            let now = Rated {
                at: Instant::now(),
                received: self.tally.received.get(),
                logged: self.tally.logged.get(),
            };
            let rates = seen.front().map_or((0, 0), |before: &Rated| now.since(before));
            seen.push_back(now);
            if seen.len() > RATE_OVER {
                seen.pop_front();
            }
            let mut lines = vec![head(rates, &super::main_counts(&self.tally))];
            lines.extend(trouble(self.mapping.state(), super::other_counts(&self.tally, self.in_queue())));
            lines.extend(shard_lines(self.shards()));
            super::draw(lines);
            sleep(DRAW_EVERY).await;
        }
    }

    async fn note(self) {
        let counts = || super::counts(&self.tally, self.in_queue());
        let mut shown = counts();
        loop {
            sleep(COUNTS_EVERY).await;
            let now = counts();
            if now != shown {
                super::note(&now);
                shown = now;
            }
        }
    }

    fn in_queue(&self) -> u64 {
        let Counts { visible, in_flight } = self.queue.counts();
        (visible + in_flight) as u64
    }

    /// Each shard that is being read, and how many of its records are not at their end.
    fn shards(&self) -> Vec<(u64, Progress)> {
        let unread =
            |shard: &Progress| Some(self.stream.as_ref()?.unread(&shard.shard, &shard.next?).unwrap_or(0));
        let behind = |shard: &Progress| {
            let taken = shard.waiting + shard.under_way.iter().map(|batch| batch.records).sum::<usize>();
            taken as u64 + unread(shard).unwrap_or(0)
        };
        let shards = self.mapping.progress().into_iter().map(|shard| (behind(&shard), shard));
        // One that is closed and read has nothing more to say.
        shards.filter(|(behind, shard)| *behind > 0 || shard.next.is_some()).collect()
    }
}

/// The counts that rates are made of.
struct Rated {
    at: Instant,
    received: u64,
    logged: u64,
}

impl Rated {
    /// Packets a second, in and out.
    fn since(&self, before: &Self) -> (u64, u64) {
        let ms = self.at.duration_since(before.at).as_millis().max(1);
        let rate =
            |now: u64, then: u64| u64::try_from(u128::from(now - then) * 1000 / ms).unwrap_or(u64::MAX);
        (rate(self.received, before.received), rate(self.logged, before.logged))
    }
}

fn head((received, logged): (u64, u64), counts: &str) -> String {
    format!("{received} in and {logged} out a second; {counts}")
}

/// What else there is to say of the run, in a line of its own: a narrow terminal cuts the ends of lines.
fn trouble(state: State, mut counts: Vec<String>) -> Option<String> {
    match state {
        State::Enabled => {}
        State::Disabling => counts.insert(0, "the mapping is being disabled".to_owned()),
        State::Disabled => counts.insert(0, "the mapping is disabled".to_owned()),
    }
    (!counts.is_empty()).then(|| counts.join(", "))
}

/// A line for each shard; where they are many, for those that are furthest behind.
fn shard_lines(mut shards: Vec<(u64, Progress)>) -> Vec<String> {
    let more = shards.len().saturating_sub(SHARDS);
    if more > 0 {
        shards.sort_by_key(|(behind, shard)| (std::cmp::Reverse(*behind), shard.shard));
        shards.truncate(SHARDS);
        shards.sort_by_key(|(_, shard)| shard.shard);
    }
    let mut lines: Vec<_> = shards.iter().map(|(behind, shard)| shard_line(*behind, shard)).collect();
    if more > 0 {
        lines.push(format!("and {more} more shards, none of them further behind"));
    }
    lines
}

fn shard_line(behind: u64, shard: &Progress) -> String {
    let mut line = format!("{}  {behind:>6} behind", shard.shard);
    if let Some(age) = shard.iterator_age {
        let _ = write!(line, ", {:.1} s", age.as_secs_f64());
    }
    for (place, batch) in shard.under_way.iter().enumerate() {
        let _ = write!(line, "{} {}", if place == 0 { "  under way:" } else { "," }, batch.records);
        match (batch.attempt > 1, batch.bisected) {
            (false, false) => {}
            (true, false) => drop(write!(line, " (attempt {})", batch.attempt)),
            (false, true) => line.push_str(" (part of a batch)"),
            (true, true) => drop(write!(line, " (attempt {}, part of a batch)", batch.attempt)),
        }
    }
    let mut first = true;
    for (words, count) in
        [("failed", shard.failures), ("halved", shard.bisects), ("discarded", shard.discarded)]
    {
        if count > 0 {
            let _ = write!(line, "{} {words} {count}", if first { " " } else { "," });
            first = false;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use local::mapping::UnderWay;

    use super::*;

    fn shard(id: u64) -> Progress {
        Progress {
            shard: format!("shardId-{id:012}").parse().unwrap(),
            next: None,
            waiting: 0,
            iterator_age: None,
            under_way: Vec::new(),
            handled: 0,
            failures: 0,
            discarded: 0,
            bisects: 0,
        }
    }

    #[track_caller]
    fn check(behind: u64, shard: &Progress, want: &str) {
        assert_eq!(shard_line(behind, shard), want);
    }

    #[test]
    fn a_shard_says_what_there_is_to_say() {
        check(0, &shard(3), "shardId-000000000003       0 behind");
        let batch = UnderWay { records: 100, attempt: 1, bisected: false };
        let again = UnderWay { attempt: 3, ..batch };
        let half = UnderWay { records: 50, bisected: true, ..batch };
        let both = UnderWay { attempt: 2, ..half };
        let busy = Progress {
            iterator_age: Some(Duration::from_millis(1234)),
            under_way: vec![batch, again, half, both],
            failures: 2,
            bisects: 1,
            ..shard(0)
        };
        check(
            345,
            &busy,
            "shardId-000000000000     345 behind, 1.2 s  under way: 100, 100 (attempt 3), 50 (part of a batch), \
             50 (attempt 2, part of a batch)  failed 2, halved 1",
        );
        check(1, &Progress { discarded: 7, ..shard(0) }, "shardId-000000000000       1 behind  discarded 7");
    }

    #[test]
    fn of_many_shards_those_furthest_behind_are_shown_in_their_order() {
        let shards = (0..20).map(|id| (if id % 5 == 0 { 100 } else { id }, shard(id))).collect();
        let lines = shard_lines(shards);
        let shown: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("shardId-0000000000")).collect();
        let shown: Vec<_> = shown.iter().map(|line| &line[..2]).collect();
        assert_eq!(shown, ["00", "05", "10", "15", "16", "17", "18", "19"]);
        assert_eq!(lines.last().unwrap(), "and 12 more shards, none of them further behind");
    }

    #[test]
    fn what_is_not_as_always_has_a_line_of_its_own() {
        assert_eq!(trouble(State::Enabled, vec![]), None);
        let counts = || vec!["undelivered 2".to_owned(), "queued 2".to_owned()];
        assert_eq!(trouble(State::Enabled, counts()).unwrap(), "undelivered 2, queued 2");
        assert_eq!(
            trouble(State::Disabled, counts()).unwrap(),
            "the mapping is disabled, undelivered 2, queued 2"
        );
    }

    #[test]
    fn rates_are_of_the_time_between() {
        let at = Instant::now();
        let before = Rated { at, received: 100, logged: 50 };
        let now = Rated { at: at + Duration::from_millis(500), received: 600, logged: 50 };
        assert_eq!(now.since(&before), (1000, 0));
        assert_eq!(before.since(&Rated { at, ..before }), (0, 0), "no time has passed");
    }
}
