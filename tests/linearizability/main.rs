//! Proves, history by history, that larder's commands and transactions happen one after another: on many keys in many
//! shards, on several workers, through pipelines, with clients that are killed, keys that expire and keys that are evicted.
//!
//! `cargo test --test linearizability` makes a few histories. Many:
//!
//! ```text
//! HISTORIES=500 SEED=1 cargo test --release --test linearizability -- --nocapture larder_is_linearizable
//! ```
//!
//! `FLAVOUR=Lists` makes histories of one kind only (the names stand in `workload.rs`); LARDER and LARDER_OPTIONS name
//! another program and its options. What is checked of a history is in `checker.rs` and `model.rs`; that the checker sees
//! what is wrong is proved in `planted.rs`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checker;
mod client;
mod drive;
mod history;
mod model;
mod planted;
mod workload;

use checker::{Verdict, check};
use history::{Operation, parts};
use model::Part;
use workload::{FLAVOURS, Flavour};

/// Configurations after which a part is left undecided: some gigabytes of memory and a minute at most.
const BUDGET: usize = 3_000_000;

/// A server serves so many histories: each server hashes keys in its own way.
const HISTORIES_A_SERVER: u64 = 40;

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().expect("a number"))
}

#[derive(Default, Debug)]
struct Count {
    histories: u64,
    operations: usize,
    unanswered: usize,
    aborted: usize,
    /// Operations that another of the same part overlapped in time.
    overlapping: usize,
    parts: usize,
    undecided: usize,
}

impl Count {
    /// Checks a history; returns what is wrong with it.
    fn check(&mut self, flavour: Flavour, history: &[Operation]) -> Option<String> {
        self.histories += 1;
        self.operations += history.len();
        self.unanswered += history.iter().filter(|operation| operation.answer == history::Answer::None).count();
        self.aborted += history.iter().filter(|operation| operation.answer == history::Answer::Aborted).count();
        for operations in parts(history) {
            self.parts += 1;
            let spans: Vec<_> = operations.iter().map(Operation::span).collect();
            self.overlapping += overlapping(&operations);
            let part = Part { operations, vanishing: flavour == Flavour::Vanishing };
            match check(&part, &spans, BUDGET) {
                Verdict::Linearizable => {}
                Verdict::Undecided => self.undecided += 1,
                Verdict::Violation { done, stuck } => return Some(story(&part.operations, &done, &stuck)),
            }
        }
        None
    }
}

/// How many operations were called before one that was called earlier had returned, from another process.
fn overlapping(operations: &[Operation]) -> usize {
    let mut order: Vec<&Operation> = operations.iter().collect();
    order.sort_unstable_by_key(|operation| operation.called);
    let mut latest: [(u64, u32); 2] = [(0, u32::MAX); 2]; // the last returns of two processes
    let mut count = 0;
    for operation in order {
        count +=
            usize::from(latest.iter().any(|(end, process)| *process != operation.process && *end > operation.called));
        let mine = latest.iter().position(|(_, process)| *process == operation.process);
        let place = mine.unwrap_or(usize::from(latest[1].0 <= latest[0].0));
        if operation.returned > latest[place].0 {
            latest[place] = (operation.returned, operation.process);
        }
    }
    count
}

/// The operations at the end of the longest order, and those that cannot follow.
fn story(operations: &[Operation], done: &[usize], stuck: &[usize]) -> String {
    let line = |number: &usize| {
        let Operation { process, action, answer, called, returned } = &operations[*number];
        format!("  {:>9}..{:<9} us  process {process:<4} {action:?} -> {answer:?}\n", called / 1000, returned / 1000)
    };
    let mut last = done.to_vec();
    last.sort_unstable_by_key(|number| operations[*number].returned);
    let last = &last[last.len().saturating_sub(60)..];
    let (last, stuck): (String, String) = (last.iter().map(line).collect(), stuck.iter().map(line).collect());
    format!(
        "{} of {} operations have an order, the last of them\n{last}and then none of\n{stuck}",
        done.len(),
        operations.len()
    )
}

#[test]
fn larder_is_linearizable() {
    let (histories, seed) = (setting("HISTORIES", 16), setting("SEED", 1));
    let wanted = std::env::var("FLAVOUR").ok();
    let flavours: Vec<Flavour> = FLAVOURS
        .into_iter()
        .filter(|flavour| wanted.as_ref().is_none_or(|name| *name == format!("{flavour:?}")))
        .collect();
    assert!(!flavours.is_empty(), "no such flavour: {wanted:?}");
    let (mut count, mut server, mut wrong) = (Count::default(), drive::Server::start(), Vec::new());
    for number in 0..histories {
        if number > 0 && number % HISTORIES_A_SERVER == 0 {
            server = drive::Server::start();
        }
        // Flavours in turn, each with and without kills.
        let place = usize::try_from(number / 2).unwrap() % flavours.len();
        let flavour = flavours[place];
        let history = drive::history(&server, flavour, seed + number);
        if let Some(story) = count.check(flavour, &history) {
            println!("{flavour:?}, seed {}: not linearizable\n{story}", seed + number);
            wrong.push((flavour, seed + number));
        }
    }
    println!("{count:?}");
    assert!(wrong.is_empty(), "not linearizable: {wrong:?}");
    assert!(count.undecided * 200 <= count.parts, "too many parts were left undecided: {count:?}");
}
