//! What an event is, told by its shape alone.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::string::FromUtf8Error;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use function::event::{kind, top_level_keys};
use jiff::Timestamp;
use packet::json::{Cursor, NotJson};
use packet::{NotAPacket, Packet, Reader};
use serde::Deserialize;
use serde_json::json;

use crate::answer::Error;

/// The packets of an event, and who wants to hear of them.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    /// The entries of `Messages`, or the one packet.
    pub(crate) entries: Vec<Entry<'a>>,
    pub(crate) caller: Caller,
}

/// What is not in the event as it stands: the decoded body of an HTTP request, and the packet that was made of it.
#[derive(Debug, Default)]
pub(crate) struct Room {
    body: OnceCell<String>,
    packet: OnceCell<String>,
}

/// A JSON value in the place of a packet.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) raw: &'a str,
    pub(crate) packet: Result<Packet<'a>, NotAPacket>,
}

impl<'a> Entry<'a> {
    fn parse(raw: &'a str) -> Self {
        Self { raw, packet: Packet::parse(raw) }
    }

    /// The tag that it carries, as JSON.
    pub(crate) fn tag(&self) -> Option<&'a str> {
        self.packet.as_ref().ok()?.tag()
    }

    /// Reads the value that begins here.
    fn next(cursor: &mut Cursor<'a>, packets: &mut Reader) -> Result<Self, NotJson> {
        Ok(match packets.next(cursor)? {
            Ok(packet) => Self { raw: packet.raw(), packet: Ok(packet) },
            Err(raw) => Self::parse(raw),
        })
    }
}

/// In whose words to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The gateway, and everyone who speaks as it does: `Replies`, and `Undelivered` if there are any.
    Gateway,
    /// Whoever gave one bare packet: `Replies` and `Records`.
    Direct,
    /// An HTTP gateway: the same in a response with a status.
    Http(Envelope),
}

/// The shapes of HTTP responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Envelope {
    /// API Gateway's REST and HTTP APIs, and function URLs.
    Api,
    /// An Application Load Balancer; the flag says that it sends and wants lists of values in its headers.
    LoadBalancer { lists: bool },
}

/// An HTTP request that is answered without writing anything.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) envelope: Envelope,
    pub(crate) status: u16,
    pub(crate) message: String,
}

/// What an event asks for.
#[derive(Debug)]
pub(crate) enum Request<'a> {
    Write(Input<'a>),
    Refuse(Refusal),
}

/// Most packets of one event. With the gateway's metadata a packet has over 200 bytes, so that the 6 MB of a Lambda event
/// (Lambda quotas) hold fewer; more of them are no gateway's, and would cost more memory and time than a function has.
pub(crate) const MOST_PACKETS: usize = 30_000;

/// Methods that carry packets.
pub(crate) const METHODS: &str = "POST, PUT";

/// Reads an event. `tag` makes a tag for a packet that comes by HTTP; what had to be decoded is left in `room`, because
/// the entries are parts of it.
///
/// # Errors
/// An event of no known shape: it may be meant for another function, and must not be taken for handled.
pub(crate) fn read<'a>(
    event: &'a str,
    now: Timestamp,
    tag: impl FnOnce() -> String,
    room: &'a Room,
) -> Result<Request<'a>, Error> {
    let unexpected = || Error::UnexpectedEvent { found: top_level_keys(event) };
    let mut members = Members::read(event).ok_or_else(unexpected)?;
    // `null` beside a packet's own members is one more member of a packet.
    let given = members.get("Messages");
    let batch = given.filter(|messages| *messages != "null" || members.get("Data").is_none());
    if let Some(messages) = batch {
        if members.count("Messages") > 1 {
            return Err(Error::MessagesNotAList { found: "several members of that name".into() });
        }
        let not_a_list = || Error::MessagesNotAList { found: kind(messages).into() };
        let Messages { given, entries } = members.messages.take().ok_or_else(not_a_list)?;
        if given > MOST_PACKETS {
            return Err(Error::TooManyPackets { given, most: MOST_PACKETS });
        }
        return Ok(Request::Write(Input { entries, caller: Caller::Gateway }));
    }
    if let Some(request) =
        members.get("requestContext").and_then(|context| HttpRequest::read(&members, context))
    {
        return Ok(request.into_input(now, tag, room));
    }
    let caller = match members.get("Data") {
        Some(_) => Caller::Direct,
        None if members.all.is_empty() => Caller::Gateway,
        None => return Err(unexpected()),
    };
    let entries = members.get("Data").map(|_| Entry::parse(event.trim())).into_iter().collect();
    Ok(Request::Write(Input { entries, caller }))
}

/// The members of a JSON object, raw, in order. Of two with one name the last counts.
#[derive(Default)]
struct Members<'a> {
    all: Vec<(String, &'a str)>,
    /// The entries of the last list named `Messages`, or of `null` in its place, which counts as an empty one: found on the
    /// way, because nearly all of an event is that list.
    messages: Option<Messages<'a>>,
}

/// The entries of a list, and how many it has: of more than [`MOST_PACKETS`] none is kept.
#[derive(Default)]
struct Messages<'a> {
    given: usize,
    entries: Vec<Entry<'a>>,
}

impl<'a> Members<'a> {
    fn read(json: &'a str) -> Option<Self> {
        let mut members = Self::default();
        let mut cursor = Cursor::new(json);
        let read = cursor.object(|name, cursor| {
            let start = *cursor;
            if name == "Messages" {
                members.messages = messages(cursor)?;
            } else {
                cursor.skip()?;
            }
            members.all.push((name.to_owned(), start.until(cursor).trim_ascii_start()));
            Ok(())
        });
        read.and_then(|()| cursor.end()).ok().map(|()| members)
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.all.iter().rfind(|(known, _)| known == name).map(|(_, value)| *value)
    }

    fn count(&self, name: &str) -> usize {
        self.all.iter().filter(|(known, _)| known == name).count()
    }

    /// A member of the given type; none if it is absent or of another one.
    fn parse<T: Deserialize<'a>>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.get(name)?).ok()
    }
}

/// The list of `Messages` that comes here; `None` for a value of another type.
fn messages<'a>(cursor: &mut Cursor<'a>) -> Result<Option<Messages<'a>>, NotJson> {
    let (mut messages, mut packets) = (Messages::default(), Reader::default());
    if cursor.peek() != Some(b'[') {
        return Ok((cursor.value()? == "null").then_some(messages));
    }
    cursor.list(|cursor| {
        messages.given += 1;
        if messages.given > MOST_PACKETS {
            // None will be written, and an event has room for millions of numbers: they need not all be kept.
            messages.entries = Vec::new();
            return cursor.skip();
        }
        Entry::next(cursor, &mut packets).map(|entry| messages.entries.push(entry))
    })?;
    Ok(Some(messages))
}

/// A text, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What matters of an HTTP event, whichever of the four shapes it has: API Gateway's REST API (payload format 1.0), its
/// HTTP API and function URLs (2.0), and load balancers.
struct HttpRequest {
    envelope: Envelope,
    method: String,
    source: String,
    domain: String,
    port: u16,
    /// The decoded body, or what is wrong with it.
    body: Result<Vec<u8>, String>,
}

impl HttpRequest {
    /// The event's HTTP request, if its context is that of one.
    fn read(event: &Members<'_>, context: &str) -> Option<Self> {
        let context: serde_json::Value = serde_json::from_str(context).ok()?;
        let headers: serde_json::Value = event.parse("headers").unwrap_or_default();
        let lists: serde_json::Value = event.parse("multiValueHeaders").unwrap_or_default();
        let header = |name: &str| {
            let of = |headers: &serde_json::Value| {
                let headers = headers.as_object()?;
                let value = headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?.1;
                value.as_str().or_else(|| value.as_array()?.last()?.as_str()).map(str::to_owned)
            };
            of(&headers).or_else(|| of(&lists))
        };
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let method = text(&context["http"]["method"]).or_else(|| event.parse("httpMethod"))?;
        let envelope = if context.get("elb").is_some() {
            Envelope::LoadBalancer { lists: headers.is_null() && !lists.is_null() }
        } else {
            Envelope::Api
        };
        // A load balancer appends whom it saw; what stands before that is the caller's own word.
        let forwarded =
            || header("x-forwarded-for").and_then(|list| Some(list.rsplit(',').next()?.trim().to_owned()));
        let source = text(&context["http"]["sourceIp"])
            .or_else(|| text(&context["identity"]["sourceIp"]))
            .or_else(forwarded)
            .unwrap_or_default();
        let domain = text(&context["domainName"]).or_else(|| header("host")).unwrap_or_default();
        let port = header("x-forwarded-port").and_then(|port| port.parse().ok()).unwrap_or(443);
        Some(Self { envelope, method, source, domain, port, body: body(event) })
    }

    fn into_input<'a>(self, now: Timestamp, tag: impl FnOnce() -> String, room: &'a Room) -> Request<'a> {
        let envelope = self.envelope;
        let refuse = |status, message| Request::Refuse(Refusal { envelope, status, message });
        if !METHODS.split(", ").any(|method| method == self.method) {
            return refuse(405, format!("the method is {}, expected one of {METHODS}", self.method));
        }
        let body = match self.body {
            Ok(body) => body,
            Err(message) => return refuse(400, message),
        };
        let caller = Caller::Http(envelope);
        let text = String::from_utf8(body).map(|text| &**room.body.get_or_init(|| text));
        if let Some(batch) = text.as_ref().ok().and_then(|text| Members::read(text)) {
            if batch.count("Messages") > 1 {
                let message = "the body has several members named Messages; nothing was written";
                return refuse(400, message.into());
            }
            if let Some(Messages { given, entries }) = batch.messages {
                if given > MOST_PACKETS {
                    let message =
                        format!("the batch has {given} packets, at most {MOST_PACKETS} are taken; none was");
                    return refuse(413, message);
                }
                return Request::Write(Input { entries, caller });
            }
        }
        let body = text.as_ref().map_or_else(FromUtf8Error::as_bytes, |text| text.as_bytes());
        let packet = json!({
            "Tag": tag(),
            "Remote": { "IpAddress": self.source, "Port": 0 }, // no HTTP event tells the caller's port
            "Local": { "Domain": self.domain, "Port": self.port, "Protocol": "http" },
            "ReceivedAt": format!("{now:.7}"),
            "Formatter": "base64",
            "Data": BASE64_STANDARD.encode(body),
        });
        let packet = room.packet.get_or_init(|| packet.to_string());
        Request::Write(Input { entries: vec![Entry::parse(packet)], caller })
    }
}

/// The decoded body of an HTTP event; an absent one is empty.
fn body(event: &Members<'_>) -> Result<Vec<u8>, String> {
    let Some(json) = event.get("body") else { return Ok(Vec::new()) };
    let text: Option<Cow<'_, str>> = serde_json::from_str::<Option<Text<'_>>>(json)
        .map_err(|_| format!("the body is {}, expected text", kind(json)))?
        .map(|Text(text)| text);
    let text = text.unwrap_or_default();
    if event.parse("isBase64Encoded") == Some(true) {
        let wrong = |error| format!("the body is not the base64 that the request says: {error}");
        return BASE64_STANDARD.decode(&*text).map_err(wrong);
    }
    Ok(text.into_owned().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_kept(given: usize, want: usize) {
        let list = format!("[{}1]", "1,".repeat(given - 1));
        let messages = messages(&mut Cursor::new(&list)).unwrap().unwrap();
        assert_eq!((messages.given, messages.entries.len()), (given, want));
        assert!(messages.entries.capacity() < 2 * (want + 4));
    }

    #[test]
    fn what_will_not_be_written_is_counted_and_not_kept() {
        check_kept(1, 1);
        check_kept(MOST_PACKETS, MOST_PACKETS);
        check_kept(MOST_PACKETS + 1, 0);
        check_kept(3_000_000, 0);
    }
}
