//! Scripts and functions: EVAL, EVALSHA, SCRIPT, FUNCTION, FCALL.
//!
//! A script runs with every shard of its database locked, because it may touch keys that it does not declare; one that may
//! work in other databases, as far as its text and arguments tell, with every shard there is. One that is known, and
//! whose text proves that it touches no others (`script/proof.rs`), locks the shards of its keys alone. One that runs for long leaves
//! its worker between two steps, its locks held; dispatch then keeps other requests back.

mod eval;
mod function;
mod host;
mod run;
mod script;

pub use function::restore_libraries;

use crate::call::shared::Shared;
use crate::call::spec::{Begin, Categories, CommandSpec, Find, Flags, Group, KeyFlags, KeySpec, Scope};
use crate::call::table::Command;
use crate::protocol::batch::RequestView;
use crate::script::cache::{Script, Sha, digest, may_select, sha};
use crate::script::header::{ScriptFlags, script_header};
use std::sync::atomic::Ordering::Relaxed;

/// Arguments up to this length may be the name of a command that works beyond the current database, in bytes.
const NAME_BYTES: usize = 16;

/// The rows of the group.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "eval",
        arity: -3,
        flags: Flags::NOSCRIPT
            .and(Flags::STALE)
            .and(Flags::SKIP_MONITOR)
            .and(Flags::MAY_REPLICATE)
            .and(Flags::NO_MANDATORY_KEYS)
            .and(Flags::MOVABLEKEYS),
        categories: Categories::SCRIPTING,
        keys: &[KeySpec::counted(2, 1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))],
        since: "2.6.0",
        group: Group::Scripting,
        summary: "Runs a script.",
        complexity: "That of the script.",
        syntax: "script:string numkeys:integer [key:key#0...] [arg:string...]",
        scope: Scope::Asked(eval_scope),
        run: eval::eval,
        only_reads: Some(eval_only_reads),
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "eval_ro",
        arity: -3,
        flags: Flags::READONLY
            .and(Flags::NOSCRIPT)
            .and(Flags::STALE)
            .and(Flags::SKIP_MONITOR)
            .and(Flags::NO_MANDATORY_KEYS)
            .and(Flags::MOVABLEKEYS),
        categories: Categories::SCRIPTING,
        keys: &[KeySpec::counted(2, 1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "7.0.0",
        group: Group::Scripting,
        summary: "Runs a script that only reads.",
        complexity: "That of the script.",
        syntax: "script:string numkeys:integer [key:key#0...] [arg:string...]",
        scope: Scope::Asked(eval_scope),
        run: eval::eval_ro,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "evalsha",
        arity: -3,
        flags: Flags::NOSCRIPT
            .and(Flags::STALE)
            .and(Flags::SKIP_MONITOR)
            .and(Flags::MAY_REPLICATE)
            .and(Flags::NO_MANDATORY_KEYS)
            .and(Flags::MOVABLEKEYS),
        categories: Categories::SCRIPTING,
        keys: &[KeySpec::counted(2, 1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))],
        since: "2.6.0",
        group: Group::Scripting,
        summary: "Runs a script known by its digest.",
        complexity: "That of the script.",
        syntax: "sha1:string numkeys:integer [key:key#0...] [arg:string...]",
        scope: Scope::Asked(evalsha_scope),
        run: eval::evalsha,
        only_reads: Some(evalsha_only_reads),
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "evalsha_ro",
        arity: -3,
        flags: Flags::READONLY
            .and(Flags::NOSCRIPT)
            .and(Flags::STALE)
            .and(Flags::SKIP_MONITOR)
            .and(Flags::NO_MANDATORY_KEYS)
            .and(Flags::MOVABLEKEYS),
        categories: Categories::SCRIPTING,
        keys: &[KeySpec::counted(2, 1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "7.0.0",
        group: Group::Scripting,
        summary: "Runs a script known by its digest, which only reads.",
        complexity: "That of the script.",
        syntax: "sha1:string numkeys:integer [key:key#0...] [arg:string...]",
        scope: Scope::Asked(evalsha_scope),
        run: eval::evalsha_ro,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "fcall",
        arity: -3,
        flags: Flags::NOSCRIPT
            .and(Flags::STALE)
            .and(Flags::SKIP_MONITOR)
            .and(Flags::MAY_REPLICATE)
            .and(Flags::NO_MANDATORY_KEYS)
            .and(Flags::MOVABLEKEYS),
        categories: Categories::SCRIPTING,
        keys: &[KeySpec::counted(2, 1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))],
        since: "7.0.0",
        group: Group::Scripting,
        summary: "Calls a function.",
        complexity: "That of the script.",
        syntax: "function:string numkeys:integer [key:key#0...] [arg:string...]",
        scope: Scope::Asked(fcall_scope),
        run: eval::fcall,
        only_reads: Some(fcall_only_reads),
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "fcall_ro",
        arity: -3,
        flags: Flags::READONLY
            .and(Flags::NOSCRIPT)
            .and(Flags::STALE)
            .and(Flags::SKIP_MONITOR)
            .and(Flags::NO_MANDATORY_KEYS)
            .and(Flags::MOVABLEKEYS),
        categories: Categories::SCRIPTING,
        keys: &[KeySpec::counted(2, 1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "7.0.0",
        group: Group::Scripting,
        summary: "Calls a function that only reads.",
        complexity: "That of the script.",
        syntax: "function:string numkeys:integer [key:key#0...] [arg:string...]",
        scope: Scope::Asked(fcall_scope),
        run: eval::fcall_ro,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "function",
        arity: -2,
        since: "7.0.0",
        group: Group::Scripting,
        summary: "Commands about functions.",
        complexity: "That of the subcommand.",
        subcommands: &[
            CommandSpec {
                name: "delete",
                arity: 3,
                flags: Flags::WRITE.and(Flags::NOSCRIPT),
                categories: Categories::WRITE.and(Categories::SCRIPTING),
                since: "7.0.0",
                group: Group::Scripting,
                summary: "Removes a library with its functions.",
                complexity: "O(1)",
                syntax: "library-name:string",
                tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
                run: function::delete,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "dump",
                arity: 2,
                flags: Flags::NOSCRIPT,
                categories: Categories::SCRIPTING,
                since: "7.0.0",
                group: Group::Scripting,
                summary: "Replies all libraries in a form that FUNCTION RESTORE reads.",
                complexity: "O(N), N being the bytes of all libraries",
                run: function::dump,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "flush",
                arity: -2,
                flags: Flags::WRITE.and(Flags::NOSCRIPT),
                categories: Categories::WRITE.and(Categories::SCRIPTING),
                since: "7.0.0",
                group: Group::Scripting,
                summary: "Removes all libraries.",
                complexity: "O(N), N being the number of libraries",
                syntax: "[flush-type<async=ASYNC|sync=SYNC>]",
                tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
                run: function::flush,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "help",
                arity: 2,
                flags: Flags::LOADING.and(Flags::STALE),
                categories: Categories::SCRIPTING,
                since: "7.0.0",
                group: Group::Scripting,
                summary: "Lists the subcommands.",
                complexity: "O(1)",
                run: function::help,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "kill",
                arity: 2,
                flags: Flags::NOSCRIPT.and(Flags::ALLOW_BUSY),
                categories: Categories::SCRIPTING,
                since: "7.0.0",
                group: Group::Scripting,
                summary: "Ends a function that runs for long.",
                complexity: "O(1)",
                tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
                run: function::kill,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "list",
                arity: -2,
                flags: Flags::NOSCRIPT,
                categories: Categories::SCRIPTING,
                since: "7.0.0",
                group: Group::Scripting,
                summary: "Lists libraries and their functions.",
                complexity: "O(N), N being the number of functions",
                syntax: "[LIBRARYNAME library-name-pattern:string] [withcode=WITHCODE]",
                tips: &["nondeterministic_output_order"],
                run: function::list,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "load",
                arity: -3,
                flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::NOSCRIPT),
                categories: Categories::WRITE.and(Categories::SCRIPTING),
                since: "7.0.0",
                group: Group::Scripting,
                summary: "Loads a library.",
                complexity: "O(N), N being the length of the text, and what the text does",
                syntax: "[replace=REPLACE] function-code:string",
                tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
                run: function::load,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "restore",
                arity: -3,
                flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::NOSCRIPT),
                categories: Categories::WRITE.and(Categories::SCRIPTING),
                since: "7.0.0",
                group: Group::Scripting,
                summary: "Loads the libraries of a dump.",
                complexity: "O(N), N being the number of libraries",
                syntax: "serialized-value:string [policy<flush=FLUSH|append=APPEND|replace=REPLACE>]",
                tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
                run: function::restore,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "stats",
                arity: 2,
                flags: Flags::NOSCRIPT.and(Flags::ALLOW_BUSY),
                categories: Categories::SCRIPTING,
                since: "7.0.0",
                group: Group::Scripting,
                summary: "Tells which function runs, and how many there are.",
                complexity: "O(1)",
                tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
                run: function::stats,
                ..CommandSpec::DEFAULT
            },
        ],
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "script",
        arity: -2,
        since: "2.6.0",
        group: Group::Scripting,
        summary: "Commands about scripts.",
        complexity: "That of the subcommand.",
        subcommands: &[
            CommandSpec {
                name: "debug",
                arity: -3,
                flags: Flags::NOSCRIPT,
                categories: Categories::SCRIPTING,
                since: "3.2.0",
                group: Group::Scripting,
                summary: "Would set how scripts are debugged.",
                complexity: "O(1)",
                syntax: "mode<yes=YES|sync=SYNC|no=NO> [engine:string@9.1.0]",
                run: script::debug,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "exists",
                arity: -3,
                flags: Flags::NOSCRIPT.and(Flags::STALE),
                categories: Categories::SCRIPTING,
                since: "2.6.0",
                group: Group::Scripting,
                summary: "Tells which scripts are known.",
                complexity: "O(N), N being the number of digests",
                syntax: "sha1:string...",
                tips: &["request_policy:all_shards", "response_policy:agg_logical_and"],
                run: script::exists,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "flush",
                arity: -2,
                flags: Flags::NOSCRIPT.and(Flags::STALE),
                categories: Categories::SCRIPTING,
                since: "2.6.0",
                group: Group::Scripting,
                summary: "Forgets all scripts.",
                complexity: "O(N), N being the number of scripts",
                syntax: "[flush-type<async=ASYNC|sync=SYNC>@6.2.0]",
                tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
                history: &[("6.2.0", "`ASYNC` and `SYNC`.")],
                run: script::flush,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "help",
                arity: 2,
                flags: Flags::LOADING.and(Flags::STALE),
                categories: Categories::SCRIPTING,
                since: "5.0.0",
                group: Group::Scripting,
                summary: "Lists the subcommands.",
                complexity: "O(1)",
                run: script::help,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "kill",
                arity: 2,
                flags: Flags::NOSCRIPT.and(Flags::ALLOW_BUSY),
                categories: Categories::SCRIPTING,
                since: "2.6.0",
                group: Group::Scripting,
                summary: "Ends a script that runs for long.",
                complexity: "O(1)",
                tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
                run: script::kill,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "load",
                arity: 3,
                flags: Flags::NOSCRIPT.and(Flags::STALE),
                categories: Categories::SCRIPTING,
                since: "2.6.0",
                group: Group::Scripting,
                summary: "Makes a script known without running it.",
                complexity: "O(N), N being the length of the text",
                syntax: "script:string",
                tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
                run: script::load,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "show",
                arity: 3,
                flags: Flags::NOSCRIPT.and(Flags::STALE),
                categories: Categories::SCRIPTING,
                since: "8.0.0",
                group: Group::Scripting,
                summary: "Replies the text of a script.",
                complexity: "O(1)",
                syntax: "sha1:string",
                run: script::show,
                ..CommandSpec::DEFAULT
            },
        ],
        ..CommandSpec::DEFAULT
    },
];

/// Whether an argument of a script names a command that works beyond the current database.
fn arguments_select(request: RequestView<'_>) -> bool {
    request.iter().skip(2).any(|argument| argument.len() <= NAME_BYTES && may_select(argument))
}

fn scope(selects: bool, request: RequestView<'_>) -> Scope {
    if selects || arguments_select(request) { Scope::Server } else { Scope::Database }
}

fn eval_only_reads(_: &Shared, request: RequestView<'_>) -> bool {
    let header = script_header(request.arg(1)).ok().flatten();
    header.is_some_and(|header| header.flags.has(ScriptFlags::NO_WRITES))
}

fn evalsha_only_reads(shared: &Shared, request: RequestView<'_>) -> bool {
    let script = sha(request.arg(1)).and_then(|sha| shared.scripts.cache.find(&sha));
    script.and_then(|script| script.flags).is_some_and(|flags| flags.has(ScriptFlags::NO_WRITES))
}

fn fcall_only_reads(shared: &Shared, request: RequestView<'_>) -> bool {
    let function = shared.scripts.libraries.lock().function(request.arg(1));
    function.is_some_and(|function| function.flags.has(ScriptFlags::NO_WRITES))
}

fn eval_scope(shared: &Shared, request: RequestView<'_>) -> Scope {
    known_scope(shared, &digest(request.arg(1)), request).unwrap_or_else(|| scope(may_select(request.arg(1)), request))
}

fn evalsha_scope(shared: &Shared, request: RequestView<'_>) -> Scope {
    sha(request.arg(1)).and_then(|sha| known_scope(shared, &sha, request)).unwrap_or(Scope::Keys)
}

/// The scope of a script that is known.
fn known_scope(shared: &Shared, sha: &Sha, request: RequestView<'_>) -> Option<Scope> {
    shared.scripts.cache.with(sha, |script| {
        if is_narrow(shared, script) { Scope::Keys } else { scope(script.selects.load(Relaxed), request) }
    })
}

/// Whether a script is certain to touch no key but those that its request declares.
fn is_narrow(shared: &Shared, script: &Script) -> bool {
    script
        .is_narrow(|call| shared.commands.find(&call.name).is_some_and(|command| touches_key_alone(command, call.key)))
}

/// Whether a command touches its first argument, if that is a `key`, and no other key.
fn touches_key_alone(command: &Command, key: bool) -> bool {
    let spec = command.spec;
    let keys = match spec.keys {
        [] => !key,
        [one] => key && one.begin == Begin::Index(1) && matches!(one.find, Find::Range { last: 0, .. }),
        _ => false,
    };
    keys && spec.own_keys.is_none() && spec.subcommands.is_empty() && matches!(spec.scope, Scope::Keys)
}

fn fcall_scope(shared: &Shared, request: RequestView<'_>) -> Scope {
    scope(shared.scripts.functions_select.load(Relaxed), request)
}
