//! Listening sockets, and the admission of connections.

use super::socket::RawSocket;
use super::worker::{Arrival, Workers};
use crate::call::clients::Peer;
use crate::call::shared::Shared;
use crate::config::Config;
use crate::util::clock::UnixMs;
use crate::util::memory::flush_drift;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket as Socket2, TcpKeepalive, Type};
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};

/// What a refused connection is told before it is closed.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";
const PROTECTED: &[u8] = b"-DENIED larder is running in protected mode: no password is set for the default user, and \
this connection does not come from the machine itself. Connect through the loopback interface, or set a password \
('CONFIG SET requirepass', or 'requirepass' in the configuration file), or switch the protection off ('CONFIG SET \
protected-mode no' from the machine itself) if no stranger can reach this port.\r\n";

/// How long accepting rests when the process is out of files.
const OUT_OF_FILES: Duration = Duration::from_millis(100);

/// All listening sockets.
pub struct Listeners {
    tcp: Vec<TcpListener>,
    unix: Option<UnixListener>,
}

impl Listeners {
    /// Opens every socket of the configuration; an address that begins with `-` may be missing on this machine.
    pub fn bind(config: &Config) -> Result<Listeners, String> {
        let mut tcp = Vec::new();
        let port = config.port();
        let addresses = if port == 0 { Vec::new() } else { config.bind() };
        for address in &addresses {
            let (name, optional) = match address.strip_prefix('-') {
                Some(name) => (name, true),
                None => (address.as_str(), false),
            };
            match bind_tcp(name, port, config.tcp_backlog()) {
                Ok(listener) => tcp.push(listener),
                Err(error) if optional && is_missing_address(&error) => {}
                Err(error) => {
                    tracing::warn!("Warning: Could not create server TCP listening socket {name}:{port}: {error}");
                    return Err(format!("Failed listening on port {port} (tcp), aborting."));
                }
            }
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
        Ok(Listeners { tcp, unix })
    }

    /// Says in the log where the server listens.
    pub fn announce(&self) {
        for listener in &self.tcp {
            if let Ok(address) = listener.local_addr() {
                tracing::info!("The server listens on {address}");
            }
        }
    }

    /// Accepts connections until the future is dropped.
    pub async fn accept(self, shared: &'static Shared, workers: &Workers) {
        let tcp = self.tcp.iter().map(|listener| accept_tcp(listener, shared, workers));
        let unix = self.unix.iter().map(|listener| accept_unix(listener, shared, workers));
        let mut all: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + '_>>> = Vec::new();
        all.extend(tcp.map(|one| Box::pin(one) as _));
        all.extend(unix.map(|one| Box::pin(one) as _));
        std::future::poll_fn(|cx| {
            all.retain_mut(|one| one.as_mut().poll(cx).is_pending());
            if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
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
