//! MODULE, for clients that ask which modules there are: none, now or later.
//!
//! What would load one fails as it does in a server that is given a file that is none.

use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::help;
use crate::call::spec::{CommandSpec, Flags, Group, Outcome};

const LOADS: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::NO_ASYNC_LOADING);

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[CommandSpec {
    name: "module",
    arity: -2,
    since: "4.0.0",
    group: Group::Server,
    summary: "Commands about modules, of which there are none.",
    complexity: "That of the subcommand.",
    subcommands: &[
        CommandSpec {
            name: "help",
            arity: 2,
            flags: Flags::LOADING.and(Flags::STALE),
            since: "5.0.0",
            group: Group::Server,
            summary: "Explains the subcommands.",
            complexity: "O(1)",
            run: module_help,
            ..CommandSpec::DEFAULT
        },
        CommandSpec {
            name: "list",
            arity: 2,
            flags: Flags::ADMIN.and(Flags::NOSCRIPT),
            since: "4.0.0",
            group: Group::Server,
            summary: "Answers an empty list.",
            complexity: "O(1)",
            tips: &["nondeterministic_output_order"],
            run: list,
            ..CommandSpec::DEFAULT
        },
        CommandSpec {
            name: "load",
            arity: -3,
            flags: LOADS,
            since: "4.0.0",
            group: Group::Server,
            summary: "Fails: no module can be loaded.",
            complexity: "O(1)",
            syntax: "path:string [arg:string...]",
            run: load,
            ..CommandSpec::DEFAULT
        },
        CommandSpec {
            name: "loadex",
            arity: -3,
            flags: LOADS,
            since: "7.0.0",
            group: Group::Server,
            summary: "Fails: no module can be loaded.",
            complexity: "O(1)",
            syntax: "path:string [CONFIG configs(name:string value:string)...+] [ARGS args:string...]",
            run: load,
            ..CommandSpec::DEFAULT
        },
        CommandSpec {
            name: "unload",
            arity: 3,
            flags: LOADS,
            since: "4.0.0",
            group: Group::Server,
            summary: "Fails: there is no module of any name.",
            complexity: "O(1)",
            syntax: "name:string",
            run: unload,
            ..CommandSpec::DEFAULT
        },
    ],
    ..CommandSpec::DEFAULT
}];

/// Whether the client may try, by `enable-module-command`.
fn permit(ctx: &Context<'_>) -> Result<(), CommandError> {
    const TEXT: &str = "ERR MODULE command not allowed. If the enable-module-command option is set to \"local\", you \
                        can run it from a local connection, otherwise you need to set this option in the \
                        configuration file, and then restart the server.";
    let allowed = ctx.shared.config.enable_module_command().allows(ctx.session.client.is_local());
    if allowed { Ok(()) } else { Err(CommandError::text(TEXT)) }
}

/// `MODULE LIST`
///
/// Replies an empty array. O(1).
fn list<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    ctx.reply.array(0);
    Ok(Outcome::Done)
}

/// `MODULE LOAD path [arg ...]`, `MODULE LOADEX path [CONFIG name value ...] [ARGS arg ...]`
fn load<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    permit(ctx)?;
    tracing::warn!("No module can be loaded: larder has none");
    Err(CommandError::text("ERR Error loading the extension. Please check the server logs."))
}

/// `MODULE UNLOAD name`
fn unload<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    permit(ctx)?;
    Err(CommandError::text("ERR Error unloading module: no such module with that name"))
}

/// `MODULE HELP`
fn module_help<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    let lines = &[
        "LIST",
        "    Answer an empty list: there are no modules.",
        "LOAD <path> [<arg> ...]",
        "    Fail.",
        "LOADEX <path> [CONFIG <name> <value> ...] [ARGS <arg> ...]",
        "    Fail.",
        "UNLOAD <name>",
        "    Fail.",
    ];
    help::help(&mut ctx.reply, "MODULE", lines);
    Ok(Outcome::Done)
}
