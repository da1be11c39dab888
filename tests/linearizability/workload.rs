//! What a client asks for: random operations on few enough keys that clients meet, and many enough that shards differ.

use crate::history::{Action, Answer, Command, Key, Reply};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;

/// What the operations of a history are about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flavour {
    /// GET, SET, SET NX, SET IFEQ, GETSET, DEL.
    Registers,
    /// INCRBY, GET, DEL.
    Counters,
    /// Pushes, pops, moves, waits.
    Lists,
    /// Commands with several keys, of all types.
    Groups,
    /// MULTI to EXEC, and WATCH.
    Transactions,
    /// The same commands in scripts, beside transactions and single commands.
    Scripts,
    /// Registers with deadlines.
    Expiry,
    /// Registers and groups while memory is short: any key may be evicted.
    Vanishing,
}

/// All of them.
pub const FLAVOURS: [Flavour; 8] = [
    Flavour::Registers,
    Flavour::Counters,
    Flavour::Lists,
    Flavour::Groups,
    Flavour::Transactions,
    Flavour::Scripts,
    Flavour::Expiry,
    Flavour::Vanishing,
];

/// Keys of a group, of which one operation may have several.
const GROUP: usize = 4;

/// Requests that are sent together at most.
const PIPELINE: usize = 4;

/// One client's stream of operations.
pub struct Workload {
    flavour: Flavour,
    random: StdRng,
    groups: usize,
    /// No two writes of a history write the same value.
    value: i64,
    /// What was last seen in a register.
    seen: HashMap<Key, i64>,
    watched: Vec<Key>,
}

impl Workload {
    /// The stream of client number `client` in the history of this seed.
    pub fn new(flavour: Flavour, seed: u64, client: u32) -> Workload {
        let random = StdRng::seed_from_u64(seed << 8 ^ u64::from(client));
        let groups = if flavour == Flavour::Registers || flavour == Flavour::Counters { 16 } else { 8 };
        Workload {
            flavour,
            random,
            groups,
            value: i64::from(client) * 1_000_000,
            seen: HashMap::new(),
            watched: Vec::new(),
        }
    }

    /// The next operations, to be sent together; within one group in half of the cases, so that their order can be seen.
    pub fn batch(&mut self) -> Vec<Action> {
        let count = if self.random.random_bool(0.5) { 1 } else { self.random.random_range(1..=PIPELINE) };
        let together = self.random.random_bool(0.5);
        let group = self.group();
        (0..count)
            .map(|_| {
                let group = if together { group } else { self.group() };
                self.action(group)
            })
            .collect()
    }

    /// Notes an answer: later operations build on it.
    pub fn observe(&mut self, action: &Action, answer: &Answer) {
        match (action, answer) {
            (Action::Run(Command::Get(key)), Answer::Reply(Reply::Text(value))) => {
                self.seen.insert(*key, *value);
            }
            (Action::Run(Command::MGet(keys)), Answer::Reply(Reply::List(values))) => {
                self.seen.extend(keys.iter().zip(values).filter_map(|(key, value)| Some((*key, (*value)?))));
            }
            _ => {}
        }
    }

    /// Starts anew on another connection.
    pub fn reconnected(&mut self) {
        self.watched.clear();
    }

    fn group(&mut self) -> usize {
        // Half of the operations on a quarter of the groups.
        if self.random.random_bool(0.5) {
            self.random.random_range(0..self.groups.div_ceil(4))
        } else {
            self.random.random_range(0..self.groups)
        }
    }

    fn action(&mut self, group: usize) -> Action {
        let transactions = matches!(self.flavour, Flavour::Transactions | Flavour::Scripts);
        if transactions && self.random.random_bool(0.5) {
            return self.transaction(group);
        }
        Action::Run(self.command(group))
    }

    /// A transaction, or what comes before it: a watch, which it answers with its next action in this group.
    fn transaction(&mut self, group: usize) -> Action {
        if let Some(key) = self.watched.first() {
            let group = *key / GROUP;
            return if self.random.random_bool(0.3) { Action::Run(self.command(group)) } else { self.exec(group) };
        }
        if self.random.random_bool(0.5) {
            self.watched = vec![self.key(group)];
            if self.random.random_bool(0.3) {
                let key = self.key(group);
                self.watched.push(key);
            }
            return Action::Watch(self.watched.clone());
        }
        self.exec(group)
    }

    fn exec(&mut self, group: usize) -> Action {
        let count = self.random.random_range(2..=4);
        let mut commands = Vec::new();
        while commands.len() < count {
            let command = self.command(group);
            if !matches!(command, Command::BLPop(_)) {
                commands.push(command);
            }
        }
        Action::Exec(commands, std::mem::take(&mut self.watched))
    }

    fn key(&mut self, group: usize) -> Key {
        group * GROUP + self.random.random_range(0..GROUP)
    }

    fn value(&mut self) -> i64 {
        self.value += 1;
        self.value
    }

    fn command(&mut self, group: usize) -> Command {
        match self.flavour {
            Flavour::Registers => self.register(group * GROUP),
            Flavour::Counters => self.counter(group * GROUP),
            Flavour::Lists => self.list(group),
            Flavour::Groups | Flavour::Transactions | Flavour::Scripts => self.any(group),
            Flavour::Expiry => self.timed(group * GROUP + group % 2),
            Flavour::Vanishing if self.random.random_bool(0.5) => {
                let key = self.key(group);
                self.register(key)
            }
            Flavour::Vanishing => self.many(group),
        }
    }

    fn register(&mut self, key: Key) -> Command {
        let value = self.value();
        match self.random.random_range(0..10) {
            0..=3 => Command::Get(key),
            4 | 5 => Command::Set(key, value, None),
            6 => Command::SetNx(key, value),
            7 => Command::SetIfEq(key, self.seen.get(&key).copied().unwrap_or(0), value),
            8 => Command::GetSet(key, value),
            _ => Command::Del(vec![key]),
        }
    }

    fn counter(&mut self, key: Key) -> Command {
        match self.random.random_range(0..20) {
            0..=12 => Command::IncrBy(key, self.random.random_range(1..=3)),
            13..=18 => Command::Get(key),
            _ => Command::Del(vec![key]),
        }
    }

    fn list(&mut self, group: usize) -> Command {
        let (key, other, value) = (self.key(group), self.key(group), self.value());
        match self.random.random_range(0..14) {
            0..=2 => Command::LPush(key, value),
            3 | 4 => Command::RPush(key, value),
            5 | 6 => Command::RPop(key),
            7 => Command::LPop(key),
            8 => Command::BLPop(key),
            9 | 10 => Command::LMove(key, other),
            11 => Command::LLen(key),
            12 => Command::LRange(key),
            _ if self.random.random_bool(0.2) => Command::Del(vec![key, other]),
            _ => Command::Rename(key, other),
        }
    }

    /// Several registers at once.
    fn many(&mut self, group: usize) -> Command {
        let keys: Vec<Key> =
            (0..GROUP).filter(|_| self.random.random_bool(0.6)).map(|key| group * GROUP + key).collect();
        if keys.is_empty() {
            return Command::MGet((0..GROUP).map(|key| group * GROUP + key).collect());
        }
        match self.random.random_range(0..10) {
            0..=3 => Command::MSet(keys.iter().map(|key| (*key, self.value())).collect()),
            4..=8 => Command::MGet(keys),
            _ => Command::Del(keys),
        }
    }

    fn any(&mut self, group: usize) -> Command {
        let (key, other) = (self.key(group), self.key(group));
        let member = self.random.random_range(1..=6);
        // Most keys keep their type: two are registers, one a list, one a set.
        let (list, set) = (group * GROUP + 2, group * GROUP + 3);
        match self.random.random_range(0..20) {
            0..=5 => self.many(group),
            6..=8 => {
                let register = group * GROUP + key % 2;
                self.register(register)
            }
            9 => Command::IncrBy(key, 1),
            10 | 11 => Command::Rename(key, other),
            12 => Command::SAdd(set, member),
            13 => Command::SMove(set, key, member),
            14 => Command::SMembers(if self.random.random_bool(0.7) { set } else { key }),
            15 => Command::SRem(set, member),
            16 => Command::LMove(list, if self.random.random_bool(0.5) { list } else { key }),
            17 => Command::RPush(list, self.value()),
            18 => Command::LRange(if self.random.random_bool(0.7) { list } else { key }),
            _ => Command::RPop(list),
        }
    }

    fn timed(&mut self, key: Key) -> Command {
        let (value, other) = (self.value(), key ^ 1);
        let life = *[1, 3, 8, 20, 60].choose(&mut self.random).unwrap_or(&1);
        match self.random.random_range(0..12) {
            0..=2 => Command::Set(key, value, Some(life)),
            3 => Command::Set(key, value, None),
            4..=7 => Command::Get(key),
            8 => Command::SetNx(key, value),
            9 => Command::MGet(vec![key, other]),
            10 if self.random.random_bool(0.5) => Command::Persist(key),
            10 => Command::Rename(key, other),
            _ => Command::Del(vec![key]),
        }
    }
}
