//! The fields of a packet that matter here, and those that a key expression may name.

use std::borrow::Cow;

use crate::packet::Packet;

/// A field of the packet, found once by name and read from every packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Tag,
    Remote,
    RemoteIpAddress,
    RemotePort,
    RemotePeerKey,
    Local,
    LocalDomain,
    LocalIpAddress,
    LocalPort,
    LocalProtocol,
    ReceivedAt,
    IngressRegion,
    Formatter,
    Data,
    Inner,
    InnerSourceAddress,
    InnerSourcePort,
    InnerDestinationAddress,
    InnerDestinationPort,
    InnerVersion,
    InnerProtocol,
}

/// A member of an object, and those of its own members that are fields too.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: &'static str,
    pub(crate) field: Field,
    pub(crate) members: &'static [Self],
}

const fn named(name: &'static str, field: Field) -> Named {
    Named { name, field, members: &[] }
}

/// All fields, in the order in which an error lists them.
pub(crate) const FIELDS: &[Named] = &[
    named("Tag", Field::Tag),
    Named {
        name: "Remote",
        field: Field::Remote,
        members: &[
            named("IpAddress", Field::RemoteIpAddress),
            named("Port", Field::RemotePort),
            named("PeerKey", Field::RemotePeerKey),
        ],
    },
    Named {
        name: "Local",
        field: Field::Local,
        members: &[
            named("Domain", Field::LocalDomain),
            named("IpAddress", Field::LocalIpAddress),
            named("Port", Field::LocalPort),
            named("Protocol", Field::LocalProtocol),
        ],
    },
    named("ReceivedAt", Field::ReceivedAt),
    named("IngressRegion", Field::IngressRegion),
    named("Formatter", Field::Formatter),
    named("Data", Field::Data),
    Named {
        name: "Inner",
        field: Field::Inner,
        members: &[
            named("SourceAddress", Field::InnerSourceAddress),
            named("SourcePort", Field::InnerSourcePort),
            named("DestinationAddress", Field::InnerDestinationAddress),
            named("DestinationPort", Field::InnerDestinationPort),
            named("Version", Field::InnerVersion),
            named("Protocol", Field::InnerProtocol),
        ],
    },
];

impl Field {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::InnerProtocol as usize + 1;

    /// The names that an expression may use. `Inner` is none: it is an object of no text.
    fn names() -> impl Iterator<Item = (String, Self)> {
        let path = |Named { name, field, members }: &'static Named| {
            let members = members.iter().map(move |member| (format!("{name}.{}", member.name), member.field));
            std::iter::once(((*name).to_owned(), *field)).chain(members)
        };
        FIELDS.iter().flat_map(path).filter(|(_, field)| *field != Self::Inner)
    }

    /// The field of exactly this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::names().find(|(known, _)| known == name).map(|(_, field)| field)
    }

    /// The names a mistyped one may have meant: those that begin alike, or all of them.
    pub(crate) fn near(name: &str) -> String {
        let first = |name: &str| name.split('.').next().map(str::to_ascii_lowercase);
        let all: Vec<_> = Self::names().map(|(known, _)| known).collect();
        let alike: Vec<_> = all.iter().filter(|known| first(known) == first(name)).cloned().collect();
        if alike.is_empty() { all.join(", ") } else { alike.join(", ") }
    }

    /// The field's text: a string's own, a number or boolean as it was written, `Remote` and `Local` as
    /// host and port. `None` if it is absent, null, a list or an object.
    pub(crate) fn read<'a>(self, packet: &Packet<'a>) -> Option<Cow<'a, str>> {
        match self {
            Self::Remote => packet.remote().map(|address| address.to_string().into()),
            Self::Local => packet.local().map(|address| address.to_string().into()),
            field => packet.scalar(field),
        }
    }
}
