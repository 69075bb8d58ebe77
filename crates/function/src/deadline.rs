//! When writing must end, so that an invocation still gets to answer.
//!
//! Lambda kills a function at its deadline, and what was in flight then belongs to nobody. So work stops a
//! margin before it: what the margin pays for is naming what was not done (a queue, the log) and the answer.

use std::time::{Duration, SystemTime};

/// The margin kept before the deadline, when there is time for it.
pub const MARGIN: Duration = Duration::from_secs(2);

/// The share of the time left that the margin may take at most, as a divisor: a third, so that a function with
/// a short timeout (Lambda's own default is 3 s) still works for most of it.
const MARGIN_SHARE: u32 = 3;

/// What a queue may have of the margin: 1.3 s of the two. The rest is for the log and the answer.
const QUEUE_SHARE: f64 = 0.65;

/// How many bytes of the log are written in a second where a processor is scarce. Measured with the 0.29 of one that 512
/// MB have: 30,000 packets of 200 bytes, 14 MB in the log, take 0.3 s; this is a third of that speed, for half the memory
/// and a slow reader.
const LOG_BYTES_A_SECOND: f64 = 15e6;

/// A deadline that passed so long before an invocation began is none: the emulator of cargo-lambda sends 600,000 ms
/// after 1970 with every event.
const NO_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// The time left where no deadline is known. Nobody is killed then.
const TIME_WITHOUT_DEADLINE: Duration = Duration::from_secs(20);

/// How long work may go on, from `now`, in an invocation that is killed at `deadline`.
///
/// Zero once the deadline has passed.
pub fn work_time(deadline: SystemTime, now: SystemTime) -> Duration {
    if now.duration_since(deadline).is_ok_and(|passed| passed > NO_DEADLINE) {
        return TIME_WITHOUT_DEADLINE - margin(TIME_WITHOUT_DEADLINE);
    }
    let left = deadline.duration_since(now).unwrap_or(Duration::ZERO);
    left - margin(left)
}

/// How long what was not done may still be given to a queue, counted like the `work_time` of the invocation, behind
/// which it lies: 1.3 s more of a margin of two, and the same share of a smaller one; but always so that `log_bytes` can
/// be written before the deadline, which is what remains to be done if the queue takes nothing.
pub fn queue_time(work_time: Duration, log_bytes: usize) -> Duration {
    // A third of all is half of the rest.
    let margin = MARGIN.min(work_time / (MARGIN_SHARE - 1));
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let log_time = Duration::from_secs_f64(log_bytes as f64 / LOG_BYTES_A_SECOND);
    work_time + margin.mul_f64(QUEUE_SHARE).min(margin.saturating_sub(log_time))
}

/// The margin to keep of the time left: [`MARGIN`], or a third of the time left when that is less (below 6 s).
pub fn margin(left: Duration) -> Duration {
    MARGIN.min(left / MARGIN_SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(left_ms: u64, want_ms: u64) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000);
        let deadline = now + Duration::from_millis(left_ms);
        assert_eq!(work_time(deadline, now), Duration::from_millis(want_ms));
    }

    #[test]
    fn two_seconds_are_kept_when_there_are_six_or_more() {
        check(900_000, 898_000);
        check(20_000, 18_000);
        check(6_000, 4_000);
    }

    #[test]
    fn a_third_is_kept_when_there_is_less() {
        check(5_997, 3_998);
        check(3_000, 2_000);
        check(3, 2);
        check(0, 0);
    }

    #[track_caller]
    fn check_queue_time(left_ms: u64, log_bytes: usize, want_ms: u64) {
        let now = SystemTime::UNIX_EPOCH;
        let work = work_time(now + Duration::from_millis(left_ms), now);
        assert_eq!(queue_time(work, log_bytes), Duration::from_millis(want_ms));
    }

    #[test]
    fn a_queue_has_its_share_of_the_margin() {
        check_queue_time(20_000, 0, 19_300);
        check_queue_time(6_000, 0, 5_300);
        check_queue_time(3_000, 0, 2_650);
        check_queue_time(0, 0, 0);
    }

    #[test]
    fn what_may_have_to_be_logged_has_its_time_first() {
        check_queue_time(20_000, 3_000_000, 19_300); // a fifth of a second is left anyway
        check_queue_time(20_000, 15_000_000, 19_000);
        check_queue_time(3_000, 6_000_000, 2_600);
        check_queue_time(3_000, 15_000_000, 2_000);
        check_queue_time(3_000, usize::MAX, 2_000);
    }

    #[test]
    fn nothing_is_left_after_the_deadline() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(9);
        assert_eq!(work_time(SystemTime::UNIX_EPOCH, now), Duration::ZERO);
    }

    #[test]
    fn a_deadline_of_another_age_is_none() {
        let (deadline, now) = (Duration::from_millis(600_000), Duration::from_secs(1_700_000_000));
        let time = work_time(SystemTime::UNIX_EPOCH + deadline, SystemTime::UNIX_EPOCH + now);
        assert_eq!(time, Duration::from_secs(18));
    }
}
