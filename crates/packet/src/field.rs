//! The packet fields that a key expression may name.

use std::borrow::Cow;

use crate::json;
use crate::packet::Packet;

/// A field of the packet, found once by name and read from every packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Tag,
    Remote,
    RemoteMember(&'static str),
    Local,
    LocalMember(&'static str),
    ReceivedAt,
    IngressRegion,
    Formatter,
    Data,
    InnerMember(&'static str),
}

/// All names, in the order in which an error lists them.
const NAMES: [(&str, Field); 20] = [
    ("Tag", Field::Tag),
    ("Remote", Field::Remote),
    ("Remote.IpAddress", Field::RemoteMember("IpAddress")),
    ("Remote.Port", Field::RemoteMember("Port")),
    ("Remote.PeerKey", Field::RemoteMember("PeerKey")),
    ("Local", Field::Local),
    ("Local.Domain", Field::LocalMember("Domain")),
    ("Local.IpAddress", Field::LocalMember("IpAddress")),
    ("Local.Port", Field::LocalMember("Port")),
    ("Local.Protocol", Field::LocalMember("Protocol")),
    ("ReceivedAt", Field::ReceivedAt),
    ("IngressRegion", Field::IngressRegion),
    ("Formatter", Field::Formatter),
    ("Data", Field::Data),
    ("Inner.SourceAddress", Field::InnerMember("SourceAddress")),
    ("Inner.SourcePort", Field::InnerMember("SourcePort")),
    ("Inner.DestinationAddress", Field::InnerMember("DestinationAddress")),
    ("Inner.DestinationPort", Field::InnerMember("DestinationPort")),
    ("Inner.Version", Field::InnerMember("Version")),
    ("Inner.Protocol", Field::InnerMember("Protocol")),
];

impl Field {
    /// The field of exactly this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, field)| field)
    }

    /// The names a mistyped one may have meant: those that begin alike, or all of them.
    pub(crate) fn near(name: &str) -> String {
        let first = |name: &str| name.split('.').next().map(str::to_ascii_lowercase);
        let all = NAMES.map(|(known, _)| known);
        let alike: Vec<_> = all.into_iter().filter(|known| first(known) == first(name)).collect();
        if alike.is_empty() { all.join(", ") } else { alike.join(", ") }
    }

    /// The field's text: a string's own, a number or boolean as it was written, `Remote` and `Local` as
    /// host and port. `None` if it is absent, null, a list or an object.
    pub(crate) fn read<'a>(self, packet: &Packet<'a>) -> Option<Cow<'a, str>> {
        let member = |object: Option<&'a str>, name| json::member(object?, name);
        let value = match self {
            Self::Remote => return packet.remote().map(|address| address.to_string().into()),
            Self::Local => return packet.local().map(|address| address.to_string().into()),
            Self::RemoteMember(name) => member(packet.remote, name),
            Self::LocalMember(name) => member(packet.local, name),
            Self::InnerMember(name) => member(packet.inner, name),
            Self::Tag => packet.tag,
            Self::ReceivedAt => packet.received_at,
            Self::IngressRegion => packet.ingress_region,
            Self::Formatter => packet.formatter,
            Self::Data => packet.data,
        };
        value.and_then(json::scalar)
    }
}
