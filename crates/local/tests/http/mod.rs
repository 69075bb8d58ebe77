//! One request over a connection of its own, and its answer.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Status and headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: Value,
}

/// Sends a request such as `POST /`, with headers that each end with a line break, to a port of this machine.
pub(crate) async fn exchange(port: u16, request_line: &str, headers: &str, body: &[u8]) -> Answer {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let length = body.len();
    let head = format!(
        "{request_line} HTTP/1.1\r\nHost: q\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    // A server that has answered already may have closed.
    let _ = socket.write_all(&[head.as_bytes(), body].concat()).await;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = if body.is_empty() { Value::Null } else { serde_json::from_str(body).unwrap() };
    Answer { status, head: head.to_ascii_lowercase(), body }
}
