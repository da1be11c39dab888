//! SSCAN.

use super::reply_member;
use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::command::generic::element_scan::ElementScan;
use crate::value::set::Set;

/// `SSCAN key cursor [MATCH pattern] [COUNT count]`
///
/// Replies the next cursor, "0" at the end, and members. Every member that is there from start to end is met; of a large
/// set some may be met twice. About `count` members are looked at, all of a small set.
pub(super) fn sscan<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, cursor) = (args.key()?, ElementScan::cursor(args)?);
    let Context { db, reply, .. } = ctx;
    let Some(set) = db.get::<Set>(key)? else {
        ElementScan::reply_missing(reply);
        return Ok(Outcome::Done);
    };
    let scan = ElementScan::read(args, None)?;
    let mut buffer = itoa::Buffer::new();
    ElementScan::reply(reply, |reply| {
        let mut found = 0;
        let next = set.scan(cursor, scan.count, &mut |item| {
            if scan.takes(item.text(&mut buffer)) {
                reply_member(reply, item);
                found += 1;
            }
        });
        (next, found)
    });
    Ok(Outcome::Done)
}
