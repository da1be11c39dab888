//! The reply of the HELP subcommands.

use crate::protocol::reply::Reply;

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
