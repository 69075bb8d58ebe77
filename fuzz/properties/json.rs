//! JSON read without building values, because a value knows less than its text: big numbers, depth, names that occur
//! twice.

use std::fmt;
use std::ops::Index;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of a JSON object, raw, in order.
#[derive(Debug)]
pub(crate) struct Object<'a>(Vec<(String, &'a str)>);

pub(crate) fn object(json: &str) -> Option<Object<'_>> {
    serde_json::from_str(json).ok()
}

/// The entries of a JSON list; null counts as an empty one.
pub(crate) fn list(json: &str) -> Option<Vec<&str>> {
    let entries: Option<Vec<&RawValue>> = serde_json::from_str(json).ok()?;
    Some(entries.unwrap_or_default().into_iter().map(RawValue::get).collect())
}

/// The raw `Tag` of a packet; `null` for what has none or is no packet, as an answer writes it.
pub(crate) fn tag(packet: &str) -> &str {
    let packet = packet::Packet::parse(packet).ok();
    packet.and_then(|packet| packet.tag()).unwrap_or("null")
}

impl<'a> Object<'a> {
    /// The last member of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().rfind(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// What a member that is a string says.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?).ok()
    }

    /// How many members have that name.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|(known, _)| known == name).count()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A member that has to be there.
impl Index<&str> for Object<'_> {
    type Output = str;

    fn index(&self, name: &str) -> &str {
        self.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                    // A name that is no text is the name of nothing.
                    let name = serde_json::from_str(name.get()).unwrap_or_else(|_| name.get().to_owned());
                    members.push((name, value.get()));
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}
