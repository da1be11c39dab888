//! ZSCAN.

use super::reply_member;
use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::command::generic::element_scan::ElementScan;
use crate::util::number;
use crate::value::sorted_set::SortedSet;

/// `ZSCAN key cursor [MATCH pattern] [COUNT count] [NOSCORES]`
///
/// Replies the next cursor, "0" at the end, and members with their scores: texts, with 17 digits unless the set is small. A
/// small set is replied at once. What is there from start to end is replied at least once. O(count). Other words than the
/// cursor are not judged when the key is missing.
pub(super) fn zscan<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let cursor = ElementScan::cursor(args)?;
    let Some(set) = ctx.db.get::<SortedSet>(key)? else {
        ElementScan::reply_missing(&mut ctx.reply);
        return Ok(Outcome::Done);
    };
    let options = ElementScan::read(args, Some("NOSCORES"))?;

    let small = set.as_listpack().is_some();
    ElementScan::reply(&mut ctx.reply, |reply| {
        let mut written = 0;
        let next = set.scan(cursor, options.count, &mut |member, score| {
            if !options.takes(member.text(&mut itoa::Buffer::new())) {
                return;
            }
            reply_member(reply, member);
            written += 1;
            if !options.names_only {
                written += 1;
                match small {
                    true => reply.bulk(&number::format_f64(score)),
                    false => reply.bulk(number::format_f64_long(score).as_bytes()),
                }
            }
        });
        (next, written)
    });
    Ok(Outcome::Done)
}
