//! What becomes of packets, by the rules alone: no stream is asked here.

/// What a stream does with a packet for as long as it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    Take,
    /// Throttles it twice, then takes it.
    TakeLate,
    Throttle,
    Fail,
    /// These concern the whole request that holds the packet.
    ThrottleAll,
    FailAll,
    Break,
    Ignore,
    Refuse,
    Forbid,
    Vanish,
    /// It is never asked: the packet is larger than a record may be.
    Large,
    /// It is never asked: the entry is no packet. Only in a batch.
    NoPacket,
}

use Does::*;

pub(super) const ALL: [Does; 13] = [
    Take,
    TakeLate,
    Throttle,
    Fail,
    ThrottleAll,
    FailAll,
    Break,
    Ignore,
    Refuse,
    Forbid,
    Vanish,
    Large,
    NoPacket,
];

impl Does {
    fn is_sent(self) -> bool {
        !matches!(self, Large | NoPacket)
    }

    pub(super) fn to_the_whole_request(self) -> bool {
        self.is_sent() && !matches!(self, Take | TakeLate | Throttle | Fail)
    }
}

/// Why a packet is undelivered, and what must be said of it.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    pub(super) why: Why,
    pub(super) code: &'static str,
    pub(super) says: &'static str,
    pub(super) least_attempts: u64,
    pub(super) most_attempts: u64,
    pub(super) may_be_stored: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Passing,
    Fatal,
    Hopeless,
    TooLarge,
}

/// How a packet ends that has every request to itself; none if it is stored.
fn alone(does: Does) -> Option<Lost> {
    const MANY: u64 = u64::MAX;
    let (why, code, says, least_attempts, most_attempts) = match does {
        Take | TakeLate => return None,
        Throttle => (Why::Passing, "ProvisionedThroughputExceededException", "Rate exceeded", 4, MANY),
        Fail => (Why::Passing, "InternalFailure", "Internal service failure.", 4, MANY),
        ThrottleAll => (Why::Passing, "KMSThrottlingException", "Slow down, key", 4, MANY),
        FailAll => (Why::Passing, "ServiceUnavailable", "Not now", 4, MANY),
        Break => (Why::Passing, "ConnectionBroken", "reset", 4, MANY),
        Ignore => (Why::Passing, "TimedOut", "had not answered when the time for writing was over", 1, 1),
        Refuse => (Why::Hopeless, "InvalidArgumentException", "1 validation error", 1, 1),
        Forbid => {
            let check = "(check that the role allows kinesis:PutRecords on this stream)";
            (Why::Fatal, "AccessDeniedException", check, 1, 1)
        }
        Vanish => {
            let check = "(check STREAM_ARN or STREAM_NAME, and the region)";
            (Why::Fatal, "ResourceNotFoundException", check, 1, 1)
        }
        Large => (Why::TooLarge, "RecordTooLarge", "at most 2000 are allowed", 0, 0),
        NoPacket => (Why::Hopeless, "NotAPacket", "a packet must be a JSON object, found a number", 0, 0),
    };
    let may_be_stored = matches!(does, FailAll | Break | Ignore);
    Some(Lost { why, code, says, least_attempts, most_attempts, may_be_stored })
}

/// How packets end that begin in one request.
pub(super) fn together(all: &[Does]) -> Vec<Option<Lost>> {
    let sent: Vec<_> = all.iter().copied().filter(|does| does.is_sent()).collect();
    // The first packet that decides on the whole request does so for all of them, again and again.
    let whole = sent.iter().copied().find(|does| does.to_the_whole_request());
    let end = |&does: &Does| match whole {
        Some(whole) if does.is_sent() && sent.len() > 1 => {
            let mut end = alone(if whole == Refuse { does } else { whole })?;
            if whole == Refuse {
                // It is looked for who is to blame: everyone goes again alone.
                end.least_attempts += 1;
                end.most_attempts = end.most_attempts.saturating_add(1);
            }
            if sent.iter().all(|&does| does == Refuse) {
                (end.why, end.says) = (Why::Fatal, "(every record was refused alike: check STREAM_ARN or");
            }
            Some(end)
        }
        _ => alone(does),
    };
    all.iter().map(end).collect()
}

/// How packets end that go one after another.
pub(super) fn in_turn(all: &[Does]) -> Vec<Option<Lost>> {
    let mut before: Option<Lost> = None;
    let mut end = |&does: &Does| {
        let attempts =
            |lost: Lost| Lost { least_attempts: 0, most_attempts: 0, may_be_stored: false, ..lost };
        let end = match &before {
            Some(lost) if does.is_sent() && lost.why == Why::Fatal => Some(attempts(lost.clone())),
            Some(lost) if does.is_sent() && lost.why == Why::Passing => {
                let says = "the time for writing was over before the record's turn came";
                Some(attempts(Lost { code: "NotSent", says, ..lost.clone() }))
            }
            _ => alone(does),
        };
        before = end.clone().or_else(|| before.take());
        end
    };
    all.iter().map(&mut end).collect()
}
