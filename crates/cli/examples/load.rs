//! The load check: a steady rate of datagrams through UDP gateway, producer, stream and consumer, all on this machine,
//! and the account of every one of them.
//!
//! `make bench`, or `make bench ARGS='--rate 30000 --seconds 10'`. Exits with 1 when a line of the account fails.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;

#[derive(Debug, Parser)]
struct Args {
    /// Packets a second
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// How long they come
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Bytes of a packet
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(8..=1472))]
    bytes: u16,
    /// Senders, each with a partition key of its own
    #[arg(long, default_value_t = 256)]
    keys: u32,
    /// Most packets of a batch
    #[arg(long, default_value_t = 500)]
    batch_count: u32,
    /// Memory that the stream may fill with records, MiB
    #[arg(long, default_value_t = 64)]
    retention_mib: u64,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<bool> {
    let mut rivulet = start(args)?;
    let out = rivulet.stdout.take().context("no standard output")?;
    let logged = thread::spawn(move || packet_lines(out));
    let (udp, said) = listen(&mut rivulet)?;

    eprintln!(
        "{} packets of {} B a second for {} s, {} keys",
        args.rate, args.bytes, args.seconds, args.keys
    );
    let started = Instant::now();
    let sent = send(args, udp)?;
    let took = started.elapsed();
    // What is still on its way passes while nothing more comes.
    thread::sleep(Duration::from_secs(3));
    let peak = memory(rivulet.id(), "VmHWM");
    let cpu = cpu_seconds(rivulet.id());
    signal(&rivulet)?;
    let status = rivulet.wait().context("rivulet")?;
    let said: String = said.into_iter().collect();
    let lines = logged.join().map_err(|_| anyhow::anyhow!("reading the log failed"))?;

    let count = |name: &str| count(&said, name);
    let (received, dropped) = (count("received")?, count("dropped")?);
    println!(
        "sent          {sent:>9}  in {:.1} s: {:.0} a second",
        took.as_secs_f64(),
        sent as f64 / took.as_secs_f64()
    );
    println!("received      {received:>9}  {:.2} %", 100.0 * received as f64 / sent as f64);
    println!("dropped       {dropped:>9}  by the kernel");
    println!("acknowledged  {:>9}", count("acknowledged")?);
    println!("logged        {:>9}", count("logged")?);
    println!("packet lines  {lines:>9}");
    println!("undelivered   {:>9}", count("undelivered")?);
    println!("trimmed       {:>9}  unread, by retention", count("trimmed")?);
    println!("peak memory   {peak:>9}  KiB of `rivulet up`, {} MiB of records kept", args.retention_mib);
    println!("processor     {cpu:>9.1}  s of `rivulet up` itself");
    let holds = [
        ("it ended well", status.success()),
        ("received + dropped = sent", received + dropped == sent),
        ("received at least 99 % of sent", received * 100 >= sent * 99),
        ("undelivered 0", count("undelivered")? == 0),
        ("acknowledged = received", count("acknowledged")? == received),
        ("logged = received", count("logged")? == received && lines == received),
        ("memory bounded", peak < (args.retention_mib * 2 + 192) * 1024),
    ];
    for (what, holds) in holds {
        println!("{} {what}", if holds { "ok    " } else { "FAILED" });
    }
    Ok(holds.iter().all(|(_, holds)| *holds))
}

/// Starts the `rivulet` that was built beside this program.
fn start(args: &Args) -> Result<Child> {
    let here = std::env::current_exe().context("the folder of this program is not known")?;
    let folder =
        here.parent().and_then(|examples| examples.parent()).context("this program is in no build folder")?;
    let (batch, retention) = (args.batch_count.to_string(), args.retention_mib.to_string());
    let flags = [
        "--udp",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--kinesis",
        "127.0.0.1:0",
        "--queue",
        "127.0.0.1:0",
        "--lambda",
        "127.0.0.1:0",
    ];
    Command::new(folder.join("rivulet"))
        .arg("up")
        .args(flags)
        .args(["--batch-count", &batch, "--batch-window", "0.1", "--retention-mib", &retention])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} cannot be started", folder.join("rivulet").display()))
}

/// Waits until it says where it listens; what it says after that comes out of the channel.
fn listen(rivulet: &mut Child) -> Result<(SocketAddr, mpsc::Receiver<String>)> {
    let mut said = BufReader::new(rivulet.stderr.take().context("no standard error")?);
    let mut line = String::new();
    let udp = loop {
        line.clear();
        if said.read_line(&mut line)? == 0 {
            bail!("rivulet ended before it listened");
        }
        if let Some(address) = line.trim().strip_prefix("UDP ") {
            break address.trim().parse().context("the address of the gateway")?;
        }
    };
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in said.lines().map_while(Result::ok) {
            eprintln!("  {line}");
            if sender.send(line + "\n").is_err() {
                break;
            }
        }
    });
    Ok((udp, lines))
}

/// Counts the lines of packets in the log.
fn packet_lines(mut out: impl Read) -> u64 {
    const MARK: &[u8] = br#""message":"packet""#;
    let (mut buffer, mut count) = (Vec::new(), 0);
    loop {
        let kept = buffer.len();
        buffer.resize(kept + 256 * 1024, 0);
        let Ok(read @ 1..) = out.read(&mut buffer[kept..]) else { return count };
        buffer.truncate(kept + read);
        let Some(end) = buffer.iter().rposition(|&byte| byte == b'\n') else { continue };
        let lines = buffer[..end].split(|&byte| byte == b'\n');
        // The mark stands behind timestamp and level, near the beginning.
        count += lines
            .filter(|line| line[..line.len().min(100)].windows(MARK.len()).any(|part| part == MARK))
            .count() as u64;
        buffer.drain(..=end);
    }
}

/// Sends at the rate, a millisecond's packets at a time; says how many.
fn send(args: &Args, to: SocketAddr) -> Result<u64> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(to)?;
    let mut packet = vec![b'.'; args.bytes.into()];
    let (total, started) = (args.rate * args.seconds, Instant::now());
    for number in 0..total {
        let due = Duration::from_nanos(number * 1_000_000_000 / args.rate);
        // Whoever is a little late sends at once: the rate holds over every millisecond, not between two packets.
        if due.saturating_sub(started.elapsed()) > Duration::from_millis(1) {
            thread::sleep(Duration::from_millis(1));
        }
        let key = u32::try_from(number % u64::from(args.keys)).unwrap_or_default();
        packet[..4].copy_from_slice(&key.to_be_bytes());
        packet[4..8].copy_from_slice(&u32::try_from(number).unwrap_or_default().to_be_bytes());
        socket.send(&packet)?;
    }
    Ok(total)
}

fn signal(rivulet: &Child) -> Result<()> {
    let status = Command::new("kill").args(["-INT", &rivulet.id().to_string()]).status().context("kill")?;
    if status.success() { Ok(()) } else { bail!("rivulet could not be stopped") }
}

/// A number of kibibytes that the kernel tells of a process; 0 where it tells none.
fn memory(id: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// Processor time of the process itself, in seconds (proc(5): fields 14 and 15 of stat, hundredths of a second).
fn cpu_seconds(id: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        |index: usize| fields.get(index).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / 100.0
}

fn count(said: &str, name: &str) -> Result<u64> {
    let line = said.lines().rev().find_map(|line| line.trim().strip_prefix(name));
    let count = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    count.with_context(|| format!("rivulet said nothing of {name}"))
}
