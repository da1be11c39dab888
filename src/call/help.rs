//! The reply of the HELP subcommands, and the error that points to them.

use super::error::CommandError;
use crate::protocol::reply::Reply;

/// Bytes of a wrong subcommand that its error repeats.
const QUOTED_BYTES: usize = 128;

/// Answers HELP of `container` (upper case): a head line, `lines` (subcommands, and indented by four what they do), and HELP itself.
pub fn help(reply: &mut Reply<'_>, container: &str, lines: &[&str]) {
    reply.array(lines.len() + 3);
    reply.simple(&format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for line in lines {
        reply.simple(line);
    }
    reply.simple("HELP");
    reply.simple("    Show this list.");
}

/// The error of a container that checks its subcommands itself; `subcommand` as the client wrote it, quoted up to a NUL as
/// C quotes.
pub fn unknown_or_arity(container: &str, subcommand: &[u8]) -> CommandError {
    let quoted = subcommand.split(|byte| *byte == 0).next().unwrap_or_default();
    let quoted = &quoted[..quoted.len().min(QUOTED_BYTES)];
    let head: &[u8] = b"ERR unknown subcommand or wrong number of arguments for '";
    CommandError::Bytes([head, quoted, b"'. Try ", container.as_bytes(), b" HELP."].concat())
}
