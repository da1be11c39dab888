//! The options of SSCAN, HSCAN and ZSCAN and the frame of their replies.
//!
//! Invariant: cursors sent to clients have at most 53 bits, so that those which keep them in a double lose nothing; those
//! of tables leave the lowest 20 bits zero. Must not know: what the elements are.

use super::scan::{CURSOR_SHIFT, DEFAULT_COUNT, read_count, read_cursor};
use crate::call::args::Args;
use crate::call::error::CommandError;
use crate::protocol::reply::{Output, Reply};
use crate::util::glob;

/// What a walk through a collection was asked for.
pub struct ElementScan<'a> {
    pattern: Option<&'a [u8]>,
    /// About how many elements to look at.
    pub count: usize,
    /// Whether the word was said that leaves out values or scores.
    pub names_only: bool,
}

impl<'a> ElementScan<'a> {
    /// Reads the cursor; the key is looked up before the options are read, as in Redis.
    pub fn cursor(args: &mut Args<'a>) -> Result<u64, CommandError> {
        let cursor = read_cursor(args.bytes()?).ok_or(CommandError::text("ERR invalid cursor"))?;
        Ok(cursor << CURSOR_SHIFT)
    }

    /// Reads the options, `names_only` among them: NOVALUES, NOSCORES or neither.
    pub fn read(args: &mut Args<'a>, names_only: Option<&str>) -> Result<ElementScan<'a>, CommandError> {
        let mut scan = ElementScan { pattern: None, count: DEFAULT_COUNT, names_only: false };
        while args.remaining() > 0 {
            if args.remaining() > 1 && args.word("COUNT") {
                scan.count = read_count(args)?;
            } else if args.remaining() > 1 && args.word("MATCH") {
                let pattern = args.bytes()?;
                scan.pattern = (pattern != b"*").then_some(pattern);
            } else if names_only.is_some_and(|word| args.word(word)) {
                scan.names_only = true;
            } else if args.word("NOVALUES") {
                return Err(CommandError::text("ERR NOVALUES option can only be used in HSCAN"));
            } else if args.word("NOSCORES") {
                return Err(CommandError::text("ERR NOSCORES option can only be used in ZSCAN"));
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(scan)
    }

    /// Whether an element of this name is answered.
    #[inline]
    pub fn takes(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name, false))
    }

    /// Replies the next cursor and what `walk` writes; it returns that cursor and how many replies it has written.
    pub fn reply(reply: &mut Reply<'_>, walk: impl FnOnce(&mut Reply<'_>) -> (u64, usize)) {
        let mut elements = Output::new();
        let (next, written) = walk(&mut Reply::new(&mut elements, reply.resp()));
        reply.array(2);
        reply.bulk((next >> CURSOR_SHIFT).to_string().as_bytes());
        reply.array(written);
        elements.move_rest_to(reply.output());
    }

    /// The reply for a key that does not exist.
    pub fn reply_missing(reply: &mut Reply<'_>) {
        reply.array(2);
        reply.bulk(b"0");
        reply.array(0);
    }
}
