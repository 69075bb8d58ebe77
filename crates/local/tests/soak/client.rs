//! A client of the stream's HTTP face: one connection, one request at a time.

use std::error::Error;
use std::fmt;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Why a call has no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The stream says no.
    Refused { operation: &'static str, error: String, message: String },
    /// The answer did not come, or is none.
    Broken { operation: &'static str, why: String },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { operation, error, message } => {
                write!(f, "{operation} was refused: {error}: {message}")
            }
            Self::Broken { operation, why } => write!(f, "{operation} broke: {why}"),
        }
    }
}

impl Error for Failure {}

/// A connection. It closes when this is dropped, whatever is still under way on it.
pub(crate) struct Client {
    send: SendRequest<Full<Bytes>>,
    connection: JoinHandle<()>,
}

impl Client {
    /// Connects to a port of this machine.
    pub(crate) async fn connect(port: u16) -> Result<Self, Failure> {
        let broken = |why: &dyn fmt::Display| Failure::Broken { operation: "connect", why: why.to_string() };
        let socket = TcpStream::connect(("127.0.0.1", port)).await.map_err(|e| broken(&e))?;
        socket.set_nodelay(true).map_err(|e| broken(&e))?; // as the SDKs do
        let (send, connection) = handshake(TokioIo::new(socket)).await.map_err(|e| broken(&e))?;
        Ok(Self { send, connection: tokio::spawn(async { drop(connection.await) }) })
    }

    /// Sends a request and gives the whole answer.
    pub(crate) async fn call(
        &mut self,
        operation: &'static str,
        input: &impl Serialize,
    ) -> Result<Bytes, Failure> {
        self.exchange(operation, json(operation, input)?).await
    }

    /// Sends a request that is JSON already and gives the whole answer.
    pub(crate) async fn exchange(&mut self, operation: &'static str, body: Bytes) -> Result<Bytes, Failure> {
        let body = self.send(operation, body).await?;
        collect(operation, body).await
    }

    /// Sends a request and gives the answer as it begins, if it is not a refusal.
    pub(crate) async fn open(
        &mut self,
        operation: &'static str,
        input: &impl Serialize,
    ) -> Result<Incoming, Failure> {
        self.send(operation, json(operation, input)?).await
    }

    async fn send(&mut self, operation: &'static str, body: Bytes) -> Result<Incoming, Failure> {
        let broken = |why: &dyn fmt::Display| Failure::Broken { operation, why: why.to_string() };
        let request = Request::post("/")
            .header("host", "127.0.0.1")
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("Kinesis_20131202.{operation}"))
            .body(Full::new(body))
            .map_err(|e| broken(&e))?;
        self.send.ready().await.map_err(|e| broken(&e))?;
        let (head, body) = self.send.send_request(request).await.map_err(|e| broken(&e))?.into_parts();
        if head.status.is_success() {
            return Ok(body);
        }
        let body = collect(operation, body).await?;
        let refusal: Refusal = parse(operation, &body)?;
        Err(Failure::Refused { operation, error: refusal.error, message: refusal.message })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "__type")]
    error: String,
    message: String,
}

fn json(operation: &'static str, input: &impl Serialize) -> Result<Bytes, Failure> {
    let json = serde_json::to_vec(input);
    json.map(Bytes::from).map_err(|error| Failure::Broken { operation, why: error.to_string() })
}

async fn collect(operation: &'static str, body: Incoming) -> Result<Bytes, Failure> {
    let body = body.collect().await.map_err(|error| Failure::Broken { operation, why: error.to_string() })?;
    Ok(body.to_bytes())
}

/// What an answer says.
pub(crate) fn parse<'a, T: Deserialize<'a>>(operation: &'static str, body: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        let start = String::from_utf8_lossy(&body[..body.len().min(200)]);
        Failure::Broken { operation, why: format!("{error} in {start}") }
    })
}
