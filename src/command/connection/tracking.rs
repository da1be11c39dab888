//! CLIENT TRACKING and its kin: what a client is told of changes to the keys that it has read.

use super::until_zero;
use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::call::tracked::{Tracked, Wish, mode};
use crate::util::number;

const ONE_REDIRECT: CommandError = CommandError::text("ERR A client can only redirect to a single other client");
const NO_TARGET: CommandError = CommandError::text("ERR The client ID you want redirect to does not exist");
const PREFIX_ALONE: CommandError = CommandError::text("ERR PREFIX option requires BCAST mode to be enabled");
const BROADCAST_SWITCH: CommandError = CommandError::text(
    "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.",
);
const BROADCAST_OPTS: CommandError = CommandError::text("ERR OPTIN and OPTOUT are not compatible with BCAST");
const BOTH_OPTS: CommandError = CommandError::text("ERR You can't specify both OPTIN mode and OPTOUT mode");
const OPT_SWITCH: CommandError = CommandError::text(
    "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.",
);
const NOT_TRACKING: CommandError = CommandError::text(
    "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
);
const NOT_OPT_IN: CommandError =
    CommandError::text("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.");
const NOT_OPT_OUT: CommandError =
    CommandError::text("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");

/// `CLIENT TRACKING ON|OFF [REDIRECT id] [PREFIX prefix ...] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]`. The options are read for OFF as well,
/// and mean nothing there.
pub(super) fn tracking<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let switch = args.bytes()?;
    let wish = read_wish(ctx, args)?;
    let client = &ctx.session.client;
    if switch.eq_ignore_ascii_case(b"on") {
        check(&wish, &client.tracked)?;
        ctx.shared.track(client, &wish);
    } else if switch.eq_ignore_ascii_case(b"off") {
        ctx.shared.untrack(client);
    } else {
        return Err(CommandError::Syntax);
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

fn read_wish<'a>(ctx: &Context<'_>, args: &mut Args<'a>) -> Result<Wish<'a>, CommandError> {
    let mut wish = Wish::default();
    while args.remaining() > 0 {
        if args.remaining() > 1 && args.word("redirect") {
            if wish.redirect != 0 {
                return Err(ONE_REDIRECT);
            }
            let id = number::parse_i64(args.bytes()?).ok_or(CommandError::NotInteger)?;
            let target = u64::try_from(id).ok().filter(|id| ctx.shared.clients.find(*id).is_some());
            wish.redirect = target.ok_or(NO_TARGET)?;
        } else if args.remaining() > 1 && args.word("prefix") {
            wish.prefixes.push(args.bytes()?);
        } else {
            wish.bits |= read_mode(args)?;
        }
    }
    Ok(wish)
}

fn read_mode(args: &mut Args<'_>) -> Result<u32, CommandError> {
    let words =
        [("bcast", mode::BROADCAST), ("optin", mode::OPT_IN), ("optout", mode::OPT_OUT), ("noloop", mode::NO_LOOP)];
    let found = words.into_iter().find(|(word, _)| args.word(word));
    found.map(|(_, bit)| bit).ok_or(CommandError::Syntax)
}

/// Refuses options that contradict each other or the mode that the client is in.
fn check(wish: &Wish<'_>, tracked: &Tracked) -> Result<(), CommandError> {
    let (has, former) = (|bit| wish.bits & bit != 0, tracked.mode());
    if !has(mode::BROADCAST) && !wish.prefixes.is_empty() {
        return Err(PREFIX_ALONE);
    }
    if former & mode::ON != 0 && (former ^ wish.bits) & mode::BROADCAST != 0 {
        return Err(BROADCAST_SWITCH);
    }
    if has(mode::BROADCAST) && (has(mode::OPT_IN) || has(mode::OPT_OUT)) {
        return Err(BROADCAST_OPTS);
    }
    if has(mode::OPT_IN) && has(mode::OPT_OUT) {
        return Err(BOTH_OPTS);
    }
    if has(mode::OPT_IN) && former & mode::OPT_OUT != 0 || has(mode::OPT_OUT) && former & mode::OPT_IN != 0 {
        return Err(OPT_SWITCH);
    }
    check_prefixes(wish, tracked)
}

/// No key may have two prefixes of one client, or it would be told twice.
fn check_prefixes(wish: &Wish<'_>, tracked: &Tracked) -> Result<(), CommandError> {
    let overlap = |one: &[u8], other: &[u8]| one.starts_with(other) || other.starts_with(one);
    let former = tracked.prefixes();
    for (index, prefix) in wish.prefixes.iter().enumerate() {
        if let Some(other) = former.iter().find(|other| overlap(prefix, other)) {
            return Err(overlapping(prefix, "an existing", other));
        }
        if let Some(other) = wish.prefixes[index + 1..].iter().find(|other| overlap(prefix, other)) {
            return Err(overlapping(prefix, "another provided", other));
        }
    }
    Ok(())
}

fn overlapping(prefix: &[u8], which: &str, other: &[u8]) -> CommandError {
    let pieces: [&[u8]; 7] = [
        b"ERR Prefix '",
        until_zero(prefix),
        b"' overlaps with ",
        which.as_bytes(),
        b" prefix '",
        until_zero(other),
        b"'. Prefixes for a single client must not overlap.",
    ];
    CommandError::Bytes(pieces.concat())
}

/// `CLIENT CACHING YES|NO`: whether the client is to be told of the keys that its next command reads.
pub(super) fn caching<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let tracked = &ctx.session.client.tracked;
    if !tracked.is(mode::ON) {
        return Err(NOT_TRACKING);
    }
    let (wanted, error) = match () {
        () if args.word("yes") => (mode::OPT_IN, NOT_OPT_IN),
        () if args.word("no") => (mode::OPT_OUT, NOT_OPT_OUT),
        () => return Err(CommandError::Syntax),
    };
    args.finish()?;
    if !tracked.is(wanted) {
        return Err(error);
    }
    tracked.set_caching(true);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// The client that is told in this one's place: 0 for itself, -1 when it is not told of anything.
pub(super) fn redirect(tracked: &Tracked) -> i64 {
    if tracked.is(mode::ON) { i64::try_from(tracked.redirect()).unwrap_or(i64::MAX) } else { -1 }
}

/// `CLIENT GETREDIR`.
pub(super) fn getredir<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    ctx.reply.integer(redirect(&ctx.session.client.tracked));
    Ok(Outcome::Done)
}

/// `CLIENT TRACKINGINFO`: flags, the client told in its place, prefixes.
pub(super) fn trackinginfo<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    let tracked = &ctx.session.client.tracked;
    let words = [
        (mode::ON, "on"),
        (mode::BROADCAST, "bcast"),
        (mode::OPT_IN, "optin"),
        (mode::OPT_IN | mode::CACHING, "caching-yes"),
        (mode::OPT_OUT, "optout"),
        (mode::OPT_OUT | mode::CACHING, "caching-no"),
        (mode::NO_LOOP, "noloop"),
        (mode::BROKEN, "broken_redirect"),
    ];
    let set = words.iter().filter(|(bits, _)| tracked.is(*bits)).map(|(_, word)| *word);
    let flags: Vec<&str> = if tracked.is(mode::ON) { set.collect() } else { vec!["off"] };
    let prefixes = tracked.prefixes();
    let reply = &mut ctx.reply;
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"redirect");
    reply.integer(redirect(tracked));
    reply.bulk(b"prefixes");
    reply.array(prefixes.len());
    prefixes.iter().for_each(|prefix| reply.bulk(prefix));
    Ok(Outcome::Done)
}
