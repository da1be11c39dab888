//! Scripts and functions: the interpreter, its libraries, and what the server keeps of them.
//!
//! A script sees the server through a [`host::Host`], nothing else; so this room knows no keyspace, no client and no
//! command.

pub mod cache;
pub mod engine;
pub mod header;
pub mod host;
pub mod lib;
pub mod random;
