//! LATENCY: distributions of run times by command, and events that took longer than `latency-monitor-threshold`.
//!
//! Must not know: who measures; dispatch counts every run and reports the slow ones.

use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::help::help;
use crate::call::logs::LatencyEvent;
use crate::call::shared::Shared;
use crate::call::spec::{CommandSpec, Flags, Group, Outcome};
use crate::call::table::Command;
use std::collections::BTreeMap;

const FLAGS: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE);
const TIPS: &[&str] = &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[CommandSpec {
    name: "latency",
    arity: -2,
    since: "2.8.13",
    group: Group::Server,
    summary: "Commands about the time that commands take.",
    complexity: "Depends on the subcommand.",
    subcommands: &[
        CommandSpec {
            name: "doctor",
            arity: 2,
            flags: FLAGS,
            since: "2.8.13",
            group: Group::Server,
            summary: "Explains the latency events seen, in words.",
            complexity: "O(1)",
            tips: TIPS,
            run: latency_doctor,
            ..CommandSpec::DEFAULT
        },
        CommandSpec {
            name: "graph",
            arity: 3,
            flags: FLAGS,
            since: "2.8.13",
            group: Group::Server,
            summary: "Draws the history of an event in text.",
            complexity: "O(1)",
            syntax: "event:string",
            tips: TIPS,
            run: latency_graph,
            ..CommandSpec::DEFAULT
        },
        CommandSpec {
            name: "help",
            arity: 2,
            flags: Flags::LOADING.and(Flags::STALE),
            since: "2.8.13",
            group: Group::Server,
            summary: "Lists the subcommands of LATENCY.",
            complexity: "O(1)",
            run: latency_help,
            ..CommandSpec::DEFAULT
        },
        CommandSpec {
            name: "histogram",
            arity: -2,
            flags: FLAGS,
            since: "7.0.0",
            group: Group::Server,
            summary: "Shows how the run times of commands are distributed.",
            complexity: "O(N) with the number of commands shown.",
            syntax: "[command:string...]",
            tips: TIPS,
            run: latency_histogram,
            ..CommandSpec::DEFAULT
        },
        CommandSpec {
            name: "history",
            arity: 3,
            flags: FLAGS,
            since: "2.8.13",
            group: Group::Server,
            summary: "Shows times and durations of an event.",
            complexity: "O(1)",
            syntax: "event:string",
            tips: TIPS,
            run: latency_history,
            ..CommandSpec::DEFAULT
        },
        CommandSpec {
            name: "latest",
            arity: 2,
            flags: FLAGS,
            since: "2.8.13",
            group: Group::Server,
            summary: "Shows the newest sample of every event.",
            complexity: "O(1)",
            tips: TIPS,
            run: latency_latest,
            ..CommandSpec::DEFAULT
        },
        CommandSpec {
            name: "reset",
            arity: -2,
            flags: FLAGS,
            since: "2.8.13",
            group: Group::Server,
            summary: "Forgets the samples of some events, or of all.",
            complexity: "O(1)",
            syntax: "[event:string...]",
            tips: &["request_policy:all_nodes", "response_policy:agg_sum"],
            run: latency_reset,
            ..CommandSpec::DEFAULT
        },
    ],
    ..CommandSpec::DEFAULT
}];

// HISTOGRAM

/// `LATENCY HISTOGRAM [command ...]`: for each command that has run, its calls and how many of them took up to so many
/// microseconds, cumulated over powers of two. A container's name stands for its subcommands; unknown names are left out.
fn latency_histogram<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let table = &ctx.shared.commands;
    let mut chosen: Vec<&Command> = Vec::new();
    if args.remaining() == 0 {
        table.top_level().iter().for_each(|command| with_subcommands(ctx.shared, command, &mut chosen));
    }
    while args.remaining() > 0 {
        if let Some(command) = find(ctx.shared, args.bytes()?) {
            with_subcommands(ctx.shared, command, &mut chosen);
        }
    }
    let place = ctx.reply.deferred();
    let shown = chosen.iter().filter(|command| show_distribution(ctx, command)).count();
    ctx.reply.finish_map(place, shown);
    Ok(Outcome::Done)
}

/// Finds `name` or `container|name`.
fn find<'s>(shared: &'s Shared, name: &[u8]) -> Option<&'s Command> {
    let mut words = name.splitn(2, |byte| *byte == b'|');
    let command = shared.commands.find(words.next()?)?;
    match words.next() {
        Some(subcommand) => shared.commands.find_sub(command, subcommand),
        None => Some(command),
    }
}

fn with_subcommands<'s>(shared: &'s Shared, command: &'s Command, chosen: &mut Vec<&'s Command>) {
    chosen.push(command);
    if !command.spec.subcommands.is_empty() && command.parent.is_none() {
        chosen.extend(shared.commands.subcommands_of(command));
    }
}

/// Calls by the power of two of nanoseconds below which they took, over all workers.
fn distribution(shared: &Shared, command: &Command) -> BTreeMap<u32, u64> {
    let mut levels = BTreeMap::new();
    for worker in &shared.stats.workers {
        let histogram = worker.commands.get(command.id).and_then(|stats| stats.histogram());
        for bucket in histogram.iter().flat_map(|histogram| histogram.iter()).filter(|bucket| bucket.count() > 0) {
            *levels.entry(level(bucket.start())).or_insert(0) += bucket.count();
        }
    }
    levels
}

/// The power of two above `nanos`; all below a microsecond (1024 ns) are one level.
fn level(nanos: u64) -> u32 {
    (u64::BITS - nanos.leading_zeros()).max(10)
}

/// The microseconds that name a level. Valkey counts in steps of 1/128 and names a level by the end of its last step; it
/// has no levels beyond a second, where the power itself is the name.
fn level_micros(level: u32) -> i64 {
    let step = if level < 30 { 1_i64 << (level - 7) } else { 0 };
    ((1_i64 << level.min(62)) + step - 1) / 1000
}

/// `false` when the command has not run.
fn show_distribution(ctx: &mut Context<'_>, command: &Command) -> bool {
    let levels = distribution(ctx.shared, command);
    if levels.is_empty() {
        return false;
    }
    let reply = &mut ctx.reply;
    reply.bulk(command.full_name().as_bytes());
    reply.map(2);
    reply.bulk(b"calls");
    reply.integer(signed(levels.values().sum()));
    reply.bulk(b"histogram_usec");
    reply.map(levels.len());
    let mut calls = 0;
    for (level, count) in levels {
        calls += count;
        reply.integer(level_micros(level));
        reply.integer(signed(calls));
    }
    true
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

// Events

/// `LATENCY LATEST`: of each event its name, newest sample (time, milliseconds), maximum, sum and number of samples.
fn latency_latest<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let events = ctx.shared.latency.events();
    let reply = &mut ctx.reply;
    reply.array(events.len());
    for (name, event) in events {
        let (second, ms) = event.samples.back().copied().unwrap_or_default();
        reply.array(6);
        reply.bulk(name.as_bytes());
        reply.integer(second);
        for amount in [ms, event.max_ms, event.sum_ms, event.count] {
            reply.integer(signed(amount));
        }
    }
    Ok(Outcome::Done)
}

fn event_of(ctx: &Context<'_>, name: &[u8]) -> Option<LatencyEvent> {
    let found = ctx.shared.latency.events().into_iter().find(|(event, _)| event.as_bytes() == name);
    found.map(|(_, event)| event)
}

/// `LATENCY HISTORY event`: times and milliseconds, oldest first; empty for an unknown event.
fn latency_history<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let event = event_of(ctx, args.bytes()?).unwrap_or_default();
    ctx.reply.array(event.samples.len());
    for (second, ms) in event.samples {
        ctx.reply.array(2);
        ctx.reply.integer(second);
        ctx.reply.integer(signed(ms));
    }
    Ok(Outcome::Done)
}

/// `LATENCY RESET [event ...]`: replies the number of events forgotten. Letter case does not matter, as in Valkey.
fn latency_reset<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let mut names = Vec::with_capacity(args.remaining());
    while args.remaining() > 0 {
        names.push(args.bytes()?);
    }
    ctx.reply.count(ctx.shared.latency.reset(&names));
    Ok(Outcome::Done)
}

// GRAPH

/// Columns of a graph; more samples go on below.
const GRAPH_COLUMNS: usize = 80;
/// Rows of a graph.
const GRAPH_ROWS: usize = 4;
/// Heights within a row, low to high.
const GRAPH_GLYPHS: &[u8; 3] = b"_o#";

/// `LATENCY GRAPH event`: a column a sample, oldest first, its age below.
fn latency_graph<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let name = args.bytes()?;
    let Some(event) = event_of(ctx, name).filter(|event| !event.samples.is_empty()) else {
        return Err(CommandError::Bytes([b"ERR No samples available for event '", name, b"'"].concat()));
    };
    let text = graph(&String::from_utf8_lossy(name), &event, ctx.now.seconds());
    ctx.reply.verbatim(*b"txt", text.as_bytes());
    Ok(Outcome::Done)
}

fn graph(name: &str, event: &LatencyEvent, now_s: i64) -> String {
    let durations = event.samples.iter().map(|(_, ms)| *ms);
    let (high, low) = (durations.clone().max().unwrap_or(0), durations.min().unwrap_or(0));
    let mut text = format!("{name} - high {high} ms, low {low} ms (all time high {} ms)\n", event.max_ms);
    text.push_str(&"-".repeat(GRAPH_COLUMNS));
    text.push('\n');
    let samples: Vec<(i64, u64)> = event.samples.iter().copied().collect();
    for (index, part) in samples.chunks(GRAPH_COLUMNS).enumerate() {
        if index > 0 {
            text.push('\n');
        }
        draw(part, low, high, now_s, &mut text);
    }
    text
}

/// Draws one band: the columns, a line of spaces, and the ages from top to bottom.
fn draw(samples: &[(i64, u64)], low: u64, high: u64, now_s: i64, text: &mut String) {
    for row in (0..GRAPH_ROWS).rev() {
        text.extend(samples.iter().map(|(_, ms)| char::from(glyph(height(*ms, low, high), row))));
        text.push('\n');
    }
    let ages: Vec<String> = samples.iter().map(|(second, _)| age(now_s - second)).collect();
    let longest = ages.iter().map(String::len).max().unwrap_or(0);
    text.push_str(&" ".repeat(samples.len()));
    text.push('\n');
    for row in 0..longest {
        text.extend(ages.iter().map(|age| age.as_bytes().get(row).map_or(' ', |byte| char::from(*byte))));
        text.push('\n');
    }
}

/// Steps from the lowest sample, at most `GRAPH_ROWS * 3 - 1`.
fn height(ms: u64, low: u64, high: u64) -> usize {
    let steps = (GRAPH_ROWS * GRAPH_GLYPHS.len() - 1) as u64;
    let range = (high - low).max(1);
    usize::try_from(u128::from(ms - low) * u128::from(steps) / u128::from(range)).unwrap_or(0)
}

fn glyph(height: usize, row: usize) -> u8 {
    match (height / GRAPH_GLYPHS.len()).cmp(&row) {
        std::cmp::Ordering::Less => b' ',
        std::cmp::Ordering::Equal => GRAPH_GLYPHS[height % GRAPH_GLYPHS.len()],
        std::cmp::Ordering::Greater => b'|',
    }
}

fn age(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{}s", seconds.max(0)),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

// DOCTOR

/// `LATENCY DOCTOR`: a report in words.
fn latency_doctor<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    ctx.reply.verbatim(*b"txt", diagnosis(ctx.shared).as_bytes());
    Ok(Outcome::Done)
}

fn diagnosis(shared: &Shared) -> String {
    let (events, threshold) = (shared.latency.events(), shared.config.latency_monitor_threshold_ms());
    if events.is_empty() && threshold == 0 {
        return "Latency events are not recorded. CONFIG SET latency-monitor-threshold <milliseconds> turns that on.\n"
            .to_owned();
    }
    if events.is_empty() {
        return format!("No event took {threshold} ms or longer since recording began.\n");
    }
    let mut text = format!("{} kinds of events took long:\n\n", events.len());
    for (number, (name, event)) in events.iter().enumerate() {
        text.push_str(&format!("{}. {}\n", number + 1, account(name, event)));
    }
    text.push_str("\nWhat may help:\n\n");
    for advice in advice(shared, &events) {
        text.push_str(&format!("- {advice}\n"));
    }
    text
}

fn account(name: &str, event: &LatencyEvent) -> String {
    let mean = event.sum_ms / event.count.max(1);
    let (first, last) = (event.samples.front(), event.samples.back());
    let span = first.zip(last).map_or(0, |(first, last)| last.0 - first.0);
    format!("{name}: {} times, {mean} ms on average, {} ms at most, within {span} s.", event.count, event.max_ms)
}

fn advice(shared: &Shared, events: &BTreeMap<&'static str, LatencyEvent>) -> Vec<String> {
    let mut advice = Vec::new();
    let slower_than = shared.config.slowlog_log_slower_than_us();
    let threshold = signed(shared.config.latency_monitor_threshold_ms()).saturating_mul(1000);
    if events.contains_key("command") || events.contains_key("fast-command") {
        if slower_than < 0 || slower_than > threshold.max(1000) {
            advice.push(format!("CONFIG SET slowlog-log-slower-than {} to see them in SLOWLOG.", threshold.max(1000)));
        }
        advice.push("SLOWLOG GET names the commands; those over many keys or large values can be split.".to_owned());
    }
    if events.contains_key("fast-command") {
        advice.push("Fast commands were slow: look for other load on the machine, swapping and few cores.".to_owned());
    }
    if advice.is_empty() {
        advice.push("Compare the times of the events (LATENCY HISTORY) with the load of the machine.".to_owned());
    }
    advice
}

/// `LATENCY HELP`.
fn latency_help<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    help(
        &mut ctx.reply,
        "LATENCY",
        &[
            "DOCTOR",
            "    Explain the recorded events in words.",
            "GRAPH <event>",
            "    Draw the samples of <event>, oldest first.",
            "HISTOGRAM [<command> ...]",
            "    Show how the run times of the commands, or of all, are distributed.",
            "HISTORY <event>",
            "    Show times and durations of <event>.",
            "LATEST",
            "    Show the newest sample of every event.",
            "RESET [<event> ...]",
            "    Forget the samples of the events, or of all.",
        ],
    );
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_named_as_valkey_names_them() {
        let named: Vec<i64> = (10..31).map(level_micros).collect();
        let micros = [1, 2, 4, 8, 16, 33, 66, 132, 264, 528, 1056, 2113, 4227, 8454, 16908, 33816];
        assert_eq!(named[..16], micros);
        assert_eq!(named[20], 1_073_741);
    }

    #[test]
    fn durations_find_their_level() {
        assert_eq!([0, 1, 1023, 1024, 2047, 2048].map(level), [10, 10, 10, 11, 11, 12]);
    }

    #[test]
    fn a_graph_has_a_column_a_sample() {
        let samples = [(100, 12), (102, 22), (110, 700), (111, 1500)];
        let event = LatencyEvent { samples: samples.into(), max_ms: 1500, sum_ms: 2234, count: 4 };
        let text = graph("command", &event, 128);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "command - high 1500 ms, low 12 ms (all time high 1500 ms)");
        assert_eq!(lines[2..], ["   #", "   |", "  #|", "__||", "    ", "2211", "8687", "ssss"]);
    }
}
