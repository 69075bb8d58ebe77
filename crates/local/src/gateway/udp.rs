//! The UDP gateway: datagrams in, batches to the producer, replies back to whoever sent the packet.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::net::UdpSocket;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::batch::Batch;
use super::{Batching, Left, Notes, Producer};
use crate::runtime::Outcome;
use crate::tally::{Said, Tally};

/// Bytes asked for the socket's receive buffer: at 20,000 packets of 64 B a second, each charged 768 B by the kernel,
/// more than a second of them. The kernel gives what it may.
const RECEIVE_BUFFER: usize = 32 * 1024 * 1024;

/// Batches that may wait for the producer. When they are as many, datagrams stay in the kernel's buffer.
const WAITING_BATCHES: usize = 64;

/// More than any UDP payload: 65,507 bytes over IPv4, 65,527 over IPv6.
const DATAGRAM_BYTES: usize = 65_536;

/// Longest time, at the end, for taking in what the kernel has received: whoever sends on without end must not keep the
/// gateway from stopping.
const LAST_INTAKE: Duration = Duration::from_millis(500);

/// Pause before a batch is offered again to a producer that cannot be invoked.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs until `stop` says so. What the kernel has received by then is taken in, and the batches under way and waiting
/// get `grace`; after that the producer is stopped. Gives back the events that no producer was given.
pub async fn run(
    socket: UdpSocket,
    batching: Batching,
    producer: Producer,
    notes: Notes,
    mut stop: watch::Receiver<bool>,
    grace: Duration,
) -> Vec<Left> {
    let tally = Arc::clone(producer.tally());
    let queue = Arc::new(Queue::new());
    let socket = Arc::new(socket);
    let mut deliverers = JoinSet::new();
    for _ in 0..producer.function().config().concurrency.max(1) {
        let deliverer = Deliverer {
            queue: Arc::clone(&queue),
            producer: producer.clone(),
            socket: Arc::clone(&socket),
            tally: Arc::clone(&tally),
            notes: Arc::clone(&notes),
        };
        deliverers.spawn(deliverer.run());
    }
    let mut receiver = Receiver::new(&socket, batching, &queue, &tally);
    tokio::select! {
        () = receiver.run() => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    queue.finish(receiver.into_last_batch());
    kernel::count_drops(&socket, &tally);
    let mut finished = pin!(async { while deliverers.join_next().await.is_some() {} });
    if tokio::time::timeout(grace, &mut finished).await.is_err() {
        producer.function().stop().await;
        queue.abandon();
        finished.await;
    }
    queue.drain()
}

/// Makes the receive buffer large and asks the kernel to count what it drops.
pub fn prepare(socket: &UdpSocket) {
    kernel::prepare(socket);
}

/// Whether this platform tells what its kernel drops.
pub const DROPS_ARE_COUNTED: bool = cfg!(target_os = "linux");

/// Batches between the receiver and the producer.
struct Queue {
    batches: Mutex<State>,
    arrived: Notify,
    left: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Batch>,
    /// No more batches come.
    finished: bool,
    /// None are given out any more.
    abandoned: bool,
}

impl Queue {
    fn new() -> Self {
        Self { batches: Mutex::default(), arrived: Notify::new(), left: Notify::new() }
    }

    /// Waits until a batch may be pushed.
    async fn room(&self) {
        while self.state().waiting.len() >= WAITING_BATCHES {
            self.left.notified().await;
        }
    }

    fn push(&self, batch: Batch) {
        self.state().waiting.push_back(batch);
        self.arrived.notify_one();
    }

    /// The next batch; none when the gateway stops and all are taken.
    async fn take(&self) -> Option<Batch> {
        loop {
            {
                let mut state = self.state();
                let next = if state.abandoned { None } else { state.waiting.pop_front() };
                if let Some(batch) = next {
                    self.left.notify_one();
                    return Some(batch);
                }
                if state.finished {
                    self.arrived.notify_one(); // for the next one who waits
                    return None;
                }
            }
            self.arrived.notified().await;
        }
    }

    /// Takes back a batch that could not be given to the producer; it stays the next one.
    fn put_back(&self, batch: Batch) {
        self.state().waiting.push_front(batch);
        self.arrived.notify_one();
    }

    fn abandon(&self) {
        self.state().abandoned = true;
        self.arrived.notify_one();
    }

    fn finish(&self, last: Batch) {
        let mut state = self.state();
        state.finished = true;
        if last.len() > 0 {
            state.waiting.push_back(last);
        }
        self.arrived.notify_one();
    }

    fn drain(&self) -> Vec<Left> {
        let left = |batch: Batch| Left { event: batch.event(), packets: batch.len() as u64 };
        self.state().waiting.drain(..).map(left).collect()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads datagrams and fills batches. Dropping its `run` at any wait loses nothing: every packet received is in
/// `batch` or in the queue.
struct Receiver<'a> {
    socket: &'a UdpSocket,
    local_port: u16,
    batching: Batching,
    queue: &'a Queue,
    tally: &'a Tally,
    batch: Batch,
    window_ends: Instant,
    next_tag: u64,
}

impl<'a> Receiver<'a> {
    fn new(socket: &'a UdpSocket, batching: Batching, queue: &'a Queue, tally: &'a Tally) -> Self {
        let local_port = socket.local_addr().map_or(0, |address| address.port());
        // Tags differ from run to run, and within a run each is one more than the last.
        let next_tag = fastrand::u64(..) & !0xFFFF_FFFF;
        let (batch, window_ends) = (Batch::new(), Instant::now());
        Self { socket, local_port, batching, queue, tally, batch, window_ends, next_tag }
    }

    async fn run(&mut self) {
        let mut buffer = vec![0; DATAGRAM_BYTES];
        loop {
            let full = self.batch.len() >= self.batching.count;
            if full || (self.batch.len() > 0 && Instant::now() >= self.window_ends) {
                self.queue.room().await;
                self.queue.push(std::mem::replace(&mut self.batch, Batch::new()));
                continue;
            }
            let received = if self.batch.len() > 0 {
                tokio::time::timeout_at(
                    self.window_ends,
                    kernel::receive(self.socket, &mut buffer, self.tally),
                )
                .await
            } else {
                Ok(kernel::receive(self.socket, &mut buffer, self.tally).await)
            };
            if let Ok((length, sender)) = received {
                self.took(&buffer[..length], sender);
                self.queue.room().await;
            }
        }
    }

    fn took(&mut self, payload: &[u8], sender: SocketAddr) {
        self.tally.received.add(1);
        if !self.batch.has_room_for(payload.len()) {
            self.queue.push(std::mem::replace(&mut self.batch, Batch::new()));
        }
        if self.batch.len() == 0 {
            self.window_ends = Instant::now() + self.batching.window;
        }
        self.batch.push(self.next_tag, sender, self.local_port, Timestamp::now(), payload);
        self.next_tag = self.next_tag.wrapping_add(1);
    }

    /// Takes in what the kernel holds, without waiting for more, and gives back the last batch.
    fn into_last_batch(mut self) -> Batch {
        let mut buffer = vec![0; DATAGRAM_BYTES];
        let until = Instant::now() + LAST_INTAKE;
        while let Some((length, sender)) = kernel::receive_now(self.socket, &mut buffer, self.tally) {
            self.took(&buffer[..length], sender);
            if self.batch.len() >= self.batching.count {
                self.queue.push(std::mem::replace(&mut self.batch, Batch::new()));
            }
            if Instant::now() >= until {
                break;
            }
        }
        self.batch
    }
}

/// Gives batches to the producer, one at a time.
struct Deliverer {
    queue: Arc<Queue>,
    producer: Producer,
    socket: Arc<UdpSocket>,
    tally: Arc<Tally>,
    notes: Notes,
}

/// What the gateway reads of the producer's answer.
#[derive(Debug, Default, Deserialize)]
struct Answer {
    #[serde(rename = "Replies", default)]
    replies: Vec<Option<Reply>>,
}

#[derive(Debug, Deserialize)]
struct Reply {
    #[serde(rename = "Tag")]
    tag: String,
    #[serde(rename = "Data")]
    data: Option<String>,
}

impl Deliverer {
    async fn run(self) {
        while let Some(batch) = self.queue.take().await {
            match self.producer.invoke(batch.event().into()).await {
                (Outcome::Answer(answer), _) => self.reply(&batch, &answer).await,
                (Outcome::FunctionError(_), Said::What) => {}
                (Outcome::FunctionError(_), _) => self.tally.abandoned.add(batch.len() as u64),
                // The packets are still here: they wait, and all behind them.
                (Outcome::NotInvoked(why), _) => {
                    self.queue.put_back(batch);
                    if !self.queue.state().abandoned {
                        (self.notes)(&format!("the producer cannot be invoked: {why}"));
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
    }

    /// Sends the replies; one that names no packet of the batch, or cannot be read, goes nowhere.
    async fn reply(&self, batch: &Batch, answer: &[u8]) {
        let answer: Answer = serde_json::from_slice(answer).unwrap_or_default();
        for reply in answer.replies.into_iter().flatten() {
            let tag = u64::from_str_radix(&reply.tag, 16).unwrap_or_default();
            let sender = batch.senders.binary_search_by_key(&tag, |(sent, _)| *sent);
            let sender = sender.ok().map(|position| batch.senders[position].1);
            let data = reply.data.and_then(|data| BASE64_STANDARD.decode(data).ok());
            if let (Some(sender), Some(data)) = (sender, data) {
                // As in any UDP, a reply may get lost.
                let sent = self.socket.send_to(&data, sender).await;
                self.tally.replies.add(u64::from(sent.is_ok()));
            }
        }
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    //! Linux tells with each datagram how many were dropped before it (`SO_RXQ_OVFL`, socket(7)).

    use std::io::{self, ErrorKind, IoSliceMut};
    use std::net::{IpAddr, SocketAddr};
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
    use tokio::io::Interest;
    use tokio::net::UdpSocket;

    use super::{RECEIVE_BUFFER, Tally};

    pub(super) fn prepare(socket: &UdpSocket) {
        // Past the system's limit only a privileged process may go; others get the limit. Both are best effort.
        if setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            let _ = setsockopt(socket, sockopt::RcvBuf, &RECEIVE_BUFFER);
        }
        let _ = setsockopt(socket, sockopt::RxqOvfl, &1);
    }

    /// The next datagram: its length and its sender.
    pub(super) async fn receive(socket: &UdpSocket, buffer: &mut [u8], tally: &Tally) -> (usize, SocketAddr) {
        loop {
            // An error here is an ICMP message about an earlier reply: the socket goes on.
            if let Ok(datagram) = socket.async_io(Interest::READABLE, || read(socket, buffer, tally)).await {
                return datagram;
            }
        }
    }

    /// The next datagram, if there is one.
    pub(super) fn receive_now(
        socket: &UdpSocket,
        buffer: &mut [u8],
        tally: &Tally,
    ) -> Option<(usize, SocketAddr)> {
        loop {
            match read(socket, buffer, tally) {
                Ok(datagram) => return Some(datagram),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(_) => {}
            }
        }
    }

    fn read(socket: &UdpSocket, buffer: &mut [u8], tally: &Tally) -> io::Result<(usize, SocketAddr)> {
        let mut control = nix::cmsg_space!(u32);
        let mut parts = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::RxqOvfl(dropped) = control {
                tally.dropped.raise_to(u64::from(dropped));
            }
        }
        let sender = message.address.as_ref().and_then(address).ok_or(ErrorKind::InvalidData)?;
        Ok((message.bytes, sender))
    }

    /// Counts what was dropped behind the last datagram as well: the socket's row in the kernel's table ends with that
    /// number (proc(5), /proc/net/udp).
    pub(super) fn count_drops(socket: &UdpSocket, tally: &Tally) {
        let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap_or_default();
        let inode = link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']'));
        for table in ["/proc/net/udp", "/proc/net/udp6"] {
            for row in std::fs::read_to_string(table).unwrap_or_default().lines() {
                let columns: Vec<_> = row.split_whitespace().collect();
                if inode.is_some() && columns.get(9).copied() == inode {
                    tally
                        .dropped
                        .raise_to(columns.last().and_then(|drops| drops.parse().ok()).unwrap_or_default());
                }
            }
        }
    }

    fn address(address: &SockaddrStorage) -> Option<SocketAddr> {
        let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::new(IpAddr::V4(v4.ip()), v4.port()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::new(IpAddr::V6(v6.ip()), v6.port())))
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    //! Elsewhere the drops stay unknown.

    use std::net::SocketAddr;

    use tokio::net::UdpSocket;

    use super::Tally;

    pub(super) fn prepare(_: &UdpSocket) {}

    pub(super) async fn receive(socket: &UdpSocket, buffer: &mut [u8], _: &Tally) -> (usize, SocketAddr) {
        loop {
            if let Ok(datagram) = socket.recv_from(buffer).await {
                return datagram;
            }
        }
    }

    pub(super) fn receive_now(
        socket: &UdpSocket,
        buffer: &mut [u8],
        _: &Tally,
    ) -> Option<(usize, SocketAddr)> {
        loop {
            match socket.try_recv_from(buffer) {
                Ok(datagram) => return Some(datagram),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return None,
                Err(_) => {}
            }
        }
    }

    pub(super) fn count_drops(_: &UdpSocket, _: &Tally) {}
}
