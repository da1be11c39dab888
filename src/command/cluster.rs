//! Cluster commands, all of which answer that there is no cluster: clients find out so, and go on without.
//!
//! Invariant: nothing here pretends; a fake map of one node would make clients route by slots. Source: the Redis command
//! reference.

use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::{Categories, CommandSpec, Flags, Group, KeyFlags, KeySpec, Outcome};
use crc_fast::CrcAlgorithm;

/// Slots of a cluster.
const SLOTS: u64 = 16_384;

const DISABLED: CommandError = CommandError::text("ERR This instance has cluster support disabled");

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "asking",
        arity: 1,
        flags: Flags::FAST,
        categories: Categories::CONNECTION,
        since: "3.0.0",
        group: Group::Cluster,
        summary: "The next command may touch a slot that is being imported.",
        complexity: "O(1)",
        run: disabled,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "cluster",
        arity: -2,
        since: "3.0.0",
        group: Group::Cluster,
        summary: "Commands about the cluster.",
        complexity: "that of the subcommand",
        subcommands: &[
            CommandSpec {
                name: "addslots",
                arity: -3,
                flags: Flags::ADMIN.and(Flags::STALE).and(Flags::NO_ASYNC_LOADING),
                since: "3.0.0",
                group: Group::Cluster,
                summary: "Takes slots over.",
                complexity: "O(slots)",
                syntax: "slot:integer...",
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "addslotsrange",
                arity: -4,
                flags: Flags::ADMIN.and(Flags::STALE).and(Flags::NO_ASYNC_LOADING),
                since: "7.0.0",
                group: Group::Cluster,
                summary: "Takes ranges of slots over.",
                complexity: "O(slots)",
                syntax: "range(start-slot:integer end-slot:integer)...",
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "bumpepoch",
                arity: 2,
                flags: Flags::ADMIN.and(Flags::STALE).and(Flags::NO_ASYNC_LOADING),
                since: "3.0.0",
                group: Group::Cluster,
                summary: "Raises the epoch of the configuration.",
                complexity: "O(1)",
                tips: &["nondeterministic_output"],
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "cancelslotmigrations",
                arity: 2,
                flags: Flags::ADMIN.and(Flags::STALE).and(Flags::NO_ASYNC_LOADING),
                since: "9.0.0",
                group: Group::Cluster,
                summary: "Stops all slot migrations.",
                complexity: "O(migrations)",
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "count-failure-reports",
                arity: 3,
                flags: Flags::ADMIN.and(Flags::STALE),
                since: "3.0.0",
                group: Group::Cluster,
                summary: "Number of reports that a node has failed.",
                complexity: "O(reports)",
                syntax: "node-id:string",
                tips: &["nondeterministic_output"],
                history: &[("9.0.0", "Not raised once the node is marked as failed.")],
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "countkeysinslot",
                arity: 3,
                flags: Flags::STALE,
                since: "3.0.0",
                group: Group::Cluster,
                summary: "Number of keys in a slot.",
                complexity: "O(1)",
                syntax: "slot:integer",
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "delslots",
                arity: -3,
                flags: Flags::ADMIN.and(Flags::STALE).and(Flags::NO_ASYNC_LOADING),
                since: "3.0.0",
                group: Group::Cluster,
                summary: "Gives slots up.",
                complexity: "O(slots)",
                syntax: "slot:integer...",
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "delslotsrange",
                arity: -4,
                flags: Flags::ADMIN.and(Flags::STALE).and(Flags::NO_ASYNC_LOADING),
                since: "7.0.0",
                group: Group::Cluster,
                summary: "Gives ranges of slots up.",
                complexity: "O(slots)",
                syntax: "range(start-slot:integer end-slot:integer)...",
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "failover",
                arity: -2,
                flags: Flags::ADMIN.and(Flags::STALE).and(Flags::NO_ASYNC_LOADING),
                since: "3.0.0",
                group: Group::Cluster,
                summary: "Makes a replica the primary.",
                complexity: "O(1)",
                syntax: "[options<force=FORCE|takeover=TAKEOVER>]",
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "flushslot",
                arity: -3,
                flags: Flags::WRITE.and(Flags::ADMIN).and(Flags::NO_ASYNC_LOADING),
                categories: Categories::KEYSPACE,
                since: "9.0.0",
                group: Group::Cluster,
                summary: "Removes every key of a slot.",
                complexity: "O(keys)",
                syntax: "slot:integer [flush-type<async=ASYNC|sync=SYNC>]",
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "flushslots",
                arity: 2,
                flags: Flags::ADMIN.and(Flags::STALE).and(Flags::NO_ASYNC_LOADING),
                since: "3.0.0",
                group: Group::Cluster,
                summary: "Forgets all slots of the node.",
                complexity: "O(1)",
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "forget",
                arity: 3,
                flags: Flags::ADMIN.and(Flags::STALE).and(Flags::NO_ASYNC_LOADING),
                since: "3.0.0",
                group: Group::Cluster,
                summary: "Forgets a node.",
                complexity: "O(1)",
                syntax: "node-id:string",
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "getkeysinslot",
                arity: 4,
                flags: Flags::STALE,
                since: "3.0.0",
                group: Group::Cluster,
                summary: "Keys of a slot.",
                complexity: "O(keys replied)",
                syntax: "slot:integer count:integer",
                tips: &["nondeterministic_output"],
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "getslotmigrations",
                arity: 2,
                flags: Flags::ADMIN.and(Flags::STALE).and(Flags::NO_ASYNC_LOADING),
                since: "9.0.0",
                group: Group::Cluster,
                summary: "State of the slot migrations.",
                complexity: "O(migrations)",
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "help",
                arity: 2,
                flags: Flags::LOADING.and(Flags::STALE),
                since: "5.0.0",
                group: Group::Cluster,
                summary: "Lists the subcommands.",
                complexity: "O(1)",
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "info",
                arity: 2,
                flags: Flags::LOADING.and(Flags::STALE),
                since: "3.0.0",
                group: Group::Cluster,
                summary: "State of the cluster.",
                complexity: "O(1)",
                tips: &["nondeterministic_output"],
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "keyslot",
                arity: 3,
                flags: Flags::STALE,
                since: "3.0.0",
                group: Group::Cluster,
                summary: "Slot of a key.",
                complexity: "O(length of the key)",
                syntax: "key:string",
                run: keyslot,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "links",
                arity: 2,
                flags: Flags::STALE,
                since: "7.0.0",
                group: Group::Cluster,
                summary: "Links between nodes.",
                complexity: "O(nodes)",
                tips: &["nondeterministic_output"],
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "meet",
                arity: -4,
                flags: Flags::ADMIN.and(Flags::STALE).and(Flags::NO_ASYNC_LOADING),
                since: "3.0.0",
                group: Group::Cluster,
                summary: "Makes the acquaintance of a node.",
                complexity: "O(1)",
                syntax: "ip:string port:integer [cluster-bus-port:integer@4.0.0]",
                history: &[("4.0.0", "The port of the cluster bus.")],
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "migrateslots",
                arity: -4,
                flags: Flags::ADMIN.and(Flags::STALE).and(Flags::NO_ASYNC_LOADING),
                since: "9.0.0",
                group: Group::Cluster,
                summary: "Moves slots to other nodes.",
                complexity: "O(ranges)",
                syntax: "migration-group(slotsrange-token=SLOTSRANGE range(start-slot:integer end-slot:integer)... node-token=NODE node-id:string)...",
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "myid",
                arity: 2,
                flags: Flags::LOADING.and(Flags::STALE),
                since: "3.0.0",
                group: Group::Cluster,
                summary: "Id of the node.",
                complexity: "O(1)",
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "myshardid",
                arity: 2,
                flags: Flags::LOADING.and(Flags::STALE),
                since: "7.2.0",
                group: Group::Cluster,
                summary: "Id of the shard of the node.",
                complexity: "O(1)",
                tips: &["nondeterministic_output"],
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "nodes",
                arity: 2,
                flags: Flags::LOADING.and(Flags::STALE),
                since: "3.0.0",
                group: Group::Cluster,
                summary: "The nodes as this one sees them.",
                complexity: "O(nodes)",
                tips: &["nondeterministic_output"],
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "replicas",
                arity: 3,
                flags: Flags::ADMIN.and(Flags::STALE),
                since: "5.0.0",
                group: Group::Cluster,
                summary: "Replicas of a primary.",
                complexity: "O(replicas)",
                syntax: "node-id:string",
                tips: &["nondeterministic_output"],
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "replicate",
                arity: -3,
                flags: Flags::ADMIN.and(Flags::STALE).and(Flags::NO_ASYNC_LOADING),
                since: "3.0.0",
                group: Group::Cluster,
                summary: "Makes the node a replica.",
                complexity: "O(1)",
                syntax: "args<node-id:string|no-one(no=NO one=ONE)@9.0.0>",
                history: &[("9.0.0", "More fields.")],
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "reset",
                arity: -2,
                flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::STALE),
                since: "3.0.0",
                group: Group::Cluster,
                summary: "Forgets the cluster.",
                complexity: "O(nodes)",
                syntax: "[reset-type<hard=HARD|soft=SOFT>]",
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "saveconfig",
                arity: 2,
                flags: Flags::ADMIN.and(Flags::STALE).and(Flags::NO_ASYNC_LOADING),
                since: "3.0.0",
                group: Group::Cluster,
                summary: "Writes the configuration of the cluster.",
                complexity: "O(1)",
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "set-config-epoch",
                arity: 3,
                flags: Flags::ADMIN.and(Flags::STALE).and(Flags::NO_ASYNC_LOADING),
                since: "3.0.0",
                group: Group::Cluster,
                summary: "Sets the epoch of a new node.",
                complexity: "O(1)",
                syntax: "config-epoch:integer",
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "setslot",
                arity: -4,
                flags: Flags::ADMIN.and(Flags::STALE).and(Flags::NO_ASYNC_LOADING),
                since: "3.0.0",
                group: Group::Cluster,
                summary: "Assigns a slot.",
                complexity: "O(1)",
                syntax: "slot:integer subcommand<IMPORTING importing~node-id:string|MIGRATING migrating~node-id:string|NODE node~node-id:string|stable=STABLE> [TIMEOUT timeout:integer@8.0.0]",
                history: &[("8.0.0", "The option `TIMEOUT`.")],
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "shards",
                arity: 2,
                flags: Flags::LOADING.and(Flags::STALE),
                since: "7.0.0",
                group: Group::Cluster,
                summary: "The slots by shard.",
                complexity: "O(nodes)",
                tips: &["nondeterministic_output"],
                history: &[("9.1.0", "`id` of a shard, `availability-zone` of a node.")],
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "slaves",
                arity: 3,
                flags: Flags::ADMIN.and(Flags::STALE),
                since: "3.0.0",
                group: Group::Cluster,
                summary: "Replicas of a primary.",
                complexity: "O(replicas)",
                syntax: "node-id:string",
                tips: &["nondeterministic_output"],
                deprecated: ("5.0.0", "`CLUSTER REPLICAS`"),
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "slot-stats",
                arity: -4,
                flags: Flags::LOADING.and(Flags::STALE),
                since: "8.0.0",
                group: Group::Cluster,
                summary: "Use of slots.",
                complexity: "O(slots)",
                syntax: "filter<SLOTSRANGE slotsrange(start-slot:integer end-slot:integer)|ORDERBY orderby(metric:string [LIMIT limit:integer] [order<asc=ASC|desc=DESC>])>",
                tips: &["nondeterministic_output", "request_policy:all_shards"],
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "slots",
                arity: 2,
                flags: Flags::LOADING.and(Flags::STALE),
                since: "3.0.0",
                group: Group::Cluster,
                summary: "The slots by node.",
                complexity: "O(nodes)",
                tips: &["nondeterministic_output"],
                history: &[("4.0.0", "More fields."), ("7.0.0", "More fields."), ("9.1.0", "More fields.")],
                run: disabled,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "syncslots",
                arity: -3,
                flags: Flags::ADMIN.and(Flags::STALE).and(Flags::NO_ASYNC_LOADING),
                since: "9.0.0",
                group: Group::Cluster,
                summary: "Moves slots between nodes, for nodes only.",
                complexity: "that of the subcommand",
                internal: true,
                run: disabled,
                ..CommandSpec::DEFAULT
            },
        ],
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "clusterscan",
        arity: -2,
        flags: Flags::READONLY,
        categories: Categories::KEYSPACE,
        keys: &[KeySpec::one(1, KeyFlags::NOT_KEY)],
        since: "9.1.0",
        group: Group::Cluster,
        summary: "Walks over the keys of the cluster.",
        complexity: "O(keys seen)",
        syntax: "cursor:string [MATCH match-pattern:pattern] [COUNT count:integer] [TYPE type:string] [SLOT slot:integer]",
        tips: &["nondeterministic_output", "request_policy:special", "response_policy:special"],
        run: disabled,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "readonly",
        arity: 1,
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        categories: Categories::CONNECTION,
        since: "3.0.0",
        group: Group::Cluster,
        summary: "Allows reads on a replica.",
        complexity: "O(1)",
        run: always_ok,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "readwrite",
        arity: 1,
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        categories: Categories::CONNECTION,
        since: "3.0.0",
        group: Group::Cluster,
        summary: "Ends READONLY.",
        complexity: "O(1)",
        run: always_ok,
        ..CommandSpec::DEFAULT
    },
];

/// Every command that needs a cluster.
fn disabled<'a>(_: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    Err(DISABLED)
}

/// `READONLY` and `READWRITE`: OK, since every key is here and may be read.
fn always_ok<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `CLUSTER KEYSLOT key`: the slot that the key would have.
fn keyslot<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.bytes()?;
    args.finish()?;
    let sum = crc_fast::checksum(CrcAlgorithm::Crc16Xmodem, hashed_part(key));
    ctx.reply.integer((sum % SLOTS).cast_signed());
    Ok(Outcome::Done)
}

/// What is between the first brace and the next closing one, unless that is nothing; else the whole key.
fn hashed_part(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else { return key };
    let inner = &key[open + 1..];
    match inner.iter().position(|byte| *byte == b'}') {
        Some(close) if close > 0 => &inner[..close],
        _ => key,
    }
}
