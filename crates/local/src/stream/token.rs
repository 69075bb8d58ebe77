//! What a client carries from call to call: shard iterators and page tokens.
//!
//! A token is JSON behind the start of its MD5, in base64. The digest is there to tell what this stream gave
//! out from what was cut, mistyped or made by somebody else; it is no signature.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use super::id::ShardId;
use super::shard::Position;

/// A place to go on from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Token {
    /// A shard iterator: read on from there.
    Iterator { stream: String, shard: ShardId, from: Position, issued_ms: u64 },
    /// A page of `ListShards`: go on behind this shard.
    Shards { stream: String, after: ShardId, filter: ShardFilter, issued_ms: u64 },
    /// A page of `ListStreamConsumers`: go on behind this name.
    Consumers { stream: String, after: String, issued_ms: u64 },
    /// A page of `ListStreams`: go on behind this name.
    Streams { after: String, issued_ms: u64 },
}

/// Which shards `ListShards` is to give.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) enum ShardFilter {
    /// Those that still have records, or may get some.
    Readable,
    /// Those that take records now.
    Open,
    /// Those that took records at that time, in milliseconds since 1970.
    OpenAt(u64),
    /// Those that took records then or later.
    OpenSince(u64),
}

const DIGEST: usize = 6;

impl Token {
    /// The text to hand out: at most 512 characters, the most that the API allows.
    pub(super) fn seal(&self) -> String {
        // A struct of texts and numbers cannot fail to become JSON.
        let json = serde_json::to_vec(self).unwrap_or_default();
        let mut sealed = Md5::digest(&json)[..DIGEST].to_vec();
        sealed.extend(json);
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// The token that was handed out as this text, if one was.
    pub(super) fn open(text: &str) -> Option<Self> {
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (digest, json) = sealed.split_at_checked(DIGEST)?;
        (Md5::digest(json)[..DIGEST] == *digest).then(|| serde_json::from_slice(json).ok())?
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stream::id::SequenceNumber;

    fn iterator(name: usize) -> Token {
        let from = Position::After(SequenceNumber::new(u64::MAX, ShardId(u32::MAX), u64::MAX, u64::MAX));
        let stream = "n".repeat(name);
        Token::Iterator { stream, shard: ShardId(u32::MAX), from, issued_ms: u64::MAX }
    }

    #[test]
    fn the_longest_iterator_fits_the_api() {
        let longest = iterator(128);
        let text = longest.seal();
        assert!(text.len() <= 512, "{} characters", text.len());
        assert_eq!(Token::open(&text), Some(longest));
    }

    proptest! {
        #[test]
        fn a_token_with_one_character_changed_or_cut_is_none(place: prop::sample::Index, by in 1u8..64, cut: bool) {
            let text = iterator(9).seal();
            let place = place.index(text.len());
            let mut changed = text.clone().into_bytes();
            if cut {
                changed.truncate(place);
            } else {
                let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
                let was = alphabet.iter().position(|c| *c == changed[place]).unwrap();
                changed[place] = alphabet[(was + usize::from(by)) % 64];
            }
            prop_assert_eq!(Token::open(std::str::from_utf8(&changed).unwrap()), None);
        }

        #[test]
        fn garbage_is_none(text in ".{0,600}") {
            prop_assert_eq!(Token::open(&text), None);
        }
    }
}
