//! The stream group: entries under ascending ids, read by anybody or shared out among the consumers of groups.
//!
//! Invariant: a command that answers an error has changed nothing. Must not know: how a stream holds its entries. Source:
//! the Redis command reference; Valkey 9.1 where it is silent, Redis 8.2 for what Valkey lacks (XDELEX, XACKDEL, and the
//! words KEEPREF, DELREF and ACKED).

use crate::call::error::CommandError;
use crate::call::spec::{Begin, Categories, CommandSpec, Find, Flags, Group, KeyFlags, KeySpec};
use crate::keyspace::Key;
use crate::protocol::reply::Reply;
use crate::value::listpack::Item;
use crate::value::stream::id::{IdText, StreamId, until_nul};
use crate::value::stream::node::Entry;

mod add;
mod claim;
mod delete;
mod effect;
mod group;
mod info;
mod pending;
mod range;
mod read;

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "xack",
        arity: -4,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::STREAM,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
        since: "5.0.0",
        group: Group::Stream,
        summary: "Acknowledges deliveries of a group and answers how many were pending.",
        complexity: "O(log n) an id.",
        syntax: "key:key#0 group:string id:string...",
        run: group::xack,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "xackdel",
        arity: -6,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::STREAM,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::UPDATE).and(KeyFlags::DELETE))],
        since: "8.2.0",
        group: Group::Stream,
        summary: "Acknowledges deliveries of a group and deletes the entries.",
        complexity: "O(log n) an id.",
        syntax: "key:key#0 group:string [condition<keepref=KEEPREF|delref=DELREF|acked=ACKED>] IDS ids(numids:integer id:string...)",
        run: delete::xackdel,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "xadd",
        arity: -5,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        categories: Categories::STREAM,
        keys: &[KeySpec {
            notes: "Trimming removes entries too.",
            ..KeySpec::one(1, KeyFlags::RW.and(KeyFlags::UPDATE))
        }],
        since: "5.0.0",
        group: Group::Stream,
        summary: "Adds an entry to a stream, which is made if it is missing, and may trim it.",
        complexity: "O(1); trimming costs O(n) for n entries that go.",
        syntax: "key:key#0 [nomkstream=NOMKSTREAM@6.2.0] [trim(strategy<maxlen=MAXLEN|minid=MINID@6.2.0> [operator<equal==|approximately=~>] threshold:string [LIMIT count:integer@6.2.0])] id-selector<auto-id=*|id:string> data(field:string value:string)...",
        tips: &["nondeterministic_output"],
        history: &[("6.2.0", "`NOMKSTREAM`, `MINID` and `LIMIT`."), ("7.0.0", "The id `ms-*`.")],
        run: add::xadd,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "xautoclaim",
        arity: -6,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::STREAM,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::DELETE))],
        since: "6.2.0",
        group: Group::Stream,
        summary: "Gives a consumer what others have had pending for too long.",
        complexity: "O(log n) an entry.",
        syntax: "key:key#0 group:string consumer:string min-idle-time:string start:string [COUNT count:integer] [justid=JUSTID]",
        tips: &["nondeterministic_output"],
        history: &[("7.0.0", "The reply lists entries that are gone.")],
        run: claim::xautoclaim,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "xclaim",
        arity: -6,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::STREAM,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
        since: "5.0.0",
        group: Group::Stream,
        summary: "Gives a consumer named entries that others have had pending for too long.",
        complexity: "O(log n) an id.",
        syntax: "key:key#0 group:string consumer:string min-idle-time:string id:string... [IDLE ms:integer] [TIME unix-time-milliseconds:unix-time] [RETRYCOUNT count:integer] [force=FORCE] [justid=JUSTID] [LASTID lastid:string]",
        tips: &["nondeterministic_output"],
        run: claim::xclaim,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "xdel",
        arity: -3,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::STREAM,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::DELETE))],
        since: "5.0.0",
        group: Group::Stream,
        summary: "Deletes entries and answers how many there were.",
        complexity: "O(1) an id, whatever the length of the stream.",
        syntax: "key:key#0 id:string...",
        run: delete::xdel,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "xdelex",
        arity: -5,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::STREAM,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::DELETE))],
        since: "8.2.0",
        group: Group::Stream,
        summary: "Deletes entries, with or despite what groups have pending of them.",
        complexity: "O(1) an id; O(g log n) with g groups.",
        syntax: "key:key#0 [condition<keepref=KEEPREF|delref=DELREF|acked=ACKED>] IDS ids(numids:integer id:string...)",
        run: delete::xdelex,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "xgroup",
        arity: -2,
        since: "5.0.0",
        group: Group::Stream,
        summary: "Groups the commands on consumer groups.",
        complexity: "That of the subcommand.",
        subcommands: &[
            CommandSpec {
                name: "create",
                arity: -5,
                flags: Flags::WRITE.and(Flags::DENYOOM),
                categories: Categories::STREAM,
                keys: &[KeySpec::one(2, KeyFlags::RW.and(KeyFlags::INSERT))],
                since: "5.0.0",
                group: Group::Stream,
                summary: "Makes a consumer group.",
                complexity: "O(1)",
                syntax: "key:key#0 group:string id-selector<id:string|new-id=$> [mkstream=MKSTREAM] [ENTRIESREAD entriesread~entries-read:integer]",
                history: &[("7.0.0", "`ENTRIESREAD`.")],
                run: group::create,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "createconsumer",
                arity: 5,
                flags: Flags::WRITE.and(Flags::DENYOOM),
                categories: Categories::STREAM,
                keys: &[KeySpec::one(2, KeyFlags::RW.and(KeyFlags::INSERT))],
                since: "6.2.0",
                group: Group::Stream,
                summary: "Makes a consumer of a group.",
                complexity: "O(1)",
                syntax: "key:key#0 group:string consumer:string",
                run: group::create_consumer,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "delconsumer",
                arity: 5,
                flags: Flags::WRITE,
                categories: Categories::STREAM,
                keys: &[KeySpec::one(2, KeyFlags::RW.and(KeyFlags::DELETE))],
                since: "5.0.0",
                group: Group::Stream,
                summary: "Removes a consumer and answers how many entries it had pending.",
                complexity: "O(1) and O(log n) for each entry it had pending.",
                syntax: "key:key#0 group:string consumer:string",
                run: group::delete_consumer,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "destroy",
                arity: 4,
                flags: Flags::WRITE,
                categories: Categories::STREAM,
                keys: &[KeySpec::one(2, KeyFlags::RW.and(KeyFlags::DELETE))],
                since: "5.0.0",
                group: Group::Stream,
                summary: "Removes a consumer group.",
                complexity: "O(n) for n pending entries.",
                syntax: "key:key#0 group:string",
                run: group::destroy,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "help",
                arity: 2,
                flags: Flags::LOADING.and(Flags::STALE),
                categories: Categories::STREAM,
                since: "5.0.0",
                group: Group::Stream,
                summary: "Lists the subcommands.",
                complexity: "O(1)",
                run: group::help,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "setid",
                arity: -5,
                flags: Flags::WRITE,
                categories: Categories::STREAM,
                keys: &[KeySpec::one(2, KeyFlags::RW.and(KeyFlags::UPDATE))],
                since: "5.0.0",
                group: Group::Stream,
                summary: "Sets the id behind which a group goes on.",
                complexity: "O(1)",
                syntax: "key:key#0 group:string id-selector<id:string|new-id=$> [ENTRIESREAD entriesread~entries-read:integer]",
                history: &[("7.0.0", "`ENTRIESREAD`.")],
                run: group::set_id,
                ..CommandSpec::DEFAULT
            },
        ],
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "xinfo",
        arity: -2,
        since: "5.0.0",
        group: Group::Stream,
        summary: "Groups the commands that look into a stream.",
        complexity: "That of the subcommand.",
        subcommands: &[
            CommandSpec {
                name: "consumers",
                arity: 4,
                flags: Flags::READONLY,
                categories: Categories::STREAM,
                keys: &[KeySpec::one(2, KeyFlags::RO.and(KeyFlags::ACCESS))],
                since: "5.0.0",
                group: Group::Stream,
                summary: "Lists the consumers of a group.",
                complexity: "O(n) for n consumers.",
                syntax: "key:key#0 group:string",
                tips: &["nondeterministic_output"],
                history: &[("7.2.0", "`inactive`; `idle` counts from the last attempt.")],
                run: info::consumers,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "groups",
                arity: 3,
                flags: Flags::READONLY,
                categories: Categories::STREAM,
                keys: &[KeySpec::one(2, KeyFlags::RO.and(KeyFlags::ACCESS))],
                since: "5.0.0",
                group: Group::Stream,
                summary: "Lists the consumer groups of a stream.",
                complexity: "O(n) for n groups.",
                syntax: "key:key#0",
                history: &[("7.0.0", "`entries-read` and `lag`.")],
                run: info::groups,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "help",
                arity: 2,
                flags: Flags::LOADING.and(Flags::STALE),
                categories: Categories::STREAM,
                since: "5.0.0",
                group: Group::Stream,
                summary: "Lists the subcommands.",
                complexity: "O(1)",
                run: info::help,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "stream",
                arity: -3,
                flags: Flags::READONLY,
                categories: Categories::STREAM,
                keys: &[KeySpec::one(2, KeyFlags::RO.and(KeyFlags::ACCESS))],
                since: "5.0.0",
                group: Group::Stream,
                summary: "Answers the figures of a stream.",
                complexity: "O(n) for n nodes; with `FULL` also O(m) for the m entries it lists.",
                syntax: "key:key#0 [full-block(full=FULL [COUNT count:integer])]",
                history: &[
                    ("6.0.0", "`FULL`."),
                    (
                        "7.0.0",
                        "`max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, `entries-read` and `lag`.",
                    ),
                    ("7.2.0", "`active-time`; `seen-time` is the last attempt."),
                ],
                run: info::stream,
                ..CommandSpec::DEFAULT
            },
        ],
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "xlen",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::STREAM,
        keys: &[KeySpec::one(1, KeyFlags::RO)],
        since: "5.0.0",
        group: Group::Stream,
        summary: "Answers the number of entries.",
        complexity: "O(1)",
        syntax: "key:key#0",
        run: range::xlen,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "xpending",
        arity: -3,
        flags: Flags::READONLY,
        categories: Categories::STREAM,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "5.0.0",
        group: Group::Stream,
        summary: "Answers what a group has pending.",
        complexity: "O(n) for n entries listed or passed over; O(c) for the summary of c consumers.",
        syntax: "key:key#0 group:string [filters([IDLE min-idle-time:integer@6.2.0] start:string end:string count:integer [consumer:string])]",
        tips: &["nondeterministic_output"],
        history: &[("6.2.0", "`IDLE` and ranges that exclude an end.")],
        run: pending::xpending,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "xrange",
        arity: -4,
        flags: Flags::READONLY,
        categories: Categories::STREAM,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "5.0.0",
        group: Group::Stream,
        summary: "Lists the entries between two ids.",
        complexity: "O(n) for n entries listed.",
        syntax: "key:key#0 start:string end:string [COUNT count:integer]",
        history: &[("6.2.0", "Ranges that exclude an end.")],
        run: range::xrange,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "xread",
        arity: -4,
        flags: Flags::READONLY.and(Flags::BLOCKING).and(Flags::MOVABLEKEYS),
        categories: Categories::STREAM,
        keys: &[KeySpec {
            flags: KeyFlags::RO.and(KeyFlags::ACCESS),
            begin: Begin::Keyword("STREAMS", 1),
            find: Find::Range { last: -1, step: 1, limit: 2 },
            notes: "",
        }],
        since: "5.0.0",
        group: Group::Stream,
        summary: "Reads what came behind given ids in several streams, and may wait for it.",
        complexity: "",
        syntax: "[COUNT count:integer] [BLOCK milliseconds:integer] STREAMS streams(key:key#0... id:string...)",
        behind_keyword: Some(read::behind_streams),
        run: read::xread,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "xreadgroup",
        arity: -7,
        flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::MOVABLEKEYS),
        categories: Categories::STREAM,
        keys: &[KeySpec {
            flags: KeyFlags::RO.and(KeyFlags::ACCESS),
            begin: Begin::Keyword("STREAMS", 4),
            find: Find::Range { last: -1, step: 1, limit: 2 },
            notes: "",
        }],
        since: "5.0.0",
        group: Group::Stream,
        summary: "Reads for a consumer of a group: what nobody has been given yet, or what it has pending.",
        complexity: "O(n log p) for n entries listed and p pending.",
        syntax: "GROUP group-block(group:string consumer:string) [COUNT count:integer] [BLOCK milliseconds:integer] [noack=NOACK] STREAMS streams(key:key#0... id:string...)",
        behind_keyword: Some(read::behind_streams),
        run: read::xreadgroup,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "xrevrange",
        arity: -4,
        flags: Flags::READONLY,
        categories: Categories::STREAM,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "5.0.0",
        group: Group::Stream,
        summary: "Lists the entries between two ids, the last first.",
        complexity: "O(n) for n entries listed.",
        syntax: "key:key#0 end:string start:string [COUNT count:integer]",
        history: &[("6.2.0", "Ranges that exclude an end.")],
        run: range::xrevrange,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "xsetid",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        categories: Categories::STREAM,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
        since: "5.0.0",
        group: Group::Stream,
        summary: "Sets the figures of a stream, for replication and repair.",
        complexity: "O(1)",
        syntax: "key:key#0 last-id:string [ENTRIESADDED entries-added:integer@7.0.0] [MAXDELETEDID max-deleted-id:string@7.0.0]",
        history: &[("7.0.0", "`ENTRIESADDED` and `MAXDELETEDID`.")],
        run: add::xsetid,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "xtrim",
        arity: -4,
        flags: Flags::WRITE,
        categories: Categories::STREAM,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::DELETE))],
        since: "5.0.0",
        group: Group::Stream,
        summary: "Removes the oldest entries.",
        complexity: "O(n) for n entries that go; whole nodes go at once.",
        syntax: "key:key#0 trim(strategy<maxlen=MAXLEN|minid=MINID@6.2.0> [operator<equal==|approximately=~>] threshold:string [LIMIT count:integer@6.2.0])",
        tips: &["nondeterministic_output"],
        history: &[("6.2.0", "`MINID` and `LIMIT`.")],
        run: add::xtrim,
        ..CommandSpec::DEFAULT
    },
];

/// A text that is no id.
const INVALID_ID: CommandError = CommandError::text("ERR Invalid stream ID specified as stream command argument");

/// An id that names one entry: neither `-` nor `+`.
fn exact_id(text: &[u8]) -> Result<StreamId, CommandError> {
    IdText::parse(text).and_then(|id| id.id(0)).ok_or(INVALID_ID)
}

/// An id, or `-` or `+` for the least and the greatest; a missing sequence number is `missing_seq`.
fn id_or_end(text: &[u8], missing_seq: u64) -> Result<StreamId, CommandError> {
    match until_nul(text) {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => IdText::parse(text).and_then(|id| id.id(missing_seq)).ok_or(INVALID_ID),
    }
}

/// The first id of a range: an id, `-` or `+`, or an id behind `(`, which is itself excluded.
fn range_start(text: &[u8]) -> Result<StreamId, CommandError> {
    match text {
        [b'(', id @ ..] if !id.is_empty() => {
            exact_id(id)?.next().ok_or(CommandError::text("ERR invalid start ID for the interval"))
        }
        _ => id_or_end(text, 0),
    }
}

/// The last id of a range, as [`range_start`].
fn range_end(text: &[u8]) -> Result<StreamId, CommandError> {
    match text {
        [b'(', id @ ..] if !id.is_empty() => {
            let id = IdText::parse(id).and_then(|id| id.id(u64::MAX)).ok_or(INVALID_ID)?;
            id.previous().ok_or(CommandError::text("ERR invalid end ID for the interval"))
        }
        _ => id_or_end(text, u64::MAX),
    }
}

/// The error where the key or the group is missing.
fn no_group(key: Key<'_>, group: &[u8], tail: &[u8]) -> CommandError {
    let (key, group) = (until_nul(key.bytes), until_nul(group)); // quoted as C quotes
    CommandError::Bytes([b"NOGROUP No such key '", key, b"' or consumer group '", group, b"'", tail].concat())
}

/// The error where the key is there and the group is not.
fn no_group_in(key: Key<'_>, group: &[u8]) -> CommandError {
    let (key, group) = (until_nul(key.bytes), until_nul(group));
    CommandError::Bytes([b"NOGROUP No such consumer group '", group, b"' for key name '", key, b"'"].concat())
}

fn reply_id(reply: &mut Reply<'_>, id: StreamId) {
    reply.bulk(&id.text());
}

fn reply_item(reply: &mut Reply<'_>, item: Item<'_>) {
    match item {
        Item::Int(value) => reply.bulk_integer(value),
        Item::Text(text) => reply.bulk(text),
    }
}

/// An entry as an array of its id and the array of its fields and values.
fn reply_entry(reply: &mut Reply<'_>, entry: &Entry<'_>) {
    reply.array(2);
    reply_id(reply, entry.id);
    reply.array(2 * entry.len());
    for (field, value) in entry.fields() {
        reply_item(reply, field);
        reply_item(reply, value);
    }
}

/// Entries as an array; returns how many there were.
fn reply_entries<'e>(reply: &mut Reply<'_>, entries: impl Iterator<Item = Entry<'e>>) -> usize {
    let (place, mut count) = (reply.deferred(), 0);
    for entry in entries {
        reply_entry(reply, &entry);
        count += 1;
    }
    reply.finish_array(place, count);
    count
}
