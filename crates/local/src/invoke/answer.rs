//! What the API answers: results, and errors in the shape of Lambda's.

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::json;

use crate::http::{self, Response};
use crate::runtime::request_id;

/// An error of the API: its HTTP status, its name and what there is to say.
pub(super) struct Refusal {
    status: u16,
    name: &'static str,
    message: String,
}

pub(super) fn refusal(status: u16, name: &'static str, message: &str) -> Refusal {
    Refusal { status, name, message: message.to_owned() }
}

pub(super) fn not_found(name: &str, expected: &str) -> Refusal {
    refusal(404, "ResourceNotFoundException", &format!("Function not found: {name}; {expected}"))
}

impl From<Refusal> for Response {
    fn from(Refusal { status, name, message }: Refusal) -> Self {
        let kind = if status < 500 { "User" } else { "Server" };
        let mut response =
            answer(status, &request_id(), json!({ "Type": kind, "Message": message }).to_string());
        set(&mut response, "x-amzn-errortype", name);
        response
    }
}

pub(super) fn answer(status: u16, request_id: &str, body: impl Into<Bytes>) -> Response {
    let mut response = http::answer(status, "application/json", body);
    set(&mut response, "x-amzn-requestid", request_id);
    response
}

pub(super) fn set(response: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
}
