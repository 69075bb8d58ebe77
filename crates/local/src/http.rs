//! The one HTTP server loop of the local cloud: HTTP/1.1 and h2c on a loopback port, one handler for all requests.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::debug;

pub(crate) type Request = hyper::Request<Incoming>;
pub(crate) type Response = hyper::Response<Body>;

/// The body of a response.
pub(crate) enum Body {
    /// All of it is there.
    Whole(Full<Bytes>),
    /// It comes piece by piece, and ends with the sender.
    Pieces(mpsc::Receiver<Bytes>),
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(whole: T) -> Self {
        Self::Whole(Full::new(whole.into()))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(context),
            Self::Pieces(pieces) => pieces.poll_recv(context).map(|piece| Some(Ok(Frame::data(piece?)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Pieces(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}

/// How long requests in flight get, once a server is told to stop, from those who say nothing else.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// How long to leave a listener alone that cannot accept, as when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What an HTTP/2 client may send ahead: the default of 64 KiB would stop it many times in one `PutRecords`.
const WINDOW: u32 = 1 << 20;

/// Answers requests on `listener` until `stop` resolves; then accepts no more, lets requests in flight end within the
/// grace, and closes what is left. A handler that gives no response breaks its connection.
pub(crate) async fn serve<H, F>(
    listener: TcpListener,
    handler: H,
    stop: impl Future<Output = ()>,
    grace: Duration,
) where
    H: Fn(Request, SocketAddr) -> F + Clone + Send + 'static,
    F: Future<Output: Into<Option<Response>>> + Send + 'static,
{
    let mut stop = pin!(stop);
    let stopping = watch::Sender::new(false);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => {} // forget those that have ended
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    let handler = handler.clone();
                    connections.spawn(connection(socket, move |request| handler(request, peer), stopping.subscribe()));
                }
                Err(error) => {
                    debug!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    stopping.send_replace(true);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(grace, all).await.is_err() {
        connections.shutdown().await;
    }
}

async fn connection<F>(
    socket: TcpStream,
    handler: impl Fn(Request) -> F + Send + 'static,
    mut stopping: watch::Receiver<bool>,
) where
    F: Future<Output: Into<Option<Response>>> + Send + 'static,
{
    // Answers are single small writes: waiting to fill a segment would only add delay.
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%error, "cannot set TCP_NODELAY");
    }
    let broken = Arc::new(Notify::new());
    let breaking = Arc::clone(&broken);
    let service = service_fn(move |request| {
        let (answer, breaking) = (handler(request), Arc::clone(&breaking));
        async move {
            if let Some(answer) = answer.await.into() {
                return Ok::<_, Infallible>(answer);
            }
            // An error given to hyper would end an HTTP/1 connection, but of HTTP/2 only the one stream.
            breaking.notify_one();
            pending().await
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().initial_stream_window_size(WINDOW).initial_connection_window_size(4 * WINDOW);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(socket), service));
    let stopped = async { drop(stopping.wait_for(|stopping| *stopping).await) };
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = broken.notified() => return,
        () = stopped => {
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                ended = serving => ended,
                () = broken.notified() => return,
            }
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection broke");
    }
}

/// Why a body was not read.
pub(crate) enum BodyError {
    /// It has more bytes than the given limit.
    TooLarge,
    /// The connection broke.
    Broken,
}

/// The whole body of a request, at most `limit` bytes.
pub(crate) async fn body(body: Incoming, limit: usize) -> Result<Bytes, BodyError> {
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Err(_) => Err(BodyError::Broken),
    }
}

/// An answer with a body of the given type.
pub(crate) fn answer(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut answer = Response::new(Body::Whole(Full::new(body.into())));
    // Statuses are literals of ours, all of them valid.
    *answer.status_mut() =
        hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
