//! `COMMAND`: what the command table says about itself.
//!
//! Invariant: everything is read from the rows. Must not know: any particular command. Source: the shapes of the replies
//! of Valkey 9.1.

use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::docs::{self, Argument, Kind};
use crate::call::error::CommandError;
use crate::call::help::help;
use crate::call::keys::declared_keys;
use crate::call::spec::{
    Begin, CATEGORY_NAMES, Categories, CommandSpec, FLAG_NAMES, Find, Flags, Group, KEY_FLAG_NAMES, KeyFlags, KeySpec,
    Outcome,
};
use crate::call::table::{Command, CommandTable};
use crate::protocol::batch::RequestView;
use crate::protocol::reply::Reply;
use crate::util::glob;

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[CommandSpec {
    name: "command",
    arity: -1,
    flags: Flags::LOADING.and(Flags::STALE),
    categories: Categories::CONNECTION,
    since: "2.8.13",
    group: Group::Server,
    summary: "Describes every command.",
    complexity: "O(N) with N being the number of commands",
    tips: &["nondeterministic_output_order"],
    subcommands: &[
        CommandSpec {
            name: "count",
            arity: 2,
            summary: "Counts the commands.",
            complexity: "O(1)",
            run: command_count,
            ..SUBCOMMAND
        },
        CommandSpec {
            name: "docs",
            arity: -2,
            since: "7.0.0",
            summary: "Documents some or all commands.",
            complexity: "O(N) with N being the number of commands that are documented",
            syntax: "[command-name:string...]",
            tips: &["nondeterministic_output_order"],
            run: command_docs,
            ..SUBCOMMAND
        },
        CommandSpec {
            name: "getkeys",
            arity: -3,
            summary: "Finds the keys in the arguments of a command.",
            complexity: "O(N) with N being the number of arguments",
            syntax: "command:string [arg:string...]",
            run: command_getkeys,
            ..SUBCOMMAND
        },
        CommandSpec {
            name: "getkeysandflags",
            arity: -3,
            since: "7.0.0",
            summary: "Finds the keys in the arguments of a command and what it does with each.",
            complexity: "O(N) with N being the number of arguments",
            syntax: "command:string [arg:string...]",
            run: command_getkeysandflags,
            ..SUBCOMMAND
        },
        CommandSpec {
            name: "help",
            arity: 2,
            since: "5.0.0",
            summary: "Lists the subcommands.",
            complexity: "O(1)",
            run: command_help,
            ..SUBCOMMAND
        },
        CommandSpec {
            name: "info",
            arity: -2,
            summary: "Describes some or all commands.",
            complexity: "O(N) with N being the number of commands that are described",
            syntax: "[command-name:string...]",
            tips: &["nondeterministic_output_order"],
            history: &[("7.0.0", "Describes every command when none is named.")],
            run: command_info,
            ..SUBCOMMAND
        },
        CommandSpec {
            name: "list",
            arity: -2,
            since: "7.0.0",
            summary: "Lists the names of commands.",
            complexity: "O(N) with N being the number of commands",
            syntax: "[FILTERBY filterby<MODULE module-name:string|ACLCAT category:string|PATTERN pattern:pattern>]",
            tips: &["nondeterministic_output_order"],
            run: command_list,
            ..SUBCOMMAND
        },
    ],
    run: command,
    ..CommandSpec::DEFAULT
}];

/// What the subcommands have in common.
const SUBCOMMAND: CommandSpec = CommandSpec {
    flags: Flags::LOADING.and(Flags::STALE),
    categories: Categories::CONNECTION,
    since: "2.8.13",
    group: Group::Server,
    ..CommandSpec::DEFAULT
};

/// `COMMAND`
///
/// Replies an array with the description of each command, see [`describe`]. O(commands).
fn command<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    let table = &ctx.shared.commands;
    ctx.reply.array(table.top_level().len());
    for command in table.top_level() {
        describe(&mut ctx.reply, table, command);
    }
    Ok(Outcome::Done)
}

/// `COMMAND COUNT`
///
/// Replies the number of commands, subcommands not counted. O(1).
fn command_count<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    ctx.reply.count(ctx.shared.commands.top_level().len());
    Ok(Outcome::Done)
}

/// `COMMAND INFO [command-name ...]`
///
/// Replies an array with the description of each named command, null for one that does not exist; without a name as
/// `COMMAND`. O(commands described).
fn command_info<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    if args.remaining() == 0 {
        return command(ctx, args);
    }
    let table = &ctx.shared.commands;
    ctx.reply.array(args.remaining());
    while args.remaining() > 0 {
        match by_full_name(table, args.bytes()?) {
            Some(command) => describe(&mut ctx.reply, table, command),
            None => ctx.reply.null(),
        }
    }
    Ok(Outcome::Done)
}

/// `COMMAND DOCS [command-name ...]`
///
/// Replies a map from names to documentation, see [`document`]; commands that do not exist are left out, and without a
/// name there are all. O(commands documented).
fn command_docs<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let table = &ctx.shared.commands;
    let mut wanted: Vec<&Command> = Vec::new();
    if args.remaining() == 0 {
        wanted.extend(table.top_level());
    }
    while args.remaining() > 0 {
        wanted.extend(by_full_name(table, args.bytes()?));
    }
    ctx.reply.map(wanted.len());
    for command in wanted {
        document(&mut ctx.reply, table, command);
    }
    Ok(Outcome::Done)
}

/// `COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]`
///
/// Replies the names of all commands and subcommands, or of those that the filter lets through. O(commands).
fn command_list<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let filter = Filter::read(args)?;
    args.finish()?;
    let all = ctx.shared.commands.all().iter();
    let names = all.filter(|command| filter.passes(command)).map(Command::full_name);
    let names: Vec<String> = names.collect();
    ctx.reply.array(names.len());
    for name in names {
        ctx.reply.bulk(name.as_bytes());
    }
    Ok(Outcome::Done)
}

/// `COMMAND GETKEYS command [arg ...]`
///
/// Replies an array of the keys among the arguments. O(arguments).
fn command_getkeys<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let request = ctx.request.from_arg(2);
    let keys = keys_of(&ctx.shared.commands, request)?;
    ctx.reply.array(keys.len());
    for (index, _) in keys {
        ctx.reply.bulk(request.arg(index));
    }
    Ok(Outcome::Done)
}

/// `COMMAND GETKEYSANDFLAGS command [arg ...]`
///
/// Replies an array of pairs: a key and what the command does with it. O(arguments).
fn command_getkeysandflags<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let request = ctx.request.from_arg(2);
    let keys = keys_of(&ctx.shared.commands, request)?;
    ctx.reply.array(keys.len());
    for (index, flags) in keys {
        ctx.reply.array(2);
        ctx.reply.bulk(request.arg(index));
        key_flags(&mut ctx.reply, flags);
    }
    Ok(Outcome::Done)
}

/// `COMMAND HELP`
///
/// Replies an array of lines. O(1).
fn command_help<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    help(
        &mut ctx.reply,
        "COMMAND",
        &[
            "(no subcommand)",
            "    Describe every command.",
            "COUNT",
            "    Tell how many commands there are.",
            "DOCS [<command-name> ...]",
            "    Document the named commands, or all.",
            "GETKEYS <full-command>",
            "    Find the keys of a command with its arguments.",
            "GETKEYSANDFLAGS <full-command>",
            "    Find the keys of a command and what it does with each.",
            "INFO [<command-name> ...]",
            "    Describe the named commands, or all.",
            "LIST [FILTERBY MODULE|ACLCAT|PATTERN <value>]",
            "    List the names of commands.",
        ],
    );
    Ok(Outcome::Done)
}

/// A command by `name` or `container|name`, in any letter case.
fn by_full_name<'t>(table: &'t CommandTable, name: &[u8]) -> Option<&'t Command> {
    match name.iter().position(|byte| *byte == b'|') {
        Some(bar) => table.find_sub(table.find(&name[..bar])?, &name[bar + 1..]),
        None => table.find(name),
    }
}

/// What COMMAND LIST lets through.
enum Filter<'a> {
    All,
    /// Commands of a module: there are none.
    Module,
    Category(&'a [u8]),
    Pattern(&'a [u8]),
}

impl<'a> Filter<'a> {
    fn read(args: &mut Args<'a>) -> Result<Filter<'a>, CommandError> {
        if !args.word("FILTERBY") {
            return Ok(Filter::All);
        }
        if args.word("MODULE") {
            args.bytes().map(|_| Filter::Module)
        } else if args.word("ACLCAT") {
            args.bytes().map(Filter::Category)
        } else if args.word("PATTERN") {
            args.bytes().map(Filter::Pattern)
        } else {
            Err(CommandError::Syntax)
        }
    }

    fn passes(&self, command: &Command) -> bool {
        match self {
            Filter::All => true,
            Filter::Module => false,
            Filter::Category(wanted) => CATEGORY_NAMES.iter().any(|(category, name)| {
                name.as_bytes().eq_ignore_ascii_case(wanted) && command.spec.acl_categories().has(*category)
            }),
            Filter::Pattern(pattern) => glob::matches(pattern, command.full_name().as_bytes(), true),
        }
    }
}

/// The keys of a request inside this one, and what is done with each.
fn keys_of(table: &CommandTable, request: RequestView<'_>) -> Result<Vec<(usize, KeyFlags)>, CommandError> {
    let found = table.find(request.arg(0)).and_then(|command| match request.get(1) {
        Some(sub) if !command.spec.subcommands.is_empty() => table.find_sub(command, sub),
        _ => Some(command),
    });
    let spec = found.ok_or(CommandError::text("ERR Invalid command specified"))?.spec;
    if spec.keys.iter().all(|key| key.flags.has(KeyFlags::NOT_KEY)) {
        return Err(CommandError::text("ERR The command has no key arguments"));
    }
    if !spec.accepts(request.argc()) {
        return Err(CommandError::text("ERR Invalid number of arguments specified for command"));
    }
    let mut keys = Vec::new();
    let result = declared_keys(spec, request, &mut |index, flags| {
        if !flags.has(KeyFlags::NOT_KEY) {
            keys.push((index, effective(spec, request, flags)));
        }
    });
    match result {
        Ok(()) if !keys.is_empty() => Ok(keys),
        _ if spec.flags.has(Flags::NO_MANDATORY_KEYS) => Ok(Vec::new()),
        _ => Err(CommandError::text("ERR Invalid arguments specified for command")),
    }
}

/// What a request does with a key: the row's flags, or those that the request chooses.
fn effective(spec: &CommandSpec, request: RequestView<'_>, flags: KeyFlags) -> KeyFlags {
    match spec.variable_flags {
        Some(choose) if flags.has(KeyFlags::VARIABLE_FLAGS) => choose(request),
        _ => flags,
    }
}

/// One command as `COMMAND INFO` shows it: name, arity, flags, first key, last key, step, categories, tips, key
/// specifications, subcommands.
fn describe(reply: &mut Reply<'_>, table: &CommandTable, command: &Command) {
    let spec = command.spec;
    reply.array(10);
    reply.bulk(command.full_name().as_bytes());
    reply.integer(i64::from(spec.arity));
    // As in Valkey, this one is not shown.
    let shown = |flag: Flags| spec.flags.has(flag) && flag != Flags::MAY_REPLICATE;
    named_set(reply, FLAG_NAMES.iter().filter(|(flag, _)| shown(*flag)).map(|(_, name)| *name));
    let legacy = Legacy::of(spec.keys);
    for number in [legacy.first, legacy.last, legacy.step] {
        reply.integer(number);
    }
    let categories = spec.acl_categories();
    let names = CATEGORY_NAMES.iter().filter(|(category, _)| categories.has(*category));
    let names: Vec<String> = names.map(|(_, name)| format!("@{name}")).collect();
    named_set(reply, names.iter().map(String::as_str));
    reply.set(spec.tips.len());
    spec.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.set(spec.keys.len());
    spec.keys.iter().for_each(|key| key_spec(reply, key));
    reply.array(spec.subcommands.len());
    for sub in table.subcommands_of(command) {
        describe(reply, table, sub);
    }
}

/// A set of simple strings.
fn named_set<'n>(reply: &mut Reply<'_>, names: impl Iterator<Item = &'n str> + Clone) {
    reply.set(names.clone().count());
    names.for_each(|name| reply.simple(name));
}

fn key_flags(reply: &mut Reply<'_>, flags: KeyFlags) {
    named_set(reply, KEY_FLAG_NAMES.iter().filter(|(flag, _)| flags.has(*flag)).map(|(_, name)| *name));
}

/// The first key, the last and the distance, as clients knew them before key specifications.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Legacy {
    first: i64,
    /// Negative: from the end.
    last: i64,
    step: i64,
}

impl Legacy {
    /// One range is told as it is. Of several specifications those count that are ranges of adjacent keys, each beginning
    /// behind the one before it; together they make one range.
    fn of(keys: &[KeySpec]) -> Legacy {
        let all: Vec<Option<Legacy>> = keys.iter().map(Legacy::range).collect();
        if let [one] = all[..] {
            return one.unwrap_or_default();
        }
        let (mut joined, mut before): (Option<Legacy>, i64) = (None, 0);
        for range in all {
            let Some(range) = range.filter(|range| range.step == 1 && (before == 0 || before == range.first - 1))
            else {
                before = 0;
                continue;
            };
            // A last key counted from the end lies behind every other.
            let later = |a: i64, b: i64| if a < 0 || b < 0 { a.min(b) } else { a.max(b) };
            joined = Some(match joined {
                Some(sum) => Legacy { first: sum.first.min(range.first), last: later(sum.last, range.last), step: 1 },
                None => range,
            });
            before = joined.map_or(0, |sum| sum.last);
        }
        joined.unwrap_or_default()
    }

    fn range(key: &KeySpec) -> Option<Legacy> {
        let (Begin::Index(first), Find::Range { last, step, .. }) = (key.begin, key.find) else { return None };
        let (first, step) = (i64::try_from(first).ok()?, i64::try_from(step).ok()?);
        let last = if last < 0 { i64::from(last) } else { first + i64::from(last) };
        Some(Legacy { first, last, step })
    }
}

fn key_spec(reply: &mut Reply<'_>, key: &KeySpec) {
    reply.map(3 + usize::from(!key.notes.is_empty()));
    if !key.notes.is_empty() {
        text(reply, "notes", key.notes);
    }
    reply.bulk(b"flags");
    key_flags(reply, key.flags);
    reply.bulk(b"begin_search");
    match key.begin {
        Begin::Index(index) => part(reply, "index", &[("index", Part::Count(index))]),
        Begin::Keyword(word, from) => {
            part(reply, "keyword", &[("keyword", Part::Text(word)), ("startfrom", Part::Number(from))]);
        }
        Begin::Unknown => part(reply, "unknown", &[]),
    }
    reply.bulk(b"find_keys");
    match key.find {
        Find::Range { last, step, limit } => {
            let (last, step, limit) = (Part::Number(last), Part::Count(step), Part::Count(limit));
            part(reply, "range", &[("lastkey", last), ("keystep", step), ("limit", limit)]);
        }
        Find::Count { number, first, step } => {
            let (number, first, step) = (Part::Count(number), Part::Count(first), Part::Count(step));
            part(reply, "keynum", &[("keynumidx", number), ("firstkey", first), ("keystep", step)]);
        }
        Find::Unknown => part(reply, "unknown", &[]),
    }
}

/// A value in one half of a key specification.
enum Part {
    Count(usize),
    Number(i32),
    Text(&'static str),
}

/// One half of a key specification: its type and what that type says.
fn part(reply: &mut Reply<'_>, kind: &str, fields: &[(&str, Part)]) {
    reply.map(2);
    text(reply, "type", kind);
    reply.bulk(b"spec");
    reply.map(fields.len());
    for (name, value) in fields {
        reply.bulk(name.as_bytes());
        match value {
            Part::Count(count) => reply.count(*count),
            Part::Number(number) => reply.integer(i64::from(*number)),
            Part::Text(text) => reply.bulk(text.as_bytes()),
        }
    }
}

/// A name and a text, as a pair of a map.
fn text(reply: &mut Reply<'_>, name: &str, text: &str) {
    reply.bulk(name.as_bytes());
    reply.bulk(text.as_bytes());
}

/// As [`text`], left out when the text is missing; replies how many pairs that made.
fn optional_text(reply: &mut Reply<'_>, name: &str, value: Option<&str>) -> usize {
    value.inspect(|value| text(reply, name, value)).map_or(0, |_| 1)
}

/// One command as `COMMAND DOCS` shows it: its name and a map.
fn document(reply: &mut Reply<'_>, table: &CommandTable, command: &Command) {
    let spec = command.spec;
    reply.bulk(command.full_name().as_bytes());
    let place = reply.deferred();
    text(reply, "summary", spec.summary);
    text(reply, "since", spec.since);
    text(reply, "group", spec.group.name());
    let mut pairs = 3 + optional_text(reply, "complexity", given(spec.complexity));
    let (deprecated_since, replaced_by) = (given(spec.deprecated.0), given(spec.deprecated.1));
    let flags = [(deprecated_since.is_some(), "deprecated"), (spec.internal, "syscmd")];
    let flags = flags.into_iter().filter(|(on, _)| *on).map(|(_, name)| name);
    if flags.clone().next().is_some() {
        reply.bulk(b"doc_flags");
        named_set(reply, flags);
        pairs += 1;
    }
    pairs += optional_text(reply, "deprecated_since", deprecated_since);
    pairs += optional_text(reply, "replaced_by", replaced_by);
    pairs += history(reply, spec.history);
    // A test parses the texts of all rows.
    pairs += arguments(reply, &docs::parse(spec.syntax).unwrap_or_default());
    if !spec.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(spec.subcommands.len());
        table.subcommands_of(command).for_each(|sub| document(reply, table, sub));
        pairs += 1;
    }
    reply.finish_map(place, pairs);
}

fn given(text: &'static str) -> Option<&'static str> {
    Some(text).filter(|text| !text.is_empty())
}

fn history(reply: &mut Reply<'_>, changes: &[(&str, &str)]) -> usize {
    if changes.is_empty() {
        return 0;
    }
    reply.bulk(b"history");
    reply.set(changes.len());
    for (version, change) in changes {
        reply.array(2);
        reply.bulk(version.as_bytes());
        reply.bulk(change.as_bytes());
    }
    1
}

/// The pair of `arguments`, left out when there are none; replies how many pairs that made.
fn arguments(reply: &mut Reply<'_>, list: &[Argument]) -> usize {
    if list.is_empty() {
        return 0;
    }
    reply.bulk(b"arguments");
    reply.array(list.len());
    list.iter().for_each(|one| argument(reply, one));
    1
}

fn argument(reply: &mut Reply<'_>, argument: &Argument) {
    let place = reply.deferred();
    text(reply, "name", argument.name);
    text(reply, "type", argument.kind.name());
    let shown = matches!(argument.kind, Kind::Value(_) | Kind::PureToken).then_some(argument.display);
    let mut pairs = 2 + optional_text(reply, "display_text", shown);
    if let Some(number) = argument.key_spec {
        reply.bulk(b"key_spec_index");
        reply.count(number);
        pairs += 1;
    }
    pairs += optional_text(reply, "token", argument.token);
    pairs += optional_text(reply, "summary", argument.summary);
    pairs += optional_text(reply, "since", argument.since);
    pairs += optional_text(reply, "deprecated_since", argument.deprecated_since);
    let flags =
        [(argument.optional, "optional"), (argument.multiple, "multiple"), (argument.multiple_token, "multiple_token")];
    let flags = flags.into_iter().filter(|(on, _)| *on).map(|(_, name)| name);
    if flags.clone().next().is_some() {
        reply.bulk(b"flags");
        named_set(reply, flags);
        pairs += 1;
    }
    pairs += arguments(reply, argument.kind.inner());
    reply.finish_map(place, pairs);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::GROUPS;

    fn legacy(keys: &[KeySpec]) -> (i64, i64, i64) {
        let Legacy { first, last, step } = Legacy::of(keys);
        (first, last, step)
    }

    #[test]
    fn legacy_triples() {
        const RO: KeyFlags = KeyFlags::RO;
        assert_eq!(legacy(&[]), (0, 0, 0));
        assert_eq!(legacy(&[KeySpec::one(1, RO)]), (1, 1, 1));
        assert_eq!(legacy(&[KeySpec::range(1, -1, 2, RO)]), (1, -1, 2));
        assert_eq!(legacy(&[KeySpec::range(2, -2, 1, RO)]), (2, -2, 1));
        assert_eq!(legacy(&[KeySpec::one(1, RO), KeySpec::one(2, RO)]), (1, 2, 1));
        assert_eq!(legacy(&[KeySpec::one(2, RO), KeySpec::range(3, -1, 1, RO)]), (2, -1, 1));
        assert_eq!(legacy(&[KeySpec::one(1, RO), KeySpec::counted(2, 1, RO)]), (1, 1, 1));
        assert_eq!(legacy(&[KeySpec::counted(1, 1, RO)]), (0, 0, 0));
        assert_eq!(legacy(&[KeySpec::one(1, RO), KeySpec::one(3, RO)]), (1, 1, 1));
    }

    #[test]
    fn the_syntax_of_every_row_is_understood() {
        let table = CommandTable::new(GROUPS);
        for command in table.all() {
            let arguments = docs::parse(command.spec.syntax);
            let printed = arguments.map(|arguments| docs::joined(&arguments, " "));
            assert_eq!(printed.as_deref(), Ok(command.spec.syntax), "{}", command.full_name());
        }
    }
}
