//! The generic group: what works on a key of any type.
//!
//! Invariant: a command that answers an error has changed nothing. Must not know: how a type holds its values.
//! Source: the Redis command reference; Valkey 9.1 where it is silent.

use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::{Categories, CommandSpec, Flags, Group, KeyFlags, KeySpec, Scope};

pub mod dump;
pub mod element_scan;
mod expire;
mod keys;
mod object;
mod pattern;
pub mod scan;
pub mod sort;

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "copy",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        categories: Categories::KEYSPACE,
        keys: &[
            KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS)),
            KeySpec::one(2, KeyFlags::OW.and(KeyFlags::UPDATE)),
        ],
        scope: Scope::KeysEverywhere,
        since: "6.2.0",
        group: Group::Generic,
        summary: "Copies a value, with its deadline, to another key.",
        complexity: "O(1) for a string; O(n) for a collection of n elements.",
        syntax: "source:key#0 destination:key#1 [DB destination-db:integer] [replace=REPLACE]",
        run: keys::copy,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "del",
        arity: -2,
        flags: Flags::WRITE,
        categories: Categories::KEYSPACE,
        keys: &[KeySpec::range(1, -1, 1, KeyFlags::RM.and(KeyFlags::DELETE))],
        since: "1.0.0",
        group: Group::Generic,
        summary: "Removes keys.",
        complexity: "O(n) for n keys; large values are freed in the background.",
        syntax: "key:key#0...",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        run: keys::del,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "exists",
        arity: -2,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::KEYSPACE,
        keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO)],
        since: "1.0.0",
        group: Group::Generic,
        summary: "Counts how many of the keys exist, a key named twice counting twice.",
        complexity: "O(n) for n keys.",
        syntax: "key:key#0...",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        history: &[("3.0.3", "More than one key.")],
        run: keys::exists,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "expire",
        arity: -3,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::KEYSPACE,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
        since: "1.0.0",
        group: Group::Generic,
        summary: "Sets the time to live of a key in seconds.",
        complexity: "O(1)",
        syntax: "key:key#0 seconds:integer [condition<nx=NX|xx=XX|gt=GT|lt=LT>@7.0.0]",
        history: &[("7.0.0", "The conditions `NX`, `XX`, `GT` and `LT`.")],
        run: expire::expire,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "expireat",
        arity: -3,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::KEYSPACE,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
        since: "1.2.0",
        group: Group::Generic,
        summary: "Sets the deadline of a key as Unix time in seconds.",
        complexity: "O(1)",
        syntax: "key:key#0 unix-time-seconds:unix-time [condition<nx=NX|xx=XX|gt=GT|lt=LT>@7.0.0]",
        history: &[("7.0.0", "The conditions `NX`, `XX`, `GT` and `LT`.")],
        run: expire::expireat,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "expiretime",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::KEYSPACE,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "7.0.0",
        group: Group::Generic,
        summary: "Answers the deadline of a key as Unix time in seconds.",
        complexity: "O(1)",
        syntax: "key:key#0",
        run: expire::expiretime,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "keys",
        arity: 2,
        flags: Flags::READONLY,
        categories: Categories::KEYSPACE.and(Categories::DANGEROUS),
        since: "1.0.0",
        group: Group::Generic,
        summary: "Lists the keys that match a pattern.",
        complexity: "O(n) for n keys in the database, in slices between which other requests run.",
        syntax: "pattern:pattern",
        tips: &["request_policy:all_shards", "nondeterministic_output_order"],
        run: scan::keys,
        scope: Scope::Walk,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "move",
        arity: 3,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::KEYSPACE,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))],
        scope: Scope::KeysEverywhere,
        since: "1.0.0",
        group: Group::Generic,
        summary: "Moves a key to another database.",
        complexity: "O(1)",
        syntax: "key:key#0 db:integer",
        run: keys::move_key,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "object",
        arity: -2,
        since: "2.2.3",
        group: Group::Generic,
        summary: "Groups the commands that look into a value.",
        complexity: "That of the subcommand.",
        subcommands: &[
            CommandSpec {
                name: "encoding",
                arity: 3,
                flags: Flags::READONLY,
                categories: Categories::KEYSPACE,
                keys: &[KeySpec::one(2, KeyFlags::RO)],
                since: "2.2.3",
                group: Group::Generic,
                summary: "Names the form in which a value is held.",
                complexity: "O(1)",
                syntax: "key:key#0",
                tips: &["nondeterministic_output"],
                run: object::encoding,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "freq",
                arity: 3,
                flags: Flags::READONLY,
                categories: Categories::KEYSPACE,
                keys: &[KeySpec::one(2, KeyFlags::RO)],
                since: "4.0.0",
                group: Group::Generic,
                summary: "Answers how often a key is used, on a logarithmic scale.",
                complexity: "O(1)",
                syntax: "key:key#0",
                tips: &["nondeterministic_output"],
                run: object::freq,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "help",
                arity: 2,
                flags: Flags::LOADING.and(Flags::STALE),
                categories: Categories::KEYSPACE,
                since: "6.2.0",
                group: Group::Generic,
                summary: "Describes the subcommands.",
                complexity: "O(1)",
                run: object::help,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "idletime",
                arity: 3,
                flags: Flags::READONLY,
                categories: Categories::KEYSPACE,
                keys: &[KeySpec::one(2, KeyFlags::RO)],
                since: "2.2.3",
                group: Group::Generic,
                summary: "Answers how many seconds ago a key was last used.",
                complexity: "O(1)",
                syntax: "key:key#0",
                tips: &["nondeterministic_output"],
                run: object::idletime,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "refcount",
                arity: 3,
                flags: Flags::READONLY,
                categories: Categories::KEYSPACE,
                keys: &[KeySpec::one(2, KeyFlags::RO)],
                since: "2.2.3",
                group: Group::Generic,
                summary: "Answers how many references to a value there are.",
                complexity: "O(1)",
                syntax: "key:key#0",
                tips: &["nondeterministic_output"],
                run: object::refcount,
                ..CommandSpec::DEFAULT
            },
        ],
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "persist",
        arity: 2,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::KEYSPACE,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
        since: "2.2.0",
        group: Group::Generic,
        summary: "Removes the deadline of a key.",
        complexity: "O(1)",
        syntax: "key:key#0",
        run: expire::persist,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "pexpire",
        arity: -3,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::KEYSPACE,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
        since: "2.6.0",
        group: Group::Generic,
        summary: "Sets the time to live of a key in milliseconds.",
        complexity: "O(1)",
        syntax: "key:key#0 milliseconds:integer [condition<nx=NX|xx=XX|gt=GT|lt=LT>@7.0.0]",
        history: &[("7.0.0", "The conditions `NX`, `XX`, `GT` and `LT`.")],
        run: expire::pexpire,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "pexpireat",
        arity: -3,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::KEYSPACE,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
        since: "2.6.0",
        group: Group::Generic,
        summary: "Sets the deadline of a key as Unix time in milliseconds.",
        complexity: "O(1)",
        syntax: "key:key#0 unix-time-milliseconds:unix-time [condition<nx=NX|xx=XX|gt=GT|lt=LT>@7.0.0]",
        history: &[("7.0.0", "The conditions `NX`, `XX`, `GT` and `LT`.")],
        run: expire::pexpireat,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "pexpiretime",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::KEYSPACE,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "7.0.0",
        group: Group::Generic,
        summary: "Answers the deadline of a key as Unix time in milliseconds.",
        complexity: "O(1)",
        syntax: "key:key#0",
        run: expire::pexpiretime,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "pttl",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::KEYSPACE,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "2.6.0",
        group: Group::Generic,
        summary: "Answers the time to live of a key in milliseconds.",
        complexity: "O(1)",
        syntax: "key:key#0",
        tips: &["nondeterministic_output"],
        history: &[("2.8.0", "-2 for a missing key.")],
        run: expire::pttl,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "randomkey",
        arity: 1,
        flags: Flags::READONLY,
        categories: Categories::KEYSPACE,
        since: "1.0.0",
        group: Group::Generic,
        summary: "Answers a key chosen at random.",
        complexity: "O(1)",
        tips: &["request_policy:all_shards", "response_policy:special", "nondeterministic_output"],
        run: keys::randomkey,
        scope: Scope::Walk,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "rename",
        arity: 3,
        flags: Flags::WRITE,
        categories: Categories::KEYSPACE,
        keys: &[
            KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE)),
            KeySpec::one(2, KeyFlags::OW.and(KeyFlags::UPDATE)),
        ],
        since: "1.0.0",
        group: Group::Generic,
        summary: "Gives a key another name, over whatever had that name.",
        complexity: "O(1)",
        syntax: "key:key#0 newkey:key#1",
        run: keys::rename,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "renamenx",
        arity: 3,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::KEYSPACE,
        keys: &[
            KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE)),
            KeySpec::one(2, KeyFlags::OW.and(KeyFlags::INSERT)),
        ],
        since: "1.0.0",
        group: Group::Generic,
        summary: "Gives a key another name unless that is taken.",
        complexity: "O(1)",
        syntax: "key:key#0 newkey:key#1",
        history: &[("3.2.0", "The same name twice is no error.")],
        run: keys::renamenx,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "scan",
        arity: -2,
        flags: Flags::READONLY,
        categories: Categories::KEYSPACE,
        since: "2.8.0",
        group: Group::Generic,
        summary: "Walks through the keys of the database, some at each call.",
        complexity: "O(1) a call for a given COUNT; O(n) for a whole walk over n keys.",
        syntax: "cursor:integer [MATCH pattern:pattern] [COUNT count:integer] [TYPE type:string@6.0.0]",
        tips: &["nondeterministic_output", "request_policy:special", "response_policy:special"],
        history: &[("6.0.0", "The option `TYPE`.")],
        run: scan::scan,
        scope: Scope::Walk,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "touch",
        arity: -2,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::KEYSPACE,
        keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO)],
        since: "3.2.1",
        group: Group::Generic,
        summary: "Counts the keys that exist and notes that they were used.",
        complexity: "O(n) for n keys.",
        syntax: "key:key#0...",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        run: keys::touch,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "ttl",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::KEYSPACE,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "1.0.0",
        group: Group::Generic,
        summary: "Answers the time to live of a key in seconds.",
        complexity: "O(1)",
        syntax: "key:key#0",
        tips: &["nondeterministic_output"],
        history: &[("2.8.0", "-2 for a missing key.")],
        run: expire::ttl,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "type",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::KEYSPACE,
        keys: &[KeySpec::one(1, KeyFlags::RO)],
        since: "1.0.0",
        group: Group::Generic,
        summary: "Names the type of a value.",
        complexity: "O(1)",
        syntax: "key:key#0",
        run: keys::type_of,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "unlink",
        arity: -2,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::KEYSPACE,
        keys: &[KeySpec::range(1, -1, 1, KeyFlags::RM.and(KeyFlags::DELETE))],
        since: "4.0.0",
        group: Group::Generic,
        summary: "Removes keys; their values are freed in the background.",
        complexity: "O(1) a key.",
        syntax: "key:key#0...",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        run: keys::unlink,
        ..CommandSpec::DEFAULT
    },
];

/// The next argument as the number of a database.
fn database_index(ctx: &Context<'_>, args: &mut Args<'_>) -> Result<usize, CommandError> {
    let number = i32::try_from(args.integer()?)
        .map_err(|_| CommandError::text("ERR value is out of range, value must between -2147483648 and 2147483647"))?;
    let index = usize::try_from(number).ok().filter(|index| *index < ctx.db.keyspace().databases());
    index.ok_or(CommandError::DbIndex)
}

/// An argument as error texts quote it: up to its first NUL.
fn quoted(argument: &[u8]) -> &[u8] {
    argument.split(|byte| *byte == 0).next().unwrap_or_default()
}
