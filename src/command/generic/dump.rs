//! DUMP and RESTORE: a value as bytes, and back.
//!
//! Invariant: what RESTORE refuses changes nothing; what DUMP writes, servers from Redis 7.0 on restore. Must not know: the
//! format.

use crate::call::args::Args;
use crate::call::context::{Context, Event};
use crate::call::error::CommandError;
use crate::call::limits;
use crate::call::spec::{Categories, CommandSpec, Flags, Group, KeyFlags, KeySpec, Outcome};
use crate::keyspace::Key;
use crate::keyspace::Ttl;
use crate::persistence::rdb::dump::{self, Checks, Refusal};
use crate::persistence::rdb::value::Loaded;
use crate::util::clock::UnixMs;
use crate::util::number;
use crate::value::string::StringSource;
use std::sync::atomic::Ordering::Relaxed;

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "dump",
        arity: 2,
        flags: Flags::READONLY,
        categories: Categories::KEYSPACE,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "2.6.0",
        group: Group::Generic,
        summary: "The value of a key as bytes that RESTORE takes.",
        complexity: "O(size of the value)",
        syntax: "key:key#0",
        tips: &["nondeterministic_output"],
        run: dump,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "restore",
        arity: -4,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        categories: Categories::KEYSPACE.and(Categories::DANGEROUS),
        keys: &[KeySpec::one(1, KeyFlags::OW.and(KeyFlags::UPDATE))],
        since: "2.6.0",
        group: Group::Generic,
        summary: "Creates a key from the bytes that DUMP replied.",
        complexity: "O(size of the value)",
        syntax: "key:key#0 ttl:integer serialized-value:string [replace=REPLACE@3.0.0] [absttl=ABSTTL@5.0.0] \
                 [IDLETIME seconds:integer@5.0.0] [FREQ frequency:integer@5.0.0]",
        history: &[
            ("3.0.0", "The option `REPLACE`."),
            ("5.0.0", "The option `ABSTTL`."),
            ("5.0.0", "The options `IDLETIME` and `FREQ`."),
        ],
        run: restore,
        ..CommandSpec::DEFAULT
    },
];

/// `DUMP key`
///
/// Replies the bytes, or null when there is no such key. O(size of the value).
fn dump<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    args.finish()?;
    let now = ctx.now;
    match ctx.db.read(key).map(|entry| dump::dump(entry, now)) {
        Some(bytes) => ctx.reply.bulk_large(bytes.into()),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

/// The words behind the bytes.
#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    idle_seconds: Option<i64>,
    frequency: Option<u8>,
}

impl Options {
    fn read(args: &mut Args<'_>) -> Result<Options, CommandError> {
        let mut options = Options::default();
        while args.remaining() > 0 {
            let more = args.remaining() > 1;
            if args.word("replace") {
                options.replace = true;
            } else if args.word("absttl") {
                options.absolute = true;
            } else if more && options.frequency.is_none() && args.word("idletime") {
                options.idle_seconds = Some(args.integer()?);
                if options.idle_seconds < Some(0) {
                    return Err(CommandError::text("ERR Invalid IDLETIME value, must be >= 0"));
                }
            } else if more && options.idle_seconds.is_none() && args.word("freq") {
                const RANGE: CommandError = CommandError::text("ERR Invalid FREQ value, must be >= 0 and <= 255");
                options.frequency = Some(u8::try_from(args.integer()?).map_err(|_| RANGE)?);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

/// Logs a restored value with its deadline as the time that it is.
fn log_restore(ctx: &mut Context<'_>, key: Key<'_>, deadline: Option<UnixMs>) {
    if ctx.logs() {
        let (mut buffer, bytes) = (itoa::Buffer::new(), ctx.request.arg(3));
        let time = buffer.format(deadline.map_or(0, |deadline| deadline.0));
        ctx.effect(&[b"RESTORE", key.bytes, time.as_bytes(), bytes, b"REPLACE", b"ABSTTL"]);
    }
}

/// `RESTORE key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]`
///
/// Replies OK. A deadline in the past makes no key, and removes the one that is there. O(size of the value).
fn restore<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let (ttl, bytes) = (args.bytes()?, args.bytes()?);
    let options = Options::read(args)?;
    if !options.replace && ctx.db.meet(key).is_some() {
        return Err(CommandError::text("BUSYKEY Target key name already exists."));
    }
    let ttl = number::parse_i64(ttl).ok_or(CommandError::NotInteger)?;
    let time = if options.absolute { Some(ttl) } else { ttl.checked_add(ctx.now.0) };
    let Some(time) = time.filter(|_| ttl >= 0) else {
        return Err(CommandError::text("ERR Invalid TTL value, must be >= 0"));
    };
    let config = &ctx.shared.config;
    let checksum = !ctx.shared.loading.skip_checksums.load(Relaxed);
    let checks = Checks { checksum, version: !config.rdb_version_check_relaxed() };
    let value = dump::restore(bytes, checks, &limits::values(config)).map_err(|refusal| match refusal {
        Refusal::Envelope => CommandError::text("ERR DUMP payload version or checksum are wrong"),
        Refusal::Content => CommandError::text("ERR Bad data format"),
    })?;
    let deadline = (ttl != 0).then_some(UnixMs(time));
    let replaced = options.replace && ctx.db.remove(key);
    if deadline.is_some_and(|deadline| deadline <= ctx.now) {
        if replaced {
            ctx.touch(key, Event::Generic("del"));
            ctx.effect(&[b"DEL", key.bytes]);
        }
        ctx.reply.ok();
        return Ok(Outcome::Done);
    }
    let ttl = deadline.map_or(Ttl::Clear, Ttl::At);
    match value {
        Loaded::Text(text) => ctx.db.put_string(key, StringSource::new(&text), ttl),
        Loaded::Object(object) => ctx.db.put_object(key, object, ttl),
    }
    ctx.db.set_use(key, options.idle_seconds, options.frequency);
    ctx.touch(key, Event::Generic("restore"));
    log_restore(ctx, key, deadline);
    ctx.reply.ok();
    Ok(Outcome::Done)
}
