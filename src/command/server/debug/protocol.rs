//! DEBUG PROTOCOL: a sample of every type of reply, for tests of clients.

use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::protocol::reply::{Reply, Resp};

const BAD_TYPE: CommandError = CommandError::text(
    "ERR Wrong protocol type name. Please use one of the following: \
     string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
);

/// `DEBUG PROTOCOL type`
#[expect(clippy::approx_constant, reason = "a sample to compare with Redis's, not a circle")]
pub fn protocol<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let name = args.bytes()?.to_ascii_lowercase();
    let reply = &mut ctx.reply;
    match name.as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.integer(12_345),
        b"double" => reply.double(3.141),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"map" => map(reply),
        b"attrib" => attribute(reply),
        b"push" => return push(reply),
        b"verbatim" => reply.verbatim(*b"txt", b"This is a verbatim\nstring"),
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        b"bignum" => reply.big_number("1234567999999999999999999999999999999"),
        _ => return Err(BAD_TYPE),
    }
    Ok(Outcome::Done)
}

fn map(reply: &mut Reply<'_>) {
    reply.map(3);
    for number in 0..3 {
        reply.integer(number);
        reply.boolean(number == 1);
    }
}

/// An attribute is sent to RESP3 clients only; the reply it belongs to, to all.
fn attribute(reply: &mut Reply<'_>) {
    if reply.resp() == Resp::V3 {
        reply.attribute(1);
        reply.bulk(b"key-popularity");
        reply.array(2);
        reply.bulk(b"key:123");
        reply.integer(90);
    }
    reply.bulk(b"Some real reply following the attribute");
}

/// The reply comes first, so that a client which awaits it meets the push message when it expects none.
fn push(reply: &mut Reply<'_>) -> Result<Outcome, CommandError> {
    if reply.resp() == Resp::V2 {
        return Err(CommandError::text("ERR RESP2 is not supported by this command"));
    }
    reply.bulk(b"Some real reply following the push reply");
    reply.push(2);
    reply.bulk(b"server-cpu-usage");
    reply.integer(42);
    Ok(Outcome::Done)
}
