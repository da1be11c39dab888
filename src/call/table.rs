//! The command table: rows by name, in any letter case, and by id.
//!
//! An id numbers rows and their subcommands; counters are indexed by it.

use super::spec::{Begin, CommandSpec, Find, Flags, KeySpec};
use crate::keyspace::LockPlan;
use crate::protocol::batch::RequestView;
use std::collections::HashMap;

/// Names longer than this are no command's.
const MAX_NAME: usize = 32;

/// A row with its id.
#[derive(Clone, Copy)]
pub struct Command {
    /// Index of its counters.
    pub id: usize,
    /// The row.
    pub spec: &'static CommandSpec,
    /// The container, of a subcommand.
    pub parent: Option<&'static CommandSpec>,
    /// Whether its cost does not depend on its arguments or the data.
    pub constant: bool,
    /// Whether it takes little time whatever the data: its cost is constant, or grows with a logarithm or with its arguments.
    pub quick: bool,
    /// Whether its only key is the first argument, in every request.
    pub lone_key: bool,
    /// Whether it works on data alone: it leaves its session as it is, and runs no other commands.
    pub plain: bool,
    /// Which shards it locks; `None` when that depends on the request.
    pub locks: Option<LockPlan>,
}

impl Command {
    /// `name`, or `container|name`.
    pub fn full_name(&self) -> String {
        match self.parent {
            Some(parent) => format!("{}|{}", parent.name, self.spec.name),
            None => self.spec.name.to_owned(),
        }
    }
}

impl Command {
    /// Stands for the row that runs while none does.
    pub const NONE: &'static Command = &Command {
        id: 0,
        spec: &CommandSpec::DEFAULT,
        parent: None,
        constant: false,
        quick: false,
        lone_key: false,
        plain: false,
        locks: None,
    };

    fn new(id: usize, spec: &'static CommandSpec, parent: Option<&'static CommandSpec>) -> Command {
        Command {
            id,
            spec,
            parent,
            constant: is_constant(spec),
            quick: is_constant(spec) || spec.flags.has(Flags::FAST),
            lone_key: has_lone_key(spec),
            plain: spec.group.is_data(),
            locks: spec.scope.locks(),
        }
    }
}

fn has_lone_key(spec: &CommandSpec) -> bool {
    let first = |key: &KeySpec| matches!((key.begin, key.find), (Begin::Index(1), Find::Range { last: 0, .. }));
    let enough = spec.arity.unsigned_abs() >= 2;
    enough && spec.own_keys.is_none() && spec.subcommands.is_empty() && matches!(spec.keys, [key] if first(key))
}

fn is_constant(spec: &CommandSpec) -> bool {
    spec.complexity.starts_with("O(1)") && spec.subcommands.is_empty()
}

/// Why a request names no command.
#[derive(Clone, Copy)]
pub enum Unknown {
    /// No row has this name.
    Command,
    /// The container has no such subcommand.
    Subcommand(&'static CommandSpec),
}

/// The command that a name was found to be, for a request with the same name behind it: in a pipeline most are.
#[derive(Clone, Copy, Default)]
pub struct Memo<'t> {
    ends: [u64; 2],
    len: usize,
    command: Option<&'t Command>,
}

impl<'t> Memo<'t> {
    /// The command, if this is the name that it was found by.
    #[inline]
    pub fn recall(&self, name: &[u8]) -> Option<&'t Command> {
        self.command.filter(|_| name.len() == self.len && ends(name) == self.ends)
    }
}

/// Names of up to so many bytes are the same if their lengths and [`ends`] are.
const TOLD_BY_ENDS: usize = 16;

/// Both ends of a name, which may overlap, as two words: a step for each byte would be a multiplication behind the other.
#[inline]
fn ends(name: &[u8]) -> [u64; 2] {
    match (name.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) => [u64::from_le_bytes(*first), u64::from_le_bytes(*last)],
        _ => match (name.first_chunk(), name.last_chunk()) {
            (Some(first), Some(last)) => [first, last].map(|end| u64::from(u32::from_le_bytes(*end))),
            _ => {
                let [first, middle, last] = [0, name.len() / 2, name.len().wrapping_sub(1)]
                    .map(|index| u64::from(name.get(index).copied().unwrap_or(0)));
                [first, middle << 8 | last]
            }
        },
    }
}

/// All rows.
pub struct CommandTable {
    commands: Vec<Command>,
    /// Open addressing by a hash of the folded name; 0 is free, else 1 + index in `commands`.
    slots: Box<[u16]>,
    subcommands: HashMap<(usize, String), usize>,
    top_level: usize,
    /// Names that `rename-command` gave and took away, in lower case.
    renamed: HashMap<Vec<u8>, Option<usize>>,
}

impl CommandTable {
    /// The table of these rows.
    pub fn new(groups: &[&'static [CommandSpec]]) -> CommandTable {
        let rows: Vec<&'static CommandSpec> = groups.iter().flat_map(|group| group.iter()).collect();
        let mut commands: Vec<Command> =
            rows.iter().enumerate().map(|(id, spec)| Command::new(id, spec, None)).collect();
        let mut subcommands = HashMap::new();
        for (container, row) in rows.iter().enumerate() {
            for spec in row.subcommands {
                let id = commands.len();
                subcommands.insert((container, spec.name.to_owned()), id);
                commands.push(Command::new(id, spec, Some(row)));
            }
        }
        let mut slots = vec![0_u16; (rows.len() * 8).next_power_of_two().max(8)].into_boxed_slice();
        for (index, row) in rows.iter().enumerate() {
            let mut slot = Self::hash(row.name.as_bytes()) & (slots.len() - 1);
            while slots[slot] != 0 {
                slot = (slot + 1) & (slots.len() - 1);
            }
            slots[slot] = u16::try_from(index + 1).unwrap_or(0);
        }
        CommandTable { commands, slots, subcommands, top_level: rows.len(), renamed: HashMap::new() }
    }

    /// Calls the command `from` by `to` from now on, or by no name if that is empty.
    ///
    /// # Errors
    /// There is no `from`, or `to` is taken.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<(), &'static str> {
        let id = self.find(from).ok_or("No such command in rename-command")?.id;
        if !to.is_empty() && self.find(to).is_some() {
            return Err("Target command name already exists");
        }
        self.renamed.insert(from.to_ascii_lowercase(), None);
        if !to.is_empty() {
            self.renamed.insert(to.to_ascii_lowercase(), Some(id));
        }
        Ok(())
    }

    /// Folds letter case while hashing; only has to spread some hundreds of names.
    #[inline]
    fn hash(name: &[u8]) -> usize {
        let [first, last] = ends(name).map(|word| word | 0x2020_2020_2020_2020);
        let mixed = (first ^ last.rotate_left(23) ^ name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 40) as usize
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Finds a command by name, in any letter case.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<&Command> {
        if !self.renamed.is_empty()
            && let Some(renamed) = self.renamed.get(&name.to_ascii_lowercase())
        {
            return renamed.map(|id| &self.commands[id]);
        }
        if name.len() > MAX_NAME {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut slot = Self::hash(name) & mask;
        while self.slots[slot] != 0 {
            let command = &self.commands[usize::from(self.slots[slot]) - 1];
            if command.spec.name.as_bytes().eq_ignore_ascii_case(name) {
                return Some(command);
            }
            slot = (slot + 1) & mask;
        }
        None
    }

    /// Finds a subcommand of `container` by name, in any letter case.
    pub fn find_sub(&self, container: &Command, name: &[u8]) -> Option<&Command> {
        let name = std::str::from_utf8(name).ok().filter(|name| name.len() <= MAX_NAME)?.to_ascii_lowercase();
        self.subcommands.get(&(container.id, name)).map(|id| &self.commands[*id])
    }

    /// The row that a request names, a subcommand's if there is one; and the index of the first argument behind the name.
    #[inline]
    pub fn resolve(&self, request: RequestView<'_>) -> (Result<&Command, Unknown>, usize) {
        let Some(command) = self.find(request.arg(0)) else { return (Err(Unknown::Command), 1) };
        if command.spec.subcommands.is_empty() || request.argc() < 2 {
            return (Ok(command), 1);
        }
        (self.find_sub(command, request.arg(1)).ok_or(Unknown::Subcommand(command.spec)), 2)
    }

    /// As [`CommandTable::resolve`]; `memo` spares the search when the name is spelled like the one before.
    #[inline]
    pub fn resolve_next<'t>(
        &'t self,
        request: RequestView<'_>,
        memo: &mut Memo<'t>,
    ) -> (Result<&'t Command, Unknown>, usize) {
        let name = request.arg(0);
        if let Some(command) = memo.recall(name) {
            return (Ok(command), 1);
        }
        let resolved = self.resolve(request);
        if let (Ok(command), 1) = resolved
            && command.spec.subcommands.is_empty()
            && name.len() <= TOLD_BY_ENDS
        {
            *memo = Memo { ends: ends(name), len: name.len(), command: Some(command) };
        }
        resolved
    }

    /// The row of an id.
    pub fn get(&self, id: usize) -> Option<&Command> {
        self.commands.get(id)
    }

    /// The commands that are no subcommands.
    pub fn top_level(&self) -> &[Command] {
        &self.commands[..self.top_level]
    }

    /// All ids, subcommands included.
    pub fn all(&self) -> &[Command] {
        &self.commands
    }

    /// The subcommands of a container.
    pub fn subcommands_of(&self, container: &Command) -> impl Iterator<Item = &Command> {
        let row = container.spec;
        self.commands[self.top_level..]
            .iter()
            .filter(move |command| command.parent.is_some_and(|parent| std::ptr::eq(parent, row)))
    }
}
