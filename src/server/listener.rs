//! Listening sockets, and the admission of connections.

use super::log::Log;
use super::socket::RawSocket;
use super::worker::{Arrival, Workers};
use crate::call::clients::Peer;
use crate::call::outside::{CannotListen, Outside};
use crate::call::shared::Shared;
use crate::config::{Config, LogLevel};
use crate::util::clock::UnixMs;
use crate::util::memory::flush_drift;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket as Socket2, TcpKeepalive, Type};
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What a refused connection is told before it is closed.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";
const PROTECTED: &[u8] = b"-DENIED larder is running in protected mode: no password is set for the default user, and \
this connection does not come from the machine itself. Connect through the loopback interface, or set a password \
('CONFIG SET requirepass', or 'requirepass' in the configuration file), or switch the protection off ('CONFIG SET \
protected-mode no' from the machine itself) if no stranger can reach this port.\r\n";

/// How long accepting rests when the process is out of files.
const OUT_OF_FILES: Duration = Duration::from_millis(100);

/// How long CONFIG SET waits for the thread that accepts; it has nothing long to do.
const PATIENCE: Duration = Duration::from_secs(10);

/// All listening sockets.
pub struct Listeners {
    tcp: Vec<Door>,
    unix: Option<UnixListener>,
    wishes: UnboundedReceiver<Wish>,
}

/// One TCP socket, and what the configuration calls it.
struct Door {
    address: String,
    port: u16,
    listener: TcpListener,
}

/// That of CONFIG SET to listen elsewhere; it waits for the answer.
type Wish = mpsc::SyncSender<Result<(), CannotListen>>;

/// What CONFIG SET has at hand of the thread that accepts, and of the log.
pub struct Hall {
    wishes: UnboundedSender<Wish>,
    log: Log,
}

impl Outside for Hall {
    fn listen(&self) -> Result<(), CannotListen> {
        let (answer, answered) = mpsc::sync_channel(1);
        // A server that ends listens nowhere any more.
        self.wishes.send(answer).map_err(|_| CannotListen)?;
        answered.recv_timeout(PATIENCE).unwrap_or(Err(CannotListen))
    }

    fn log_from(&self, level: LogLevel) {
        self.log.set_level(level);
    }
}

impl Listeners {
    /// Opens every socket of the configuration; an address that begins with `-` may be missing on this machine.
    pub fn bind(config: &Config, log: Log) -> Result<(Listeners, Hall), String> {
        let mut tcp = Vec::new();
        if open(config, &mut tcp).is_err() {
            return Err(format!("Failed listening on port {} (tcp), aborting.", config.port()));
        }
        let unix = match config.unixsocket() {
            Some(path) => Some(
                bind_unix(&path, config)
                    .map_err(|error| format!("Failed opening Unix socket: bind: {}: {error}", path.display()))?,
            ),
            None => None,
        };
        if tcp.is_empty() && unix.is_none() {
            return Err("Configured to not listen anywhere, exiting.".to_owned());
        }
        let (sender, wishes) = unbounded_channel();
        Ok((Listeners { tcp, unix, wishes }, Hall { wishes: sender, log }))
    }

    /// Says in the log where the server listens.
    pub fn announce(&self) {
        for door in &self.tcp {
            if let Ok(address) = door.listener.local_addr() {
                tracing::info!("The server listens on {address}");
            }
        }
    }

    /// Accepts connections until the future is dropped, on other sockets when CONFIG SET says so.
    pub async fn accept(mut self, shared: &'static Shared, workers: &Workers) {
        loop {
            let Listeners { tcp, unix, wishes } = &mut self;
            let wish = tokio::select! {
                wish = wishes.recv() => wish,
                () = accept_all(tcp, unix.as_ref(), shared, workers) => None,
            };
            let Some(wish) = wish else { return };
            let _ = wish.send(self.follow(&shared.config));
        }
    }

    /// Listens where the configuration says. What it names already stays open; the others are closed when the new ones are there, or before, where
    /// they stand in each other's way.
    fn follow(&mut self, config: &Config) -> Result<(), CannotListen> {
        let (port, addresses) = (config.port(), addresses(config));
        let keeps = |door: &Door| door.port == port && addresses.contains(&door.address);
        let (mut tcp, old): (Vec<Door>, Vec<Door>) = std::mem::take(&mut self.tcp).into_iter().partition(keeps);
        let kept = tcp.len();
        if open(config, &mut tcp).is_ok() {
            self.tcp = tcp;
            return Ok(());
        }
        tcp.truncate(kept);
        let before: Vec<(String, u16)> = old.iter().map(|door| (door.address.clone(), door.port)).collect();
        drop(old);
        let opened = open(config, &mut tcp);
        if opened.is_err() {
            tcp.truncate(kept);
            for (address, port) in before {
                // It was there a moment ago; if it is not, the log says so.
                let _ = open_one(&address, port, config.tcp_backlog(), &mut tcp);
            }
        }
        self.tcp = tcp;
        opened
    }
}

/// Accepts on all of these. Never ends.
async fn accept_all(tcp: &[Door], unix: Option<&UnixListener>, shared: &'static Shared, workers: &Workers) {
    let mut all: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + '_>>> = Vec::new();
    all.extend(tcp.iter().map(|door| Box::pin(accept_tcp(&door.listener, shared, workers)) as _));
    all.extend(unix.iter().map(|listener| Box::pin(accept_unix(listener, shared, workers)) as _));
    std::future::poll_fn(|cx| {
        all.iter_mut().for_each(|one| {
            let _ = one.as_mut().poll(cx);
        });
        std::task::Poll::<()>::Pending
    })
    .await;
}

/// Where TCP is to be listened on.
fn addresses(config: &Config) -> Vec<String> {
    if config.port() == 0 { Vec::new() } else { config.bind() }
}

/// Opens what the configuration names and is not among `tcp` yet.
fn open(config: &Config, tcp: &mut Vec<Door>) -> Result<(), CannotListen> {
    let (port, kept) = (config.port(), tcp.len());
    for address in addresses(config) {
        if !tcp[..kept].iter().any(|door| door.address == address) {
            open_one(&address, port, config.tcp_backlog(), tcp)?;
        }
    }
    Ok(())
}

/// Opens one address; one that begins with `-` may be missing on this machine.
fn open_one(address: &str, port: u16, backlog: u32, tcp: &mut Vec<Door>) -> Result<(), CannotListen> {
    let name = address.strip_prefix('-').unwrap_or(address);
    match bind_tcp(name, port, backlog) {
        Ok(listener) => tcp.push(Door { address: address.to_owned(), port, listener }),
        Err(error) if name != address && is_missing_address(&error) => {}
        Err(error) => {
            tracing::warn!("Warning: Could not create server TCP listening socket {name}:{port}: {error}");
            return Err(CannotListen);
        }
    }
    Ok(())
}

fn bind_tcp(name: &str, port: u16, backlog: u32) -> io::Result<TcpListener> {
    let host = match name {
        "*" => "0.0.0.0",
        "::*" => "::",
        name => name,
    };
    let address = (host, port).to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let domain = if address.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket2::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

fn is_missing_address(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    error.kind() == io::ErrorKind::AddrNotAvailable
        || code == Some(libc::EAFNOSUPPORT)
        || code == Some(libc::EPROTONOSUPPORT)
}

/// Opens the unix socket under another name and moves it into place once its permissions are set, so that nobody
/// reaches it with wider ones.
fn bind_unix(path: &Path, config: &Config) -> io::Result<UnixListener> {
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    let hidden = path.with_extension(format!("{}.tmp", std::process::id()));
    let socket = Socket2::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(&hidden)?)?;
    if let Some(mode) = config.unixsocketperm() {
        std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(mode))?;
    }
    socket.listen(i32::try_from(config.tcp_backlog()).unwrap_or(i32::MAX))?;
    std::fs::rename(&hidden, path)?;
    UnixListener::from_std(socket.into())
}

async fn accept_tcp(listener: &TcpListener, shared: &'static Shared, workers: &Workers) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let local = stream.local_addr().map_or_else(|_| String::new(), |local| local.to_string());
                let trusted = address.ip().to_canonical().is_loopback();
                let _ = stream.set_nodelay(true);
                keep_alive(&stream, shared);
                if trusted {
                    // On the loopback there is no bottleneck to estimate: what BBR does for that costs a hundredth of a small request.
                    let _ = SockRef::from(&stream).set_tcp_congestion(b"reno");
                }
                let Ok(stream) = stream.into_std() else { continue };
                let fd = stream.as_raw_fd();
                let peer = Peer { addr: text_of(address), laddr: local, fd, unix: false, worker: 0 };
                admit(RawSocket::Tcp(stream), peer, trusted, shared, workers);
            }
            Err(error) => refused(&error).await,
        }
    }
}

fn text_of(address: SocketAddr) -> String {
    // An IPv4 peer of an IPv6 socket is shown as what it is.
    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}

async fn accept_unix(listener: &UnixListener, shared: &'static Shared, workers: &Workers) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let path = shared.config.unixsocket().map_or_else(String::new, |path| path.display().to_string());
                let Ok(stream) = stream.into_std() else { continue };
                let (fd, addr) = (stream.as_raw_fd(), format!("{path}:0"));
                let peer = Peer { laddr: addr.clone(), addr, fd, unix: true, worker: 0 };
                admit(RawSocket::Unix(stream), peer, true, shared, workers);
            }
            Err(error) => refused(&error).await,
        }
    }
}

/// An error of accept concerns one connection, or passes: accepting goes on.
async fn refused(error: &io::Error) {
    tracing::warn!("Accepting client connection: {error}");
    tokio::time::sleep(OUT_OF_FILES).await;
}

fn keep_alive(stream: &tokio::net::TcpStream, shared: &Shared) {
    let seconds = shared.config.tcp_keepalive_s();
    if seconds > 0 {
        let idle = Duration::from_secs(seconds);
        let settings = TcpKeepalive::new().with_time(idle).with_interval(idle / 3).with_retries(3);
        let _ = SockRef::from(stream).set_tcp_keepalive(&settings);
    }
}

fn admit(socket: RawSocket, mut peer: Peer, trusted: bool, shared: &'static Shared, workers: &Workers) {
    let stats = &shared.stats;
    if shared.clients.len() >= shared.config.maxclients() as usize {
        stats.rejected_connections.fetch_add(1, Relaxed);
        return dismiss(socket, TOO_MANY);
    }
    if !trusted && shared.config.protected_mode() && shared.config.requirepass().is_none() {
        stats.rejected_connections.fetch_add(1, Relaxed);
        return dismiss(socket, PROTECTED);
    }
    stats.connections.fetch_add(1, Relaxed);
    peer.worker = workers.least_loaded();
    let worker = peer.worker;
    let client = shared.clients.add(peer, UnixMs::now());
    workers.send(worker, Arrival { socket, client });
    // This thread counts seldom: what it has taken would come to light, and cost a small cache keys, when the next client comes.
    flush_drift();
}

/// Says why and closes. The socket is not waited for: a peer that takes nothing gets nothing.
fn dismiss(socket: RawSocket, why: &[u8]) {
    let _ = match socket {
        RawSocket::Tcp(mut stream) => stream.write(why),
        RawSocket::Unix(mut stream) => stream.write(why),
    };
}
