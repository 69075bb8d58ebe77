//! The stream's HTTP face: one operation a request, over HTTP/1.1 or HTTP/2, on a listener that is lent.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

use super::error::{ApiError, ErrorCode};
use super::handle::{Kinesis, now_ms};
use super::limits::MAX_BODY_BYTES;

/// How long requests in flight get once the server is told to stop.
const GRACE: Duration = Duration::from_secs(2);

/// How long to leave a listener alone that cannot accept, as when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What an HTTP/2 client may send ahead: the default of 64 KiB would stop it many times in one `PutRecords`.
const WINDOW: u32 = 1 << 20;

const AMZ_JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");

impl Kinesis {
    /// Answers requests on `listener` until `stop` resolves; then accepts no more, lets requests in flight
    /// end for two seconds, and closes what is left.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let stopping = watch::Sender::new(false);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = &mut stop => break,
                Some(_) = connections.join_next() => {} // forget those that have ended
                accepted = listener.accept() => match accepted {
                    Ok((socket, _)) => {
                        connections.spawn(connection(self.clone(), socket, stopping.subscribe()));
                    }
                    Err(error) => {
                        debug!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        stopping.send_replace(true);
        let all = async { while connections.join_next().await.is_some() {} };
        if timeout(GRACE, all).await.is_err() {
            connections.shutdown().await;
        }
    }
}

async fn connection(kinesis: Kinesis, socket: TcpStream, mut stopping: watch::Receiver<bool>) {
    // Answers are single small writes: waiting to fill a segment would only add delay.
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%error, "cannot set TCP_NODELAY");
    }
    let answer = service_fn(move |request| {
        let kinesis = kinesis.clone();
        async move { Ok::<_, Infallible>(answer(&kinesis, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().initial_stream_window_size(WINDOW).initial_connection_window_size(4 * WINDOW);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(socket), answer));
    let stopped = async { drop(stopping.wait_for(|stopping| *stopping).await) };
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = stopped => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection broke");
    }
}

async fn answer(kinesis: &Kinesis, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, body) = match handle(kinesis, request).await {
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

async fn handle(kinesis: &Kinesis, request: Request<Incoming>) -> Result<Vec<u8>, Refusal> {
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
    let Some(target) = header("x-amz-target").map(|target| target.into_owned()) else {
        let message = "X-Amz-Target is missing, expected an operation such as Kinesis_20131202.ListStreams";
        return Err(unknown(StatusCode::BAD_REQUEST, message.into()));
    };
    let body = match Limited::new(request.into_body(), MAX_BODY_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            let message = format!("The body has more than {MAX_BODY_BYTES} bytes");
            return Err((StatusCode::PAYLOAD_TOO_LARGE, ApiError::new(ErrorCode::Serialization, message)));
        }
        Err(error) => {
            let message = format!("The body broke off: {error}");
            return Err((StatusCode::BAD_REQUEST, ApiError::new(ErrorCode::Serialization, message)));
        }
    };
    kinesis.call(&target, &body, now_ms()).map_err(|error| {
        let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, error)
    })
}
