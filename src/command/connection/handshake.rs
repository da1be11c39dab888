//! AUTH and HELLO: who the client is and which protocol it speaks.
//!
//! Invariant: the time that a comparison of passwords takes tells nothing about the right one. There is one user,
//! `default`, whose password is `requirepass`.

use super::client::check_name;
use super::{quoting, set_resp};
use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::shared::Shared;
use crate::call::spec::Outcome;
use crate::config::REDIS_VERSION;
use crate::protocol::reply::Resp;
use crate::util::number;
use std::hint::black_box;

/// The one user.
pub(super) const DEFAULT_USER: &[u8] = b"default";

const WRONG_PASSWORD: CommandError =
    CommandError::text("WRONGPASS invalid username-password pair or user is disabled.");
const NO_PASSWORD: CommandError = CommandError::text(
    "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
);
const BAD_VERSION: CommandError = CommandError::text("ERR Protocol version is not an integer or out of range");
const OTHER_VERSION: CommandError = CommandError::text("NOPROTO unsupported protocol version");
const HELLO_FIRST: CommandError = CommandError::text(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
);

/// `AUTH [username] password`. A failure leaves an earlier success in force. O(length of the password given).
pub(super) fn auth<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let user = if args.remaining() == 2 { Some(args.bytes()?) } else { None };
    let password = args.bytes()?;
    args.finish()?;
    if user.is_none() && ctx.shared.config.requirepass().is_none() {
        return Err(NO_PASSWORD);
    }
    check_password(ctx.shared, user.unwrap_or(DEFAULT_USER), password)?;
    ctx.session.authenticated = true;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// Any password is right for `default` when none is set.
fn check_password(shared: &Shared, user: &[u8], password: &[u8]) -> Result<(), CommandError> {
    let right = shared.config.requirepass().is_none_or(|secret| is_same(password, &secret));
    if user == DEFAULT_USER && right { Ok(()) } else { Err(WRONG_PASSWORD) }
}

/// Compares in a time that depends on the length of `given` alone.
fn is_same(given: &[u8], secret: &[u8]) -> bool {
    let mut secret_bytes = secret.iter().cycle();
    let differing = given.iter().fold(0, |differing, byte| {
        // Through a black box, so that no optimiser ends the loop at the first difference.
        black_box(differing | (byte ^ secret_bytes.next().copied().unwrap_or(0)))
    });
    (differing == 0) & (given.len() == secret.len())
}

/// What follows the version of HELLO.
#[derive(Default)]
struct Greeting<'a> {
    login: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

impl<'a> Greeting<'a> {
    fn read(args: &mut Args<'a>) -> Result<Greeting<'a>, CommandError> {
        let mut greeting = Greeting::default();
        while args.remaining() > 0 {
            if args.remaining() > 2 && args.word("auth") {
                greeting.login = Some((args.bytes()?, args.bytes()?));
            } else if args.remaining() > 1 && args.word("setname") {
                let name = args.bytes()?;
                check_name(name)?;
                greeting.name = Some(name);
            } else {
                return Err(quoting("ERR Syntax error in HELLO option '", args.bytes()?, "'"));
            }
        }
        Ok(greeting)
    }
}

fn read_version(args: &mut Args<'_>) -> Result<Resp, CommandError> {
    match number::parse_i64(args.bytes()?) {
        None => Err(BAD_VERSION),
        Some(2) => Ok(Resp::V2),
        Some(3) => Ok(Resp::V3),
        Some(_) => Err(OTHER_VERSION),
    }
}

/// `HELLO [version [AUTH username password] [SETNAME name]]`: replies what the server is. Nothing is set unless all of it
/// is right.
pub(super) fn hello<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let resp = if args.remaining() > 0 { read_version(args)? } else { ctx.session.resp };
    let greeting = Greeting::read(args)?;
    if let Some((user, password)) = greeting.login {
        check_password(ctx.shared, user, password)?;
        ctx.session.authenticated = true;
    }
    if !ctx.session.authenticated && ctx.shared.config.requirepass().is_some() {
        return Err(HELLO_FIRST);
    }
    if let Some(name) = greeting.name {
        ctx.session.client.labels.lock().name = name.to_vec();
    }
    set_resp(ctx, resp);
    introduce(ctx, resp);
    Ok(Outcome::Done)
}

/// Writes what HELLO replies.
fn introduce(ctx: &mut Context<'_>, resp: Resp) {
    let zone = ctx.shared.config.availability_zone();
    let reply = &mut ctx.reply;
    reply.map(7 + usize::from(!zone.is_empty()));
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.integer(if resp == Resp::V3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.integer(i64::try_from(ctx.session.client.id).unwrap_or(i64::MAX));
    reply.bulk(b"mode");
    reply.bulk(b"standalone");
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"modules");
    reply.array(0);
    if !zone.is_empty() {
        reply.bulk(b"availability_zone");
        reply.bulk(zone.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn passwords_compare_by_content_and_length() {
        assert!(is_same(b"sesame", b"sesame"));
        assert!(!is_same(b"sesamf", b"sesame"));
        assert!(!is_same(b"sesame", b"sesamesesame"));
        assert!(!is_same(b"sesamesesame", b"sesame"), "the secret repeated is not the secret");
        assert!(!is_same(b"", b"sesame"));
        assert!(!is_same(b"sesame", b""));
    }
}
