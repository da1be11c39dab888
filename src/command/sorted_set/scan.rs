//! ZSCAN.

use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::command::generic::scan::{CURSOR_SHIFT, read_count, read_cursor};
use crate::protocol::reply::{Output, Reply, Resp};
use crate::util::{glob, number};
use crate::value::sorted_set::SortedSet;

/// What COUNT is when it is not given.
const DEFAULT_COUNT: usize = 10;

/// The words behind the cursor.
struct Options<'a> {
    count: usize,
    pattern: Option<&'a [u8]>,
    with_scores: bool,
}

impl<'a> Options<'a> {
    fn read(args: &mut Args<'a>) -> Result<Options<'a>, CommandError> {
        let mut options = Options { count: DEFAULT_COUNT, pattern: None, with_scores: true };
        while args.remaining() > 0 {
            if args.remaining() > 1 && args.word("COUNT") {
                options.count = read_count(args)?;
            } else if args.remaining() > 1 && args.word("MATCH") {
                // Alone, `*` takes the empty member too, unlike in other patterns.
                options.pattern = Some(args.bytes()?).filter(|pattern| *pattern != b"*");
            } else if args.word("NOSCORES") {
                options.with_scores = false;
            } else if args.word("NOVALUES") {
                return Err(CommandError::text("ERR NOVALUES option can only be used in HSCAN"));
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }

    fn takes(&self, member: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, member, false))
    }
}

/// `ZSCAN key cursor [MATCH pattern] [COUNT count] [NOSCORES]`
///
/// Replies the next cursor, "0" at the end, and members with their scores: texts, with 17 digits unless the set is small. A
/// small set is replied at once. What is there from start to end is replied at least once. O(count). Other words than the cursor are
/// not judged when the key is missing.
pub(super) fn zscan<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let cursor = read_cursor(args.bytes()?).ok_or(CommandError::text("ERR invalid cursor"))?;
    let reply = &mut ctx.reply;
    let Some(set) = ctx.db.get::<SortedSet>(key)? else {
        reply.array(2);
        reply.bulk(b"0");
        reply.array(0);
        return Ok(Outcome::Done);
    };
    let options = Options::read(args)?;
    args.finish()?;

    let small = set.as_listpack().is_some();
    let (mut found, mut pairs) = (0, Output::new());
    let next = set.scan(cursor << CURSOR_SHIFT, options.count, &mut |member, score| {
        let (mut buffer, mut reply) = (itoa::Buffer::new(), Reply::new(&mut pairs, Resp::V2));
        let text = member.text(&mut buffer);
        if options.takes(text) {
            found += 1;
            reply.bulk(text);
            match options.with_scores {
                true if small => reply.double(score),
                true => reply.bulk(number::format_f64_long(score).as_bytes()),
                false => {}
            }
        }
    });
    reply.array(2);
    reply.bulk(itoa::Buffer::new().format(next >> CURSOR_SHIFT).as_bytes());
    reply.array(if options.with_scores { found * 2 } else { found });
    pairs.move_rest_to(reply.output());
    Ok(Outcome::Done)
}
