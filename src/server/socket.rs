//! A connected socket, TCP or unix.

use crate::call::blocking::Probe;
use socket2::SockRef;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected socket.
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
}

/// A socket that no runtime serves yet, on its way to a worker.
pub enum RawSocket {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// Unix.
    Unix(std::os::unix::net::UnixStream),
}

impl RawSocket {
    /// Hands the socket to the runtime of this thread.
    pub fn register(self) -> io::Result<Socket> {
        Ok(match self {
            RawSocket::Tcp(stream) => Socket::Tcp(TcpStream::from_std(stream)?),
            RawSocket::Unix(stream) => Socket::Unix(UnixStream::from_std(stream)?),
        })
    }
}

impl Socket {
    /// Reads into the unfilled part of `buffer`; 0 bytes mean the end.
    #[inline]
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Not `try_read`: only this form knows that a short read has drained the socket and saves the next call.
        match self {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }

    /// Writes what the socket takes now.
    #[inline]
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.try_write(bytes),
            Socket::Unix(stream) => stream.try_write(bytes),
        }
    }

    /// Writes what the socket takes now, from several pieces.
    pub fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.try_write_vectored(pieces),
            Socket::Unix(stream) => stream.try_write_vectored(pieces),
        }
    }

    /// What tells others, on any thread, whether the other side has ended the connection. It holds a descriptor of its own,
    /// and so keeps the connection open until it is dropped.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn probe(&self) -> io::Result<Probe> {
        let descriptor = match self {
            Socket::Tcp(stream) => stream.as_fd().try_clone_to_owned()?,
            Socket::Unix(stream) => stream.as_fd().try_clone_to_owned()?,
        };
        Ok(Box::new(move || {
            let seen = SockRef::from(&descriptor).peek(&mut [MaybeUninit::uninit()]);
            match seen {
                Ok(count) => count == 0,
                Err(error) => error.kind() != io::ErrorKind::WouldBlock,
            }
        }))
    }

    /// Ready when the socket may take more.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Socket::Tcp(stream) => stream.poll_write_ready(cx),
            Socket::Unix(stream) => stream.poll_write_ready(cx),
        }
    }
}
