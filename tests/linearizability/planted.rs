//! A server of the imagination, right or with one fault, and clients of it: what the checker has to accept and what it has
//! to see.
//!
//! Time passes in steps. At each step one client calls a batch of operations, has one executed, gets one answer, or loses
//! its connection. A fault spoils an execution now and then.

use crate::checker::{Verdict, check};
use crate::history::{Action, Answer, Command, Operation, Reply, parts};
use crate::model::{Part, State};
use crate::workload::{Flavour, Workload};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::VecDeque;

/// What the server does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    Nothing,
    /// An increment is answered and not stored, as if another had overwritten it.
    LostUpdate,
    /// A read is answered from a former state.
    StaleRead,
    /// MSET writes its keys one after another.
    TornMset,
    /// MGET reads its keys one after another.
    TornMget,
    /// What a transaction has written so far is seen before it has written the rest.
    DirtyRead,
    /// Some commands of a transaction see what was there before others wrote.
    FracturedRead,
    /// EXEC goes ahead though a watched key has changed.
    MissedWatch,
    /// EXEC gives up though no watched key has changed.
    NeedlessAbort,
    /// Two requests of a pipeline are executed in the wrong order.
    Reordered,
    /// An element is given out and stays.
    DoublePop,
    /// An element disappears with the one that is given out.
    LostPop,
    /// LMOVE takes here and gives there later.
    TornMove,
    /// RENAME writes here and removes there later.
    TornRename,
    /// A key that has expired is there again.
    ExpiryTakenBack,
    /// A key expires long before its time.
    ExpiryTooEarly,
    /// A key that was deleted is there again.
    Resurrected,
    /// A write is answered first and executed later.
    LateWrite,
    /// What a client sent is executed long after its connection was closed.
    GhostWrite,
}

const CLIENTS: u32 = 16;
const OPERATIONS: usize = 300;
const BUDGET: usize = 1_000_000;

/// A step takes up to this many nanoseconds.
const STEP: u64 = 50_000;

/// How often a fault strikes where it can.
const RATE: f64 = 0.1;

struct Client {
    workload: Workload,
    process: u32,
    issued: usize,
    called: VecDeque<usize>,
    executed: VecDeque<usize>,
}

type Late = Box<dyn FnOnce(&mut State)>;

struct World {
    fault: Fault,
    random: StdRng,
    now: u64,
    state: State,
    /// Former states, with their times.
    former: VecDeque<(u64, State)>,
    /// What happens in so many executions.
    late: Vec<(u32, Late)>,
    history: Vec<Operation>,
    clients: Vec<Client>,
    /// How often the fault struck.
    struck: usize,
    kills: bool,
}

fn imagine(fault: Fault, flavour: Flavour, seed: u64) -> World {
    let client = |number| Client {
        workload: Workload::new(flavour, seed, number),
        process: number,
        issued: 0,
        called: VecDeque::new(),
        executed: VecDeque::new(),
    };
    let mut world = World {
        fault,
        random: StdRng::seed_from_u64(seed),
        now: 1_000_000_000,
        state: State::default(),
        former: VecDeque::new(),
        late: Vec::new(),
        history: Vec::new(),
        clients: (0..CLIENTS).map(client).collect(),
        struck: 0,
        kills: seed % 2 == 1 || fault == Fault::GhostWrite,
    };
    while world.clients.iter().any(|client| !client.is_done()) {
        world.step();
    }
    world
}

impl Client {
    fn is_done(&self) -> bool {
        self.issued >= OPERATIONS && self.called.is_empty() && self.executed.is_empty()
    }
}

impl World {
    fn step(&mut self) {
        self.now += self.random.random_range(1..STEP);
        let number = self.random.random_range(0..self.clients.len());
        let client = &self.clients[number];
        if client.is_done() {
        } else if client.called.is_empty() && client.executed.is_empty() {
            self.call(number);
        } else if self.kills && self.random.random_bool(0.004) {
            self.kill(number);
        } else if !client.called.is_empty() && (client.executed.is_empty() || self.random.random_bool(0.5)) {
            self.execute(number);
        } else if let Some(operation) = self.clients[number].executed.pop_front() {
            self.history[operation].returned = self.now;
            let Operation { action, answer, .. } = &self.history[operation];
            self.clients[number].workload.observe(action, answer);
        }
    }

    fn call(&mut self, number: usize) {
        let client = &mut self.clients[number];
        for action in client.workload.batch() {
            client.issued += 1;
            client.called.push_back(self.history.len());
            let (process, answer) = (client.process, Answer::None);
            self.history.push(Operation { process, action, answer, called: self.now, returned: u64::MAX });
        }
    }

    fn kill(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let executed: Vec<usize> = client.executed.drain(..).collect();
        let called: Vec<usize> = client.called.drain(..).collect();
        client.process += CLIENTS;
        client.workload.reconnected();
        for operation in executed.into_iter().chain(called.iter().copied()) {
            (self.history[operation].answer, self.history[operation].returned) = (Answer::None, self.now);
        }
        let first = called.first().map(|operation| self.history[*operation].clone());
        if let Some(operation) = first.filter(|_| self.fault == Fault::GhostWrite) {
            self.struck += 1;
            self.later(move |state| {
                state.answer(&operation);
            });
        }
    }

    /// Does something some executions from now.
    fn later(&mut self, act: impl FnOnce(&mut State) + 'static) {
        let executions = self.random.random_range(10..60);
        self.late.push((executions, Box::new(act)));
    }

    fn execute(&mut self, number: usize) {
        self.pass_time();
        let client = &mut self.clients[number];
        let swapped = self.fault == Fault::Reordered && client.called.len() > 1 && self.random.random_bool(RATE);
        if swapped {
            // The answers go to the right requests: only the order is wrong.
            let (first, second) = (client.called[0], client.called[1]);
            for operation in [second, first] {
                self.run(operation);
            }
            self.struck += 1;
            self.clients[number].called.drain(..2);
            self.clients[number].executed.extend([first, second]);
        } else if let Some(operation) = client.called.pop_front() {
            self.run(operation);
            self.clients[number].executed.push_back(operation);
        }
    }

    fn pass_time(&mut self) {
        self.former.push_back((self.now, self.state.clone()));
        if self.former.len() > 100 {
            self.former.pop_front();
        }
        let mut late = std::mem::take(&mut self.late);
        late.iter_mut().for_each(|(executions, _)| *executions -= 1);
        for (_, act) in late.extract_if(.., |(executions, _)| *executions == 0) {
            act(&mut self.state);
        }
        self.late.append(&mut late);
        for key in self.state.keys() {
            if self.state.is_due(key, self.now) {
                self.state.lose(key);
            }
        }
    }

    fn run(&mut self, number: usize) {
        let mut operation = self.history[number].clone();
        let called = operation.called;
        (operation.called, operation.returned) = (self.now, self.now);
        let spoil = self.random.random_bool(RATE);
        let answer = if spoil { self.spoiled(&operation, called) } else { None };
        self.struck += usize::from(answer.is_some());
        self.history[number].answer = answer.unwrap_or_else(|| self.state.answer(&operation));
    }

    /// Executes an operation wrongly, if the fault can strike here; `called`: when it was called.
    fn spoiled(&mut self, operation: &Operation, called: u64) -> Option<Answer> {
        let command = match &operation.action {
            Action::Run(command) => Some(command.clone()),
            _ => None,
        };
        let single = |command| Operation { action: Action::Run(command), ..operation.clone() };
        let before = self.state.clone();
        match (self.fault, command) {
            (Fault::LostUpdate, Some(Command::IncrBy(..)))
            | (Fault::DoublePop, Some(Command::RPop(_) | Command::LPop(_))) => {
                let answer = self.state.answer(operation);
                self.state = before;
                Some(answer)
            }
            (Fault::StaleRead, Some(Command::Get(_) | Command::MGet(_) | Command::LRange(_) | Command::LLen(_))) => {
                let mut stale = self.former.iter().rev().find(|(time, _)| *time + 1_000_000 < called)?.1.clone();
                Some(stale.answer(operation))
            }
            (Fault::LostPop, Some(Command::RPop(key) | Command::LPop(key))) => {
                let answer = self.state.answer(operation);
                self.state.answer(&single(Command::RPop(key)));
                Some(answer)
            }
            (Fault::TornMset, Some(Command::MSet(pairs))) if pairs.len() > 1 => {
                self.state.answer(&single(Command::MSet(pairs[..1].to_vec())));
                let rest = single(Command::MSet(pairs[1..].to_vec()));
                self.later(move |state| {
                    state.answer(&rest);
                });
                Some(Answer::Reply(Reply::Ok))
            }
            (Fault::TornMget, Some(Command::MGet(keys))) if keys.len() > 1 => {
                let former = self.former.front()?.1.clone();
                let read = |mut state: State, keys: &[usize]| match state.answer(&single(Command::MGet(keys.to_vec())))
                {
                    Answer::Reply(Reply::List(values)) => values,
                    _ => Vec::new(),
                };
                Some(Answer::Reply(Reply::List([read(former, &keys[..1]), read(before, &keys[1..])].concat())))
            }
            (Fault::TornRename, Some(Command::Rename(from, to))) if from != to && before.keys().contains(&from) => {
                let answer = self.state.answer(operation);
                self.state.restore(from, &before);
                self.later(move |state| state.lose(from));
                Some(answer)
            }
            (Fault::TornMove, Some(Command::LMove(from, to))) => {
                let answer = self.state.answer(&single(Command::RPop(from)));
                if let Answer::Reply(Reply::Text(element)) = answer {
                    let rest = single(Command::LPush(to, element));
                    self.later(move |state| {
                        state.answer(&rest);
                    });
                }
                Some(answer)
            }
            (Fault::ExpiryTooEarly, Some(Command::Set(key, _, Some(20..)))) => {
                let answer = self.state.answer(operation);
                self.later(move |state| state.lose(key));
                Some(answer)
            }
            (Fault::Resurrected, Some(Command::Del(keys))) if before.keys().contains(&keys[0]) => {
                let answer = self.state.answer(operation);
                self.later(move |state| state.restore(keys[0], &before));
                Some(answer)
            }
            (Fault::LateWrite, Some(Command::Set(..))) => {
                let late = operation.clone();
                self.later(move |state| {
                    state.answer(&late);
                });
                Some(Answer::Reply(Reply::Ok))
            }
            (Fault::ExpiryTakenBack, Some(Command::Get(key))) if !before.keys().contains(&key) => {
                let (_, former) = self.former.iter().rev().find(|(_, former)| former.keys().contains(&key))?;
                former.is_due(key, self.now).then(|| former.clone().answer(operation))
            }
            (Fault::DirtyRead, None) => self.dirty_exec(operation),
            (Fault::FracturedRead, None) => self.fractured_exec(operation),
            (Fault::MissedWatch, None) => {
                self.state.forget_changes();
                Some(self.state.answer(operation))
            }
            (Fault::NeedlessAbort, None) => {
                let watched = matches!(&operation.action, Action::Exec(_, watched) if !watched.is_empty());
                self.state.answer(operation);
                self.state = before;
                watched.then_some(Answer::Aborted)
            }
            _ => None,
        }
    }

    /// A transaction that is not watched, with its first command executed now and the others later.
    fn dirty_exec(&mut self, operation: &Operation) -> Option<Answer> {
        let Action::Exec(commands, watched) = &operation.action else { return None };
        let mut whole = self.state.clone();
        let answer = whole.answer(operation);
        if !watched.is_empty() {
            return None;
        }
        let part = |commands: &[Command]| Operation {
            action: Action::Exec(commands.to_vec(), Vec::new()),
            ..operation.clone()
        };
        self.state.answer(&part(&commands[..1]));
        let rest = part(&commands[1..]);
        self.later(move |state| {
            state.answer(&rest);
        });
        Some(answer)
    }

    /// Every second command of a transaction is answered from a former state.
    fn fractured_exec(&mut self, operation: &Operation) -> Option<Answer> {
        let Action::Exec(commands, watched) = &operation.action else { return None };
        if !watched.is_empty() {
            return None;
        }
        let mut replies = Vec::new();
        for (index, command) in commands.iter().enumerate() {
            let single = Operation { action: Action::Run(command.clone()), ..operation.clone() };
            let mut former = self.former.front()?.1.clone();
            let now = self.state.answer(&single);
            let answer = if index % 2 == 0 { former.answer(&single) } else { now };
            let Answer::Reply(reply) = answer else { return None };
            replies.push(reply);
        }
        Some(Answer::Exec(replies))
    }
}

/// The verdict on a history: that on its worst part.
fn verdict(world: World) -> Verdict {
    let mut worst = Verdict::Linearizable;
    for operations in parts(&world.history) {
        let spans: Vec<_> = operations.iter().map(Operation::span).collect();
        match check(&Part { operations, vanishing: false }, &spans, BUDGET) {
            Verdict::Linearizable => {}
            Verdict::Undecided => worst = Verdict::Undecided,
            violation => return violation,
        }
    }
    worst
}

const SEEN_WITH: [(Fault, Flavour); 18] = [
    (Fault::LostUpdate, Flavour::Counters),
    (Fault::StaleRead, Flavour::Registers),
    (Fault::TornMset, Flavour::Groups),
    (Fault::TornMget, Flavour::Groups),
    (Fault::DirtyRead, Flavour::Transactions),
    (Fault::FracturedRead, Flavour::Transactions),
    (Fault::MissedWatch, Flavour::Transactions),
    (Fault::NeedlessAbort, Flavour::Transactions),
    (Fault::Reordered, Flavour::Registers),
    (Fault::DoublePop, Flavour::Lists),
    (Fault::LostPop, Flavour::Lists),
    (Fault::TornMove, Flavour::Lists),
    (Fault::TornRename, Flavour::Groups),
    (Fault::ExpiryTakenBack, Flavour::Expiry),
    (Fault::ExpiryTooEarly, Flavour::Expiry),
    (Fault::Resurrected, Flavour::Registers),
    (Fault::LateWrite, Flavour::Registers),
    (Fault::GhostWrite, Flavour::Registers),
];

#[test]
fn every_planted_fault_is_seen() {
    for (fault, flavour) in SEEN_WITH {
        for seed in 0..3 {
            let world = imagine(fault, flavour, seed);
            let struck = world.struck;
            assert!(struck > 0, "{fault:?} never struck with seed {seed}");
            let verdict = verdict(world);
            assert!(
                matches!(verdict, Verdict::Violation { .. }),
                "{fault:?}, seed {seed}, struck {struck}: {verdict:?}"
            );
        }
    }
}

#[test]
fn a_right_server_is_accepted() {
    for flavour in crate::workload::FLAVOURS {
        for seed in 0..6 {
            let verdict = verdict(imagine(Fault::Nothing, flavour, seed));
            assert_eq!(verdict, Verdict::Linearizable, "{flavour:?}, seed {seed}");
        }
    }
}
