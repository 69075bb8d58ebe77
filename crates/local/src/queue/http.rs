//! The queue's HTTP face: one operation a request, on a listener that is lent.

use hyper::Method;
use hyper::header::{ALLOW, HeaderValue};
use serde_json::json;
use tokio::net::TcpListener;

use super::error::{ApiError, ErrorCode};
use super::handle::{Queue, random_id};
use super::limits::BODY_BYTES;
use crate::http::{self, BodyError, Request, Response};

const AMZ_JSON: &str = "application/x-amz-json-1.0";

impl Queue {
    /// Answers requests on `listener` until `stop` resolves; then accepts no more, lets requests in flight end for two
    /// seconds, and closes what is left.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let handler = move |request, _| {
            let queue = self.clone();
            async move { answer(&queue, request).await }
        };
        http::serve(listener, handler, stop, http::GRACE).await;
    }
}

async fn answer(queue: &Queue, request: Request) -> Response {
    let (mut response, query_error) = match handle(queue, request).await {
        Ok(body) => (http::answer(200, AMZ_JSON, body), None),
        Err((status, ApiError { code, message })) => {
            let body = json!({ "__type": format!("com.amazonaws.sqs#{}", code.name()), "message": message });
            let fault = if code.is_senders_fault() { "Sender" } else { "Receiver" };
            let query_error = format!("{};{fault}", code.query_name());
            (http::answer(status, AMZ_JSON, body.to_string()), Some(query_error))
        }
    };
    let is_method_error = response.status() == 405;
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::try_from(random_id()) {
        headers.insert("x-amzn-requestid", id);
    }
    if let Some(Ok(error)) = query_error.map(HeaderValue::try_from) {
        headers.insert("x-amzn-query-error", error);
    }
    if is_method_error {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// The answer's body, or a refusal and its HTTP status.
async fn handle(queue: &Queue, request: Request) -> Result<Vec<u8>, (u16, ApiError)> {
    let refusal = |status, code, message: String| Err((status, ApiError::new(code, message)));
    if request.method() != Method::POST {
        let message = format!("The method is {}, this is the SQS API: expected POST", request.method());
        return refusal(405, ErrorCode::UnknownOperation, message);
    }
    let header = |name: &str| {
        request.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    // Clients from before 2023 send a form, the query protocol.
    if let Some(content_type) = header("content-type").filter(|given| !given.contains("json")) {
        let message = format!("Content-Type is {content_type:?}, expected {AMZ_JSON}: use a newer client");
        return refusal(415, ErrorCode::Serialization, message);
    }
    let Some(target) = header("x-amz-target") else {
        let message = "X-Amz-Target is missing, expected an operation such as AmazonSQS.ReceiveMessage";
        return refusal(400, ErrorCode::UnknownOperation, message.into());
    };
    let body = match http::body(request.into_body(), BODY_BYTES).await {
        Ok(body) => body,
        Err(BodyError::TooLarge) => {
            let message = format!("The body has more than {BODY_BYTES} bytes");
            return refusal(413, ErrorCode::Serialization, message);
        }
        Err(BodyError::Broken) => return refusal(400, ErrorCode::Serialization, "The body broke off".into()),
    };
    queue.call(&target, &body).await.map_err(|error| (error.code.status(), error))
}
