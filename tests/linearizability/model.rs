//! The model: what the commands do to a small keyspace, one after another, with nothing clever.
//!
//! Where a key may or may not still exist (its deadline is near, or memory is short), both are tried and those kept whose
//! answers are the ones that were seen. Must not know: larder's code.

use crate::checker::Model;
use crate::history::{Action, Answer, Command, Key, Operation, Reply};
use std::collections::{BTreeMap, BTreeSet};

/// Milliseconds by which the server's clock may be off ours, in nanoseconds: a reading serves a whole batch of requests,
/// deadlines are whole milliseconds, and a worker may be put aside by the system between reading its clock and its turn.
const CLOCK_SLACK: u64 = 3_000_000;

/// What a key holds.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Value {
    Text(i64),
    List(Vec<i64>),
    Set(BTreeSet<i64>),
}

/// When a key expires: at some moment from the first of these to the second.
type Window = (u64, u64);

/// What a key holds, and until when.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Slot {
    value: Value,
    deadline: Option<Window>,
}

/// The keyspace between two operations, and who watches what of it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    slots: BTreeMap<Key, Slot>,
    /// For each watched key of each process, whether it has changed.
    watches: BTreeMap<(u32, Key), bool>,
}

/// A part of a history.
pub struct Part {
    pub operations: Vec<Operation>,
    /// Whether any key may vanish at any time.
    pub vanishing: bool,
}

impl Model for Part {
    type State = State;

    fn start(&self) -> State {
        State::default()
    }

    fn step(&self, state: &State, operation: usize, next: &mut Vec<State>) {
        let operation = &self.operations[operation];
        let mut doubtful: Vec<Key> = Vec::new();
        let mut state = state.clone();
        for key in operation.keys() {
            match self.presence(state.slots.get(&key), operation) {
                Presence::Sure => {}
                Presence::Gone => state.lose(key),
                Presence::Doubtful if doubtful.contains(&key) => {}
                Presence::Doubtful => doubtful.push(key),
            }
        }
        for choice in 0..1_u32 << doubtful.len() {
            let mut state = state.clone();
            for (bit, key) in doubtful.iter().enumerate() {
                if choice >> bit & 1 == 1 {
                    state.lose(*key);
                }
            }
            if state.act(operation) && !next.contains(&state) {
                next.push(state);
            }
        }
    }

    fn only_reads(&self, operation: usize) -> bool {
        let operation = &self.operations[operation];
        match (&operation.action, &operation.answer) {
            (Action::Run(command), Answer::Reply(reply)) => command.only_reads(reply),
            _ => false,
        }
    }
}

enum Presence {
    Sure,
    Gone,
    Doubtful,
}

impl Part {
    fn presence(&self, slot: Option<&Slot>, operation: &Operation) -> Presence {
        match slot {
            None => Presence::Sure,
            Some(Slot { deadline: Some((_, last)), .. }) if operation.called > *last => Presence::Gone,
            Some(Slot { deadline: Some((first, _)), .. }) if operation.returned >= *first => Presence::Doubtful,
            Some(_) if self.vanishing => Presence::Doubtful,
            Some(_) => Presence::Sure,
        }
    }
}

impl State {
    /// What a server would answer: for the tests that imitate one.
    pub fn answer(&mut self, operation: &Operation) -> Answer {
        match &operation.action {
            Action::Run(command) => Answer::Reply(self.run(command, operation)),
            Action::Watch(keys) => {
                for key in keys {
                    self.watches.entry((operation.process, *key)).or_insert(false);
                }
                Answer::Reply(Reply::Ok)
            }
            Action::Exec(commands, _) => {
                let mine = |watch: &(u32, Key)| watch.0 == operation.process;
                let changed = self.watches.iter().any(|(watch, changed)| mine(watch) && *changed);
                self.watches.retain(|watch, _| !mine(watch));
                if changed {
                    return Answer::Aborted;
                }
                Answer::Exec(commands.iter().map(|command| self.run(command, operation)).collect())
            }
        }
    }

    /// Does the operation; `false` when the answer that was seen is another one.
    fn act(&mut self, operation: &Operation) -> bool {
        if operation.answer == Answer::Reply(Reply::OutOfMemory) {
            return true;
        }
        let answer = self.answer(operation);
        operation.answer == Answer::None || operation.answer == answer
    }

    /// Forgets the watches of everybody: for the tests that imitate a faulty server.
    pub fn forget_changes(&mut self) {
        self.watches.values_mut().for_each(|changed| *changed = false);
    }

    /// The key is there no more.
    pub fn lose(&mut self, key: Key) {
        if self.slots.remove(&key).is_some() {
            self.changed(key);
        }
    }

    /// The key is there again as it was in `former`: for the tests that imitate a faulty server.
    pub fn restore(&mut self, key: Key, former: &State) {
        if let Some(slot) = former.slots.get(&key).cloned() {
            self.slots.insert(key, slot);
        }
    }

    /// The numbers of the keys that are there.
    pub fn keys(&self) -> Vec<Key> {
        self.slots.keys().copied().collect()
    }

    /// Whether the key may or will have expired at `now`.
    pub fn is_due(&self, key: Key, now: u64) -> bool {
        self.slots.get(&key).and_then(|slot| slot.deadline).is_some_and(|(first, _)| now >= first + CLOCK_SLACK)
    }

    fn changed(&mut self, key: Key) {
        self.watches.iter_mut().filter(|(watch, _)| watch.1 == key).for_each(|(_, changed)| *changed = true);
    }

    fn put(&mut self, key: Key, value: Value, deadline: Option<Window>) {
        self.slots.insert(key, Slot { value, deadline });
        self.changed(key);
    }

    fn text(&self, key: Key) -> Result<Option<i64>, Reply> {
        match self.slots.get(&key).map(|slot| &slot.value) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(*text)),
            Some(_) => Err(Reply::WrongType),
        }
    }

    fn list(&self, key: Key) -> Result<Vec<i64>, Reply> {
        match self.slots.get(&key).map(|slot| &slot.value) {
            None => Ok(Vec::new()),
            Some(Value::List(list)) => Ok(list.clone()),
            Some(_) => Err(Reply::WrongType),
        }
    }

    fn set(&self, key: Key) -> Result<BTreeSet<i64>, Reply> {
        match self.slots.get(&key).map(|slot| &slot.value) {
            None => Ok(BTreeSet::new()),
            Some(Value::Set(set)) => Ok(set.clone()),
            Some(_) => Err(Reply::WrongType),
        }
    }

    fn put_list(&mut self, key: Key, list: Vec<i64>) {
        let deadline = self.slots.get(&key).and_then(|slot| slot.deadline);
        if list.is_empty() { self.lose(key) } else { self.put(key, Value::List(list), deadline) }
    }

    fn put_set(&mut self, key: Key, set: BTreeSet<i64>) {
        let deadline = self.slots.get(&key).and_then(|slot| slot.deadline);
        if set.is_empty() { self.lose(key) } else { self.put(key, Value::Set(set), deadline) }
    }

    fn run(&mut self, command: &Command, operation: &Operation) -> Reply {
        self.try_run(command, operation).unwrap_or_else(|error| error)
    }

    fn try_run(&mut self, command: &Command, operation: &Operation) -> Result<Reply, Reply> {
        use Command::*;
        match command {
            Get(..) | Set(..) | SetNx(..) | SetIfEq(..) | GetSet(..) | IncrBy(..) => self.run_text(command, operation),
            Persist(..) | Del(..) | MGet(..) | MSet(..) | Rename(..) => self.run_keys(command),
            SAdd(..) | SRem(..) | SMove(..) | SMembers(..) => self.run_set(command),
            _ => self.run_list(command),
        }
    }

    fn run_text(&mut self, command: &Command, operation: &Operation) -> Result<Reply, Reply> {
        use Command::*;
        let text = |text: Option<i64>| text.map_or(Reply::Nil, Reply::Text);
        match command {
            Get(key) => return self.text(*key).map(text),
            Set(key, value, ms) => {
                let window = ms.map(|ms| window(operation, ms));
                self.put(*key, Value::Text(*value), window);
            }
            SetNx(key, _) if self.slots.contains_key(key) => return Ok(Reply::Nil),
            SetIfEq(key, former, _) if self.text(*key)? != Some(*former) => return Ok(Reply::Nil),
            SetNx(key, value) | SetIfEq(key, _, value) => self.put(*key, Value::Text(*value), None),
            GetSet(key, value) => {
                let former = self.text(*key)?;
                self.put(*key, Value::Text(*value), None);
                return Ok(text(former));
            }
            IncrBy(key, by) => {
                let sum = self.text(*key)?.unwrap_or(0) + by;
                let deadline = self.slots.get(key).and_then(|slot| slot.deadline);
                self.put(*key, Value::Text(sum), deadline);
                return Ok(Reply::Int(sum));
            }
            _ => unreachable!("no command of strings: {command:?}"),
        }
        Ok(Reply::Ok)
    }

    fn run_keys(&mut self, command: &Command) -> Result<Reply, Reply> {
        use Command::*;
        match command {
            Persist(key) => {
                let timed = self.slots.get_mut(key).and_then(|slot| slot.deadline.take()).is_some();
                if timed {
                    self.changed(*key);
                }
                Ok(Reply::Int(timed.into()))
            }
            Del(keys) => {
                let before = self.slots.len();
                keys.iter().for_each(|key| self.lose(*key));
                Ok(Reply::Int((before - self.slots.len()) as i64))
            }
            MGet(keys) => Ok(Reply::List(keys.iter().map(|key| self.text(*key).ok().flatten()).collect())),
            MSet(pairs) => {
                pairs.iter().for_each(|(key, value)| self.put(*key, Value::Text(*value), None));
                Ok(Reply::Ok)
            }
            Rename(from, to) => {
                let slot = self.slots.get(from).cloned().ok_or(Reply::NoSuchKey)?;
                if from != to {
                    self.lose(*from);
                    self.put(*to, slot.value, slot.deadline);
                }
                Ok(Reply::Ok)
            }
            _ => unreachable!("no command of keys: {command:?}"),
        }
    }

    fn run_list(&mut self, command: &Command) -> Result<Reply, Reply> {
        use Command::*;
        let (LPush(key, _)
        | RPush(key, _)
        | LPop(key)
        | RPop(key)
        | BLPop(key)
        | LLen(key)
        | LRange(key)
        | LMove(key, _)) = command
        else {
            unreachable!("no command of lists: {command:?}")
        };
        let mut list = self.list(*key)?;
        let reply = match command {
            LLen(_) => return Ok(Reply::Int(list.len() as i64)),
            LRange(_) => return Ok(Reply::List(list.into_iter().map(Some).collect())),
            _ if list.is_empty() && !matches!(command, LPush(..) | RPush(..)) => return Ok(Reply::Nil),
            LPush(_, value) => {
                list.insert(0, *value);
                Reply::Int(list.len() as i64)
            }
            RPush(_, value) => {
                list.push(*value);
                Reply::Int(list.len() as i64)
            }
            RPop(_) => Reply::Text(list.pop().unwrap_or_default()),
            LMove(_, to) => {
                self.list(*to)?;
                let element = list.pop().unwrap_or_default();
                self.put_list(*key, list);
                let mut other = self.list(*to)?;
                other.insert(0, element);
                self.put_list(*to, other);
                return Ok(Reply::Text(element));
            }
            _ => Reply::Text(list.remove(0)),
        };
        self.put_list(*key, list);
        Ok(reply)
    }

    fn run_set(&mut self, command: &Command) -> Result<Reply, Reply> {
        use Command::*;
        let (SAdd(key, _) | SRem(key, _) | SMembers(key) | SMove(key, ..)) = command else {
            unreachable!("no command of sets: {command:?}")
        };
        let mut set = self.set(*key)?;
        let changed = match command {
            SMembers(_) => return Ok(Reply::List(set.into_iter().map(Some).collect())),
            SAdd(_, member) => set.insert(*member),
            SRem(_, member) => set.remove(member),
            SMove(from, to, member) => {
                if !self.slots.contains_key(from) {
                    return Ok(Reply::Int(0));
                }
                self.set(*to)?;
                let there = set.contains(member);
                if there && from != to {
                    set.remove(member);
                    self.put_set(*from, set);
                    let mut other = self.set(*to)?;
                    if other.insert(*member) {
                        self.put_set(*to, other);
                    }
                }
                return Ok(Reply::Int(there.into()));
            }
            _ => false,
        };
        if changed {
            self.put_set(*key, set);
        }
        Ok(Reply::Int(changed.into()))
    }
}

/// When what was set by this operation expires.
fn window(operation: &Operation, ms: u64) -> Window {
    let life = ms * 1_000_000;
    ((operation.called + life).saturating_sub(CLOCK_SLACK), operation.returned + life + CLOCK_SLACK)
}
