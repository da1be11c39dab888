//! The row of a command: the one place that states a fact about it.
//!
//! Arity and memory checks, MULTI queueing, ACL, COMMAND / COMMAND DOCS / GETKEYS, the cluster slot, propagation and
//! the choice of shards to lock all ask the row. Source of the terms: the Redis command reference and its key
//! specifications.

use super::args::Args;
use super::blocking::Blocked;
use super::context::Context;
use super::error::CommandError;
use super::shared::Shared;
use crate::keyspace::LockPlan;
use crate::protocol::batch::RequestView;
use std::sync::Arc;

/// What a handler leaves for dispatch to do.
pub enum Outcome {
    /// The reply is written; nothing else is to be done.
    Done,
    /// The work is long: the connection calls the slices in turn, lets other requests of its worker run between two
    /// of them, and no lock is held meanwhile.
    Slices(Box<dyn Slices>),
    /// The client waits for keys; no reply is written.
    Block(Arc<Blocked>),
    /// The command was run for a client that waits, and could not be served.
    StillBlocked,
    /// The connection is to be closed once the reply has left.
    Close,
    /// The connection is to be closed at once: what would wait for it exceeds its limit.
    Overflow,
}

/// A long command in progress, see [`Outcome::Slices`].
pub trait Slices {
    /// Does about a millisecond of work; `true` when the reply is written and the command over.
    fn step(&mut self, ctx: &mut Context<'_>) -> bool;

    /// Whether locks are held between two steps: then it goes on while others are kept back because of it.
    fn holds_locks(&self) -> bool {
        false
    }

    /// Whether it waits for another thread, and a next step at once would be in vain.
    fn waits(&self) -> bool {
        false
    }
}

/// The function behind a command: parse all arguments, look up, mutate, reply, in that order.
pub type Handler = for<'a> fn(&mut Context<'a>, &mut Args<'a>) -> Result<Outcome, CommandError>;

/// Facts about a command, as `COMMAND INFO` names them, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flags(pub u32);

macro_rules! bits {
    ($type:ident, $table:ident, $($(#[$doc:meta])* $name:ident = $bit:expr, $text:expr;)*) => {
        impl $type {
            $($(#[$doc])* pub const $name: $type = $type(1 << $bit);)*
            /// No bit.
            pub const NONE: $type = $type(0);
            /// The union of both, usable in constants.
            pub const fn and(self, other: $type) -> $type { $type(self.0 | other.0) }
            /// Whether every bit of `other` is set.
            pub const fn has(self, other: $type) -> bool { self.0 & other.0 == other.0 }
        }
        impl std::ops::BitOr for $type {
            type Output = $type;
            fn bitor(self, other: $type) -> $type { self.and(other) }
        }
        /// Every bit with the name that clients see, in the order they see them.
        pub const $table: &[($type, &str)] = &[$(($type::$name, $text)),*];
    };
}

bits! { Flags, FLAG_NAMES,
    /// May change the keyspace.
    WRITE = 0, "write";
    /// Only reads the keyspace.
    READONLY = 1, "readonly";
    /// Refused when memory is over `maxmemory`.
    DENYOOM = 2, "denyoom";
    /// Administration.
    ADMIN = 3, "admin";
    /// Pub/sub.
    PUBSUB = 4, "pubsub";
    /// Refused in scripts.
    NOSCRIPT = 5, "noscript";
    /// May block the client.
    BLOCKING = 6, "blocking";
    /// Allowed while the dataset is being loaded.
    LOADING = 7, "loading";
    /// Allowed on a replica whose data is stale.
    STALE = 8, "stale";
    /// Not shown to MONITOR.
    SKIP_MONITOR = 9, "skip_monitor";
    /// Not entered in the slow log.
    SKIP_SLOWLOG = 10, "skip_commandlog";
    /// Allowed on an importing slot.
    ASKING = 11, "asking";
    /// Takes constant or logarithmic time.
    FAST = 12, "fast";
    /// Allowed before authentication.
    NO_AUTH = 13, "no_auth";
    /// May be replicated although it does not write.
    MAY_REPLICATE = 14, "may_replicate";
    /// The key list may be empty.
    NO_MANDATORY_KEYS = 15, "no_mandatory_keys";
    /// Refused while a replica loads in the background.
    NO_ASYNC_LOADING = 16, "no_async_loading";
    /// Refused inside MULTI.
    NO_MULTI = 17, "no_multi";
    /// Allowed while a script runs over its time.
    ALLOW_BUSY = 18, "allow_busy";
    /// Its keys cannot be found by the legacy triple alone.
    MOVABLEKEYS = 19, "movablekeys";
}

/// ACL categories, one bit each. Those that follow from flags are added by [`CommandSpec::acl_categories`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Categories(pub u32);

bits! { Categories, CATEGORY_NAMES,
    /// Keyspace as a whole.
    KEYSPACE = 0, "keyspace";
    /// Reads.
    READ = 1, "read";
    /// Writes.
    WRITE = 2, "write";
    /// Sets.
    SET = 3, "set";
    /// Sorted sets.
    SORTEDSET = 4, "sortedset";
    /// Lists.
    LIST = 5, "list";
    /// Hashes.
    HASH = 6, "hash";
    /// Strings.
    STRING = 7, "string";
    /// Bitmaps.
    BITMAP = 8, "bitmap";
    /// HyperLogLogs.
    HYPERLOGLOG = 9, "hyperloglog";
    /// Geospatial indices.
    GEO = 10, "geo";
    /// Streams.
    STREAM = 11, "stream";
    /// Pub/sub.
    PUBSUB = 12, "pubsub";
    /// Administration.
    ADMIN = 13, "admin";
    /// Fast commands.
    FAST = 14, "fast";
    /// Slow commands.
    SLOW = 15, "slow";
    /// Blocking commands.
    BLOCKING = 16, "blocking";
    /// Commands that can do harm.
    DANGEROUS = 17, "dangerous";
    /// Connection management.
    CONNECTION = 18, "connection";
    /// Transactions.
    TRANSACTION = 19, "transaction";
    /// Scripts.
    SCRIPTING = 20, "scripting";
}

/// What a command does with a key, as key specifications name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyFlags(pub u32);

bits! { KeyFlags, KEY_FLAG_NAMES,
    /// Overwrites the value.
    OW = 0, "OW";
    /// Only reads.
    RO = 1, "RO";
    /// Reads and writes.
    RW = 2, "RW";
    /// Removes.
    RM = 3, "RM";
    /// Returns or uses the value's content.
    ACCESS = 4, "access";
    /// Updates existing content.
    UPDATE = 5, "update";
    /// Adds content.
    INSERT = 6, "insert";
    /// Deletes content.
    DELETE = 7, "delete";
    /// Not a key, but routed like one.
    NOT_KEY = 8, "not_key";
    /// The specification may miss keys.
    INCOMPLETE = 9, "incomplete";
    /// The flags depend on other arguments.
    VARIABLE_FLAGS = 10, "variable_flags";
}

/// Where the keys of a specification begin. Index 0 is the command's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begin {
    /// At this argument.
    Index(usize),
    /// After this word, looked for from an index (negative: backwards from the end).
    Keyword(&'static str, i32),
    /// Only the handler knows.
    Unknown,
}

/// How many keys follow the beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Find {
    /// Up to `last` (relative to the beginning; negative: from the end), every `step`; `limit` 2 means the first half.
    Range {
        /// Last key, relative to the beginning, or from the end when negative.
        last: i32,
        /// Distance between two keys.
        step: usize,
        /// 0 or 1: no limit; n: the first 1/n of what remains.
        limit: usize,
    },
    /// A number says how many: at `number`, the first key at `first`, both relative to the beginning.
    Count {
        /// Where the number stands.
        number: usize,
        /// Where the first key stands.
        first: usize,
        /// Distance between two keys.
        step: usize,
    },
    /// Only the handler knows.
    Unknown,
}

/// One key specification of a command.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// What is done with the keys.
    pub flags: KeyFlags,
    /// Where they begin.
    pub begin: Begin,
    /// How many there are.
    pub find: Find,
    /// A remark for `COMMAND DOCS` readers; empty for none.
    pub notes: &'static str,
}

impl KeySpec {
    /// One key at argument `index`.
    pub const fn one(index: usize, flags: KeyFlags) -> KeySpec {
        KeySpec::range(index, 0, 1, flags)
    }

    /// Keys from argument `first` to `last` (relative to `first`, or negative from the end), every `step`.
    pub const fn range(first: usize, last: i32, step: usize, flags: KeyFlags) -> KeySpec {
        KeySpec { flags, begin: Begin::Index(first), find: Find::Range { last, step, limit: 0 }, notes: "" }
    }

    /// Keys counted by the number at argument `number`; the first stands right behind it, every `step`.
    pub const fn counted(number: usize, step: usize, flags: KeyFlags) -> KeySpec {
        KeySpec { flags, begin: Begin::Index(number), find: Find::Count { number: 0, first: 1, step }, notes: "" }
    }
}

/// The group of the command reference, which is also the file that holds the command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// Strings.
    String,
    /// Bitmaps, which are strings.
    Bitmap,
    /// HyperLogLogs, which are strings.
    HyperLogLog,
    /// Lists.
    List,
    /// Hashes.
    Hash,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Geospatial indices, which are sorted sets.
    Geo,
    /// Streams.
    Stream,
    /// Keys of any type.
    Generic,
    /// The connection.
    Connection,
    /// Transactions.
    Transactions,
    /// Scripts and functions.
    Scripting,
    /// The server.
    Server,
    /// The cluster.
    Cluster,
    /// Channels and messages.
    PubSub,
}

impl Group {
    /// Whether its commands work on keys and what these hold, and on nothing else.
    pub const fn is_data(self) -> bool {
        !matches!(
            self,
            Group::Connection | Group::Transactions | Group::Scripting | Group::Server | Group::Cluster | Group::PubSub
        )
    }

    /// The name in `COMMAND DOCS`.
    pub const fn name(self) -> &'static str {
        match self {
            Group::String => "string",
            Group::Bitmap => "bitmap",
            Group::HyperLogLog => "hyperloglog",
            Group::List => "list",
            Group::Hash => "hash",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Geo => "geo",
            Group::Stream => "stream",
            Group::Generic => "generic",
            Group::Scripting => "scripting",
            Group::Connection => "connection",
            Group::Transactions => "transactions",
            Group::Server => "server",
            Group::Cluster => "cluster",
            Group::PubSub => "pubsub",
        }
    }
}

/// Which shards dispatch locks before the handler runs.
#[derive(Clone, Copy, Debug)]
pub enum Scope {
    /// Those of the declared keys; none for a command without keys.
    Keys,
    /// Those of the declared keys in every database, for commands that name another database.
    KeysEverywhere,
    /// Every shard of the database: for commands that look at keys which follow from data.
    Database,
    /// Every shard of every database.
    Server,
    /// None: the handler visits the shards of the database one after the other, each locked while it does. In a transaction as
    /// `Database`.
    Walk,
    /// The same for all databases. In a transaction as `Server`.
    WalkServer,
    /// None; what follows in a transaction may run in another database.
    Select,
    /// Those of the commands that the client has queued, and of the keys it watches.
    Transaction,
    /// Whatever this makes of the request; not this again.
    Chosen(fn(RequestView<'_>) -> Scope),
    /// The same, for what only the server knows.
    Asked(fn(&Shared, RequestView<'_>) -> Scope),
}

impl Scope {
    /// Which shards are locked; `None` when only the request tells.
    pub fn locks(self) -> Option<LockPlan> {
        match self {
            Scope::Keys | Scope::Walk | Scope::WalkServer | Scope::Select => Some(LockPlan::Keys),
            Scope::KeysEverywhere => Some(LockPlan::KeysEverywhere),
            Scope::Database => Some(LockPlan::Database),
            Scope::Server => Some(LockPlan::All),
            Scope::Transaction => Some(LockPlan::Set),
            Scope::Chosen(_) | Scope::Asked(_) => None,
        }
    }

    /// The scope of a given request.
    #[inline]
    pub fn of(self, shared: &Shared, request: RequestView<'_>) -> Scope {
        match self {
            Scope::Chosen(choose) => choose(request),
            Scope::Asked(choose) => choose(shared, request),
            scope => scope,
        }
    }
}

/// See [`CommandSpec::behind_keyword`]: given the request and the word, as its row has it.
pub type BehindKeyword = fn(RequestView<'_>, &str) -> Option<usize>;

/// See [`CommandSpec::own_keys`].
pub type OwnKeys = fn(RequestView<'_>, &mut dyn FnMut(usize, KeyFlags));

/// A command, or a subcommand of one.
pub struct CommandSpec {
    /// Lower-case name, without the container's.
    pub name: &'static str,
    /// Arguments including the name; negative: at least that many.
    pub arity: i32,
    /// Facts for dispatch and `COMMAND INFO`.
    pub flags: Flags,
    /// ACL categories beyond those that follow from the flags.
    pub categories: Categories,
    /// Where the keys are.
    pub keys: &'static [KeySpec],
    /// What is done with the keys marked [`KeyFlags::VARIABLE_FLAGS`] by a given request, for `COMMAND GETKEYSANDFLAGS`.
    pub variable_flags: Option<fn(RequestView<'_>) -> KeyFlags>,
    /// The index behind the word of a [`Begin::Keyword`] in a given request, for rows where its first occurrence is not always
    /// the one that counts.
    pub behind_keyword: Option<BehindKeyword>,
    /// Calls the function given with the index and flags of every key of a request at a place that is [`Begin::Unknown`].
    pub own_keys: Option<OwnKeys>,
    /// Index of the argument that names an element of the collection at the key in argument 1 (a field, a member), by which
    /// the element is prefetched; 0 for none.
    pub element: usize,
    /// Whether a given request does not write though the command may: a pause of writes lets it run.
    pub only_reads: Option<fn(&Shared, RequestView<'_>) -> bool>,
    /// Allowed for a RESP2 client that listens to channels: nothing else is.
    pub while_subscribed: bool,
    /// Which shards are locked.
    pub scope: Scope,
    /// Inside MULTI it is run at once, not queued.
    pub at_once: bool,
    /// First Redis (or Valkey) version that has it.
    pub since: &'static str,
    /// The group of the command reference.
    pub group: Group,
    /// One sentence for `COMMAND DOCS`.
    pub summary: &'static str,
    /// Cost, for `COMMAND DOCS`.
    pub complexity: &'static str,
    /// Arguments in the syntax of [`super::docs`].
    pub syntax: &'static str,
    /// Hints to clients and proxies, as `COMMAND INFO` lists them.
    pub tips: &'static [&'static str],
    /// Changes since the first version: (version, change).
    pub history: &'static [(&'static str, &'static str)],
    /// Since when and in favour of what it is deprecated; empty for not.
    pub deprecated: (&'static str, &'static str),
    /// Meant for servers and tests, not for users (`syscmd` in `COMMAND DOCS`).
    pub internal: bool,
    /// Subcommands; a command that has some is a container and runs `run` only when it has no subcommand argument.
    pub subcommands: &'static [CommandSpec],
    /// The handler.
    pub run: Handler,
}

impl CommandSpec {
    /// What a row leaves out.
    pub const DEFAULT: CommandSpec = CommandSpec {
        name: "",
        arity: 0,
        flags: Flags::NONE,
        categories: Categories::NONE,
        keys: &[],
        variable_flags: None,
        behind_keyword: None,
        own_keys: None,
        element: 0,
        only_reads: None,
        while_subscribed: false,
        scope: Scope::Keys,
        at_once: false,
        since: "1.0.0",
        group: Group::Server,
        summary: "",
        complexity: "",
        syntax: "",
        tips: &[],
        history: &[],
        deprecated: ("", ""),
        internal: false,
        subcommands: &[],
        run: container,
    };

    /// Every ACL category: the row's own and those that follow from its flags.
    pub const fn acl_categories(&self) -> Categories {
        let mut all = self.categories;
        let scripting = all.has(Categories::SCRIPTING);
        if self.flags.has(Flags::WRITE) && !scripting {
            all = all.and(Categories::WRITE);
        }
        if self.flags.has(Flags::READONLY) && !scripting {
            all = all.and(Categories::READ);
        }
        if self.flags.has(Flags::ADMIN) {
            all = all.and(Categories::ADMIN).and(Categories::DANGEROUS);
        }
        if self.flags.has(Flags::PUBSUB) {
            all = all.and(Categories::PUBSUB);
        }
        if self.flags.has(Flags::BLOCKING) {
            all = all.and(Categories::BLOCKING);
        }
        if self.flags.has(Flags::FAST) { all.and(Categories::FAST) } else { all.and(Categories::SLOW) }
    }

    /// Whether `argc` arguments, the name included, are neither too few nor too many.
    pub const fn accepts(&self, argc: usize) -> bool {
        let wanted = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { argc >= wanted } else { argc == wanted }
    }
}

/// The handler of a container, which dispatch never runs: its arity demands a subcommand.
fn container<'a>(_: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    Err(CommandError::Syntax)
}
