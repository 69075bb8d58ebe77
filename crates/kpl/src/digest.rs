//! MD5 of one message, and of many at once.
//!
//! Each step of MD5 waits for the one before, so that a processor is idle most of the time: eight messages side by side,
//! in vectors, take a third of the time that they take one after the other.

use md5::{Digest, Md5};
use wide::u32x8;

/// The length of a digest, in bytes.
pub(crate) const DIGEST_BYTES: usize = 16;

const BLOCK: usize = 64;

const LANES: usize = 8;

/// The words of eight messages.
type Words = u32x8;

/// The MD5 digest of a message.
pub(crate) fn digest(message: &[u8]) -> [u8; DIGEST_BYTES] {
    Md5::digest(message).into()
}

/// The MD5 digests of messages, in their order.
pub(crate) fn digests(messages: &[&[u8]]) -> Vec<[u8; DIGEST_BYTES]> {
    let blocks = |message: &&[u8]| (message.len() + 8) / BLOCK + 1;
    let (all, longest) =
        messages.iter().map(blocks).fold((0, 0), |(all, longest), one| (all + one, longest.max(one)));
    // A step of all lanes costs as much as three of one message alone: they have to be of use.
    if 3 * longest.max(all / LANES) >= all {
        return messages.iter().map(|message| digest(message)).collect();
    }
    side_by_side(messages)
}

/// A message on its way through a lane.
#[derive(Clone, Copy)]
struct Lane<'a> {
    message: &'a [u8],
    /// Its place among the messages; none where the lane is idle.
    index: Option<usize>,
    /// How many of its blocks are done.
    done: usize,
}

impl Lane<'_> {
    /// Writes the next block to `block`: of the message, and behind it the bit, the zeros and the length that MD5 adds
    /// (RFC 1321, 3.1 and 3.2). Whether it is the last.
    fn next(&mut self, block: &mut [u8; BLOCK]) -> bool {
        let length = self.message.len();
        let rest = self.message.get(self.done * BLOCK..).unwrap_or_default();
        self.done += 1;
        if let Some(whole) = rest.first_chunk() {
            *block = *whole;
            return false;
        }
        *block = [0; BLOCK];
        block[..rest.len()].copy_from_slice(rest);
        // The bit stands behind the last byte, which is in the block before where the message filled that up.
        let begins_here = length / BLOCK + 1 == self.done;
        if begins_here {
            block[rest.len()] = 0x80;
        }
        let is_last = !begins_here || rest.len() < BLOCK - 8;
        if is_last {
            block[BLOCK - 8..].copy_from_slice(&(length as u64).wrapping_mul(8).to_le_bytes());
        }
        is_last
    }
}

fn side_by_side(messages: &[&[u8]]) -> Vec<[u8; DIGEST_BYTES]> {
    let mut digests = vec![[0; DIGEST_BYTES]; messages.len()];
    let mut waiting = messages.iter().enumerate();
    let mut next = || {
        let (index, message) =
            waiting.next().map_or((None, &[][..]), |(index, message)| (Some(index), *message));
        Lane { message, index, done: 0 }
    };
    let mut lanes: [Lane<'_>; LANES] = std::array::from_fn(|_| next());
    let mut state = START.map(Words::splat);
    let mut blocks = [[0; BLOCK]; LANES];
    while lanes.iter().any(|lane| lane.index.is_some()) {
        let mut ended = [false; LANES];
        for ((lane, block), ended) in lanes.iter_mut().zip(&mut blocks).zip(&mut ended) {
            *ended = lane.next(block);
        }
        state = compress(state, &words(&blocks));
        for number in (0..LANES).filter(|number| ended[*number]) {
            let mut words = state.map(Words::to_array);
            if let Some(index) = lanes[number].index {
                for (bytes, word) in digests[index].as_chunks_mut().0.iter_mut().zip(&words) {
                    *bytes = word[number].to_le_bytes();
                }
            }
            for (word, start) in words.iter_mut().zip(START) {
                word[number] = start;
            }
            state = words.map(Words::new);
            lanes[number] = next();
        }
    }
    digests
}

/// The words of one block of each message, of which the bytes come lowest first.
fn words(blocks: &[[u8; BLOCK]; LANES]) -> [Words; BLOCK / 4] {
    let word = |block: &[u8; BLOCK], at: usize| u32::from_le_bytes(block.as_chunks().0[at]);
    std::array::from_fn(|at| Words::new(std::array::from_fn(|lane| word(&blocks[lane], at))))
}

/// RFC 1321, 3.3.
const START: [u32; 4] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476];

/// One block of each message (RFC 1321, 3.4).
fn compress(before: [Words; 4], block: &[Words; BLOCK / 4]) -> [Words; 4] {
    let after = round::<3>(round::<2>(round::<1>(round::<0>(before, block), block), block), block);
    std::array::from_fn(|word| before[word] + after[word])
}

/// Written out, not as a loop: so that the compiler knows every number of [`step`].
#[inline(always)]
fn round<const ROUND: usize>(state: [Words; 4], block: &[Words; BLOCK / 4]) -> [Words; 4] {
    let one = |state, at| step::<ROUND>(state, at, block);
    let four = |state, at| one(one(one(one(state, at), at + 1), at + 2), at + 3);
    four(four(four(four(state, 0), 4), 8), 12)
}

#[inline(always)]
fn step<const ROUND: usize>([a, b, c, d]: [Words; 4], at: usize, block: &[Words; BLOCK / 4]) -> [Words; 4] {
    let (mixed, word) = match ROUND {
        0 => (d ^ (b & (c ^ d)), at),
        1 => (c ^ (d & (b ^ c)), (5 * at + 1) % 16),
        2 => (b ^ c ^ d, (3 * at + 5) % 16),
        _ => (c ^ (b | !d), 7 * at % 16),
    };
    let sum = a + mixed + Words::splat(SINES[16 * ROUND + at]) + block[word];
    let turn = TURNS[ROUND][at % 4];
    [d, b + ((sum << turn) | (sum >> (u32::BITS - turn))), b, c]
}

/// By how many bits each step turns.
const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// The sine of each step's number from 1, in radians and without its sign, times 2^32.
const SINES: [u32; 64] = [
    0xD76A_A478,
    0xE8C7_B756,
    0x2420_70DB,
    0xC1BD_CEEE,
    0xF57C_0FAF,
    0x4787_C62A,
    0xA830_4613,
    0xFD46_9501,
    0x6980_98D8,
    0x8B44_F7AF,
    0xFFFF_5BB1,
    0x895C_D7BE,
    0x6B90_1122,
    0xFD98_7193,
    0xA679_438E,
    0x49B4_0821,
    0xF61E_2562,
    0xC040_B340,
    0x265E_5A51,
    0xE9B6_C7AA,
    0xD62F_105D,
    0x0244_1453,
    0xD8A1_E681,
    0xE7D3_FBC8,
    0x21E1_CDE6,
    0xC337_07D6,
    0xF4D5_0D87,
    0x455A_14ED,
    0xA9E3_E905,
    0xFCEF_A3F8,
    0x676F_02D9,
    0x8D2A_4C8A,
    0xFFFA_3942,
    0x8771_F681,
    0x6D9D_6122,
    0xFDE5_380C,
    0xA4BE_EA44,
    0x4BDE_CFA9,
    0xF6BB_4B60,
    0xBEBF_BC70,
    0x289B_7EC6,
    0xEAA1_27FA,
    0xD4EF_3085,
    0x0488_1D05,
    0xD9D4_D039,
    0xE6DB_99E5,
    0x1FA2_7CF8,
    0xC4AC_5665,
    0xF429_2244,
    0x432A_FF97,
    0xAB94_23A7,
    0xFC93_A039,
    0x655B_59C3,
    0x8F0C_CC92,
    0xFFEF_F47D,
    0x8584_5DD1,
    0x6FA8_7E4F,
    0xFE2C_E6E0,
    0xA301_4314,
    0x4E08_11A1,
    0xF753_7E82,
    0xBD3A_F235,
    0x2AD7_D2BB,
    0xEB86_D391,
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Holds that both ways give what a well-known implementation gives.
    #[track_caller]
    fn check(messages: &[&[u8]]) {
        let want: Vec<_> = messages.iter().map(|message| digest(message)).collect();
        assert_eq!(side_by_side(messages), want);
        assert_eq!(digests(messages), want);
    }

    #[test]
    fn messages_side_by_side_have_the_digests_they_have_alone() {
        check(&[]);
        check(&[b""]);
        check(&[b"", b"a", b"abc", b"message digest"]);
        let text = [b'x'; 1000];
        check(&[&text[..]; 20]);
    }

    #[test]
    fn a_message_may_end_anywhere_in_a_block() {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(300).collect();
        let messages: Vec<_> = (0..bytes.len()).map(|length| &bytes[..length]).collect();
        check(&messages);
        for message in messages {
            check(&[message]);
        }
    }

    #[test]
    fn the_sines_are_sines() {
        for (number, sine) in (1_u32..).zip(SINES) {
            let want = (f64::from(number).sin().abs() * 2_f64.powi(32)).floor();
            assert!((f64::from(sine) - want).abs() < 0.5, "{number}");
        }
    }

    proptest! {
        #[test]
        fn any_messages_have_the_digests_they_have_alone(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..700), 0..40),
        ) {
            check(&messages.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }
    }
}
