//! The stream's HTTP face: one operation a request, over HTTP/1.1 or HTTP/2, on a listener that is lent. The answer to
//! `SubscribeToShard` goes on until the subscription is over.

use bytes::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use super::api;
use super::error::{ApiError, ErrorCode};
use super::handle::{Kinesis, now_ms};
use super::limits::MAX_BODY_BYTES;
use crate::faults::{Fate, Faults};
use crate::http::{self, Body, BodyError, Request, Response};

/// The header that names the operation.
const TARGET: &str = "x-amz-target";

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("application/vnd.amazon.eventstream");

const AMZ_JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");

impl Kinesis {
    /// Answers requests on `listener` until `stop` resolves; then accepts no more, lets requests in flight
    /// end for two seconds, and closes what is left.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let (stopping, stopped) = watch::channel(false);
        let handler = move |request, _| {
            let (kinesis, stopped) = (self.clone(), stopped.clone());
            async move { answer(&kinesis, request, stopped).await }
        };
        // Subscriptions would go on for minutes.
        let stop = async {
            stop.await;
            stopping.send_replace(true);
        };
        http::serve(listener, handler, stop, http::GRACE).await;
    }
}

/// The answer; none where a fault breaks the connection in its place.
async fn answer(kinesis: &Kinesis, request: Request, stopped: watch::Receiver<bool>) -> Option<Response> {
    if is(&request, "SubscribeToShard") {
        return Some(subscribe(kinesis, request, stopped).await);
    }
    match kinesis.config().faults.as_deref().filter(|_| is(&request, "PutRecords")) {
        None => Some(response(handle(kinesis, request).await)),
        Some(faults) => faulty(kinesis, request, faults).await,
    }
}

fn is(request: &Request, operation: &str) -> bool {
    let target = request.headers().get(TARGET).and_then(|target| target.to_str().ok());
    target.and_then(|target| target.strip_prefix(api::TARGET)) == Some(operation)
}

/// Answers with a body that goes on until the subscription is over.
async fn subscribe(kinesis: &Kinesis, request: Request, mut stopped: watch::Receiver<bool>) -> Response {
    let body = match posted(request).await {
        Ok((_, body)) => body,
        Err(refusal) => return response(Err(refusal)),
    };
    let mut subscription = match api::subscribe(kinesis, &body, now_ms()) {
        Ok(subscription) => subscription,
        Err(error) => return response(Err(refused(error))),
    };
    // One piece waits for the reader, not more.
    let (pieces, body) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let next = tokio::select! {
                biased;
                () = pieces.closed() => return,
                _ = stopped.wait_for(|stopped| *stopped) => return,
                next = subscription.next() => next,
            };
            let Some(piece) = next else { return };
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => return,
                sent = pieces.send(piece) => if sent.is_err() { return },
                // A reader that takes nothing has its time, and no more.
                () = sleep_until(subscription.ends()) => return,
            }
        }
    });
    let mut response = Response::new(Body::Pieces(body));
    response.headers_mut().insert(CONTENT_TYPE, EVENT_STREAM);
    with_id(response)
}

async fn faulty(kinesis: &Kinesis, request: Request, faults: &Faults) -> Option<Response> {
    let fate = faults.request();
    let done = match &fate {
        Fate::CarriedOut | Fate::BrokenAfter => handle(kinesis, request).await,
        Fate::BrokenBefore | Fate::Refused(_) => {
            // The caller shall have sent all of it and be waiting.
            let _ = http::body(request.into_body(), MAX_BODY_BYTES).await;
            let Fate::Refused(error) = &fate else { return None };
            Err(refused(error.clone()))
        }
    };
    tokio::time::sleep(faults.latency()).await;
    (fate != Fate::BrokenAfter).then(|| response(done))
}

fn response(done: Result<Vec<u8>, Refusal>) -> Response {
    let (status, body) = match done {
        Ok(body) => (StatusCode::OK, body),
        Err((status, error)) => {
            let body = json!({ "__type": error.code.name(), "message": error.message });
            (status, body.to_string().into())
        }
    };
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, AMZ_JSON);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    with_id(response)
}

fn with_id(mut response: Response) -> Response {
    let id = uuid::Builder::from_random_bytes(fastrand::u128(..).to_ne_bytes()).into_uuid();
    if let Ok(id) = HeaderValue::try_from(id.to_string()) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

type Refusal = (StatusCode, ApiError);

async fn handle(kinesis: &Kinesis, request: Request) -> Result<Vec<u8>, Refusal> {
    let (target, body) = posted(request).await?;
    kinesis.call(&target, &body, now_ms()).map_err(refused)
}

/// The target and the body of a request that may be one of this API.
async fn posted(request: Request) -> Result<(String, Bytes), Refusal> {
    let unknown = |status, message: String| (status, ApiError::new(ErrorCode::UnknownOperation, message));
    if request.method() != Method::POST {
        let message = format!("The method is {}, this is the Kinesis API: expected POST", request.method());
        return Err(unknown(StatusCode::METHOD_NOT_ALLOWED, message));
    }
    let header =
        |name: &str| request.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    if let Some(content_type) = header("content-type").filter(|given| !given.contains("json")) {
        let hint =
            if content_type.contains("cbor") { "; set AWS_CBOR_DISABLE=true in the client" } else { "" };
        let message = format!("Content-Type is {content_type:?}, expected application/x-amz-json-1.1{hint}");
        let error = ApiError::new(ErrorCode::Serialization, message);
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
    }
    let Some(target) = header(TARGET).map(|target| target.into_owned()) else {
        let message = "X-Amz-Target is missing, expected an operation such as Kinesis_20131202.ListStreams";
        return Err(unknown(StatusCode::BAD_REQUEST, message.into()));
    };
    let refusal = |status, message: String| Err((status, ApiError::new(ErrorCode::Serialization, message)));
    let body = match http::body(request.into_body(), MAX_BODY_BYTES).await {
        Ok(body) => body,
        Err(BodyError::TooLarge) => {
            let message = format!("The body has more than {MAX_BODY_BYTES} bytes");
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, message);
        }
        Err(BodyError::Broken) => return refusal(StatusCode::BAD_REQUEST, "The body broke off".into()),
    };
    Ok((target, body))
}

fn refused(error: ApiError) -> Refusal {
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, error)
}
