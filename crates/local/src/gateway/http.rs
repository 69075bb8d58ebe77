//! The HTTP gateway: every request becomes an event as a Lambda function URL makes it (payload format 2.0), the
//! producer's answer becomes the response.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Producer;
use crate::http::{self, BodyError, Request, Response};
use crate::runtime::{Outcome, PAYLOAD_BYTES};
use crate::tally::packets_of_body;

/// Serves requests until `stop`; those under way are answered first, if that comes within the grace. They are counted
/// in any case.
pub async fn run(listener: TcpListener, producer: Producer, stop: impl Future<Output = ()>, grace: Duration) {
    let handler = move |request, peer| {
        let producer = producer.clone();
        async move {
            // A client that goes away ends its connection, not the function: what was begun is carried out and counted.
            let response = tokio::spawn(async move { respond(request, peer, &producer).await });
            response.await.unwrap_or_else(|_| message(500, "Internal Server Error"))
        }
    };
    http::serve(listener, handler, stop, grace).await;
}

async fn respond(request: Request, peer: SocketAddr, producer: &Producer) -> Response {
    let (head, body) = request.into_parts();
    let body = match http::body(body, PAYLOAD_BYTES).await {
        Ok(body) => body,
        Err(BodyError::TooLarge) => return message(413, "the body is larger than an event may be (6 MB)"),
        Err(BodyError::Broken) => return message(400, "the body broke off"),
    };
    let event = event(&head, peer, &body).to_string();
    if event.len() > PAYLOAD_BYTES {
        return message(413, "the request makes an event that is larger than Lambda takes (6 MB)");
    }
    let packets = packets_of_body(&body);
    let (outcome, said) = producer.invoke(event.into()).await;
    producer.tally().took(packets, said);
    match outcome {
        Outcome::Answer(answer) => response(&answer),
        Outcome::FunctionError(_) => message(502, "Internal Server Error"),
        Outcome::NotInvoked(why) => message(503, &why),
    }
}

/// A function URL's event ("Creating and managing Lambda function URLs", request payload).
fn event(head: &hyper::http::request::Parts, peer: SocketAddr, body: &Bytes) -> Value {
    let headers: BTreeMap<_, _> =
        head.headers.keys().map(|name| (name.as_str(), joined(&head.headers, name))).collect();
    let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
    let now = Timestamp::now();
    let host = headers.get("host").cloned().unwrap_or_default();
    let text = is_text(&head.headers).then(|| str::from_utf8(body).ok()).flatten();
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "local",
            "domainName": host,
            "domainPrefix": "local",
            "http": {
                "method": head.method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": peer.ip().to_canonical().to_string(),
                "userAgent": headers.get("user-agent").cloned().unwrap_or_default(),
            },
            "requestId": uuid::Uuid::new_v4().to_string(),
            "routeKey": "$default",
            "stage": "$default",
            "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": now.as_millisecond(),
        },
        "body": text.map_or_else(|| BASE64_STANDARD.encode(body), str::to_owned),
        "isBase64Encoded": text.is_none(),
    })
}

/// Repeated headers are joined by commas, as the payload format says.
fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    let values: Vec<_> =
        headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    values.join(",")
}

/// What is passed on as it is; every other content is in base64.
fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.starts_with("text/")
        || matches!(kind.as_str(), "application/json" | "application/javascript" | "application/xml")
}

/// The response that an answer asks for; an answer without a status is the body of a 200.
fn response(answer: &Bytes) -> Response {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        status_code: u16,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        #[serde(default)]
        body: Option<String>,
        #[serde(default)]
        is_base64_encoded: bool,
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(answer) else {
        return http::answer(200, "application/json", answer.clone());
    };
    let body = answer.body.unwrap_or_default();
    let body =
        if answer.is_base64_encoded { BASE64_STANDARD.decode(&body).ok() } else { Some(body.into_bytes()) };
    let Some(body) = body else { return message(502, "the function's body is not the base64 that it says") };
    let mut response = http::answer(answer.status_code, "application/json", body);
    for (name, value) in answer.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn message(status: u16, words: &str) -> Response {
    http::answer(status, "application/json", json!({ "message": words }).to_string())
}
