//! The stream's HTTP face: one operation a request, over HTTP/1.1 or HTTP/2, on a listener that is lent.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;

use super::error::{ApiError, ErrorCode};
use super::handle::{Kinesis, now_ms};
use super::limits::MAX_BODY_BYTES;
use crate::faults::{Fate, Faults};
use crate::http::{self, BodyError, Request, Response};

/// The header that names the operation.
const TARGET: &str = "x-amz-target";

const AMZ_JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");

impl Kinesis {
    /// Answers requests on `listener` until `stop` resolves; then accepts no more, lets requests in flight
    /// end for two seconds, and closes what is left.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let handler = move |request, _| {
            let kinesis = self.clone();
            async move { answer(&kinesis, request).await }
        };
        http::serve(listener, handler, stop).await;
    }
}

/// The answer; none where a fault breaks the connection in its place.
async fn answer(kinesis: &Kinesis, request: Request) -> Option<Response> {
    match kinesis.config().faults.as_deref().filter(|_| is_put_records(&request)) {
        None => Some(response(handle(kinesis, request).await)),
        Some(faults) => faulty(kinesis, request, faults).await,
    }
}

fn is_put_records(request: &Request) -> bool {
    request.headers().get(TARGET).is_some_and(|target| target.as_bytes().ends_with(b".PutRecords"))
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
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, AMZ_JSON);
    let id = uuid::Builder::from_random_bytes(fastrand::u128(..).to_ne_bytes()).into_uuid();
    if let Ok(id) = HeaderValue::try_from(id.to_string()) {
        headers.insert("x-amzn-requestid", id);
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

type Refusal = (StatusCode, ApiError);

async fn handle(kinesis: &Kinesis, request: Request) -> Result<Vec<u8>, Refusal> {
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
    kinesis.call(&target, &body, now_ms()).map_err(refused)
}

fn refused(error: ApiError) -> Refusal {
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, error)
}
