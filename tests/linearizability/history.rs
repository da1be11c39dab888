//! What clients did: operations with their answers, and the splitting of a history into parts that have no key in common.

use crate::checker::Span;
use std::collections::BTreeMap;

/// The number of a key in its history.
pub type Key = usize;

/// One command. Every string is a decimal number, so that registers can be counted up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    Get(Key),
    /// `SET key value`, with `PX` when it has milliseconds.
    Set(Key, i64, Option<u64>),
    SetNx(Key, i64),
    /// `SET key value IFEQ former`: key, former, value.
    SetIfEq(Key, i64, i64),
    GetSet(Key, i64),
    Persist(Key),
    Del(Vec<Key>),
    IncrBy(Key, i64),
    MGet(Vec<Key>),
    MSet(Vec<(Key, i64)>),
    Rename(Key, Key),
    LPush(Key, i64),
    RPush(Key, i64),
    LPop(Key),
    RPop(Key),
    /// `BLPOP key seconds`, with a short timeout.
    BLPop(Key),
    /// `LMOVE from to RIGHT LEFT`.
    LMove(Key, Key),
    LLen(Key),
    LRange(Key),
    SAdd(Key, i64),
    SRem(Key, i64),
    SMove(Key, Key, i64),
    SMembers(Key),
}

/// What a command was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    Ok,
    Nil,
    /// An integer.
    Int(i64),
    /// A string.
    Text(i64),
    /// An array of strings and nulls; the members of a set in ascending order.
    List(Vec<Option<i64>>),
    WrongType,
    NoSuchKey,
    /// Refused for want of memory: nothing happened.
    OutOfMemory,
}

/// What one operation is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    Run(Command),
    Watch(Vec<Key>),
    /// `MULTI` to `EXEC`, or a script of these commands; the keys are those watched since the last transaction.
    Exec(Vec<Command>, Vec<Key>),
}

/// How it ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    Reply(Reply),
    Exec(Vec<Reply>),
    /// `EXEC` answered null.
    Aborted,
    /// The connection ended first.
    None,
}

/// One operation of a history.
#[derive(Clone, Debug)]
pub struct Operation {
    /// A connection, from first to last byte.
    pub process: u32,
    pub action: Action,
    pub answer: Answer,
    /// Nanoseconds, of one clock for all.
    pub called: u64,
    pub returned: u64,
}

impl Operation {
    /// Its time and place.
    pub fn span(&self) -> Span {
        let (process, called, returned) = (self.process, self.called, self.returned);
        Span { process, called, returned, answered: self.answer != Answer::None }
    }

    /// Its keys; some may come twice.
    pub fn keys(&self) -> Vec<Key> {
        match &self.action {
            Action::Run(command) => command.keys(),
            Action::Watch(keys) => keys.clone(),
            Action::Exec(commands, watched) => {
                commands.iter().flat_map(Command::keys).chain(watched.iter().copied()).collect()
            }
        }
    }
}

impl Command {
    /// Its keys.
    pub fn keys(&self) -> Vec<Key> {
        use Command::*;
        match self {
            Get(key) | Set(key, ..) | SetNx(key, _) | SetIfEq(key, ..) | GetSet(key, _) | Persist(key) => vec![*key],
            IncrBy(key, _) | LPush(key, _) | RPush(key, _) | LPop(key) | RPop(key) | BLPop(key) => vec![*key],
            LLen(key) | LRange(key) | SAdd(key, _) | SRem(key, _) | SMembers(key) => vec![*key],
            Rename(from, to) | LMove(from, to) | SMove(from, to, _) => vec![*from, *to],
            Del(keys) | MGet(keys) => keys.clone(),
            MSet(pairs) => pairs.iter().map(|(key, _)| *key).collect(),
        }
    }

    /// Its words.
    pub fn words(&self, name: &dyn Fn(Key) -> String) -> Vec<String> {
        use Command::*;
        let words = |first: &str, rest: &[String]| [&[first.to_owned()], rest].concat();
        let pair = |first: &str, key: &Key, value: &i64| words(first, &[name(*key), value.to_string()]);
        match self {
            Get(key) => words("GET", &[name(*key)]),
            Set(key, value, None) => pair("SET", key, value),
            Set(key, value, Some(ms)) => [pair("SET", key, value), vec!["PX".to_owned(), ms.to_string()]].concat(),
            SetNx(key, value) => [pair("SET", key, value), vec!["NX".to_owned()]].concat(),
            SetIfEq(key, former, value) => {
                [pair("SET", key, value), vec!["IFEQ".to_owned(), former.to_string()]].concat()
            }
            GetSet(key, value) => pair("GETSET", key, value),
            Persist(key) => words("PERSIST", &[name(*key)]),
            Del(keys) => words("DEL", &keys.iter().map(|key| name(*key)).collect::<Vec<_>>()),
            IncrBy(key, by) => pair("INCRBY", key, by),
            MGet(keys) => words("MGET", &keys.iter().map(|key| name(*key)).collect::<Vec<_>>()),
            MSet(pairs) => {
                let flat = pairs.iter().flat_map(|(key, value)| [name(*key), value.to_string()]);
                words("MSET", &flat.collect::<Vec<_>>())
            }
            Rename(from, to) => words("RENAME", &[name(*from), name(*to)]),
            LPush(key, value) => pair("LPUSH", key, value),
            RPush(key, value) => pair("RPUSH", key, value),
            LPop(key) => words("LPOP", &[name(*key)]),
            RPop(key) => words("RPOP", &[name(*key)]),
            BLPop(key) => words("BLPOP", &[name(*key), "0.02".to_owned()]),
            LMove(from, to) => {
                [words("LMOVE", &[name(*from), name(*to)]), vec!["RIGHT".to_owned(), "LEFT".to_owned()]].concat()
            }
            LLen(key) => words("LLEN", &[name(*key)]),
            LRange(key) => [words("LRANGE", &[name(*key)]), vec!["0".to_owned(), "-1".to_owned()]].concat(),
            SAdd(key, member) => pair("SADD", key, member),
            SRem(key, member) => pair("SREM", key, member),
            SMove(from, to, member) => words("SMOVE", &[name(*from), name(*to), member.to_string()]),
            SMembers(key) => words("SMEMBERS", &[name(*key)]),
        }
    }

    /// Whether it changes nothing, with this answer, whatever it finds.
    pub fn only_reads(&self, reply: &Reply) -> bool {
        use Command::*;
        match self {
            Get(_) | MGet(_) | LLen(_) | LRange(_) | SMembers(_) => true,
            SetNx(..) | SetIfEq(..) | LPop(_) | RPop(_) | BLPop(_) | LMove(..) => *reply == Reply::Nil,
            Persist(_) | Del(_) | SRem(..) | SAdd(..) | SMove(..) => *reply == Reply::Int(0),
            _ => false,
        }
    }
}

/// Splits a history into parts that have no key in common. Each part is a history of its own: what happens to other keys
/// says nothing about it.
pub fn parts(history: &[Operation]) -> Vec<Vec<Operation>> {
    let mut parents: BTreeMap<Key, Key> = BTreeMap::new();
    for operation in history {
        let keys = operation.keys();
        let Some(first) = keys.first() else { continue };
        let first = root(&mut parents, *first);
        for key in &keys[1..] {
            let other = root(&mut parents, *key);
            parents.insert(other, first);
        }
    }
    let mut parts: BTreeMap<Key, Vec<Operation>> = BTreeMap::new();
    for operation in history {
        if let Some(key) = operation.keys().first() {
            parts.entry(root(&mut parents, *key)).or_default().push(operation.clone());
        }
    }
    parts.into_values().collect()
}

fn root(parents: &mut BTreeMap<Key, Key>, key: Key) -> Key {
    let mut at = key;
    while let Some(parent) = parents.get(&at).copied().filter(|parent| *parent != at) {
        at = parent;
    }
    parents.insert(key, at);
    at
}
