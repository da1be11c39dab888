//! The house rules that a machine can check: floors, unsafe, rows.

use larder::call::spec::{Categories, CommandSpec, Flags, KeyFlags};
use larder::command::GROUPS;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms with their floors: a room may use rooms of lower floors and itself.
const FLOORS: &[(&str, u8)] = &[
    ("util", 0),
    ("config", 1),
    ("protocol", 2),
    ("value", 2),
    ("keyspace", 3),
    ("persistence", 4),
    ("script", 5),
    ("call", 6),
    ("command", 7),
    ("dispatch", 8),
    ("server", 9),
];

/// The files that may contain unsafe code.
const UNSAFE_FILES: &[&str] = &[
    "src/keyspace/ahead.rs",
    "src/keyspace/entry.rs",
    "src/keyspace/segment.rs",
    "src/keyspace/table.rs",
    "src/script/engine/api.rs",
    "src/script/engine/convert.rs",
    "src/script/engine/guard.rs",
    "src/script/engine/mod.rs",
    "src/script/engine/raw.rs",
    "src/script/engine/setup.rs",
    "src/script/engine/strings.rs",
    "src/util/memory.rs",
    "src/util/turns.rs",
    "src/value/blob.rs",
    "src/value/element.rs",
    "src/value/segment.rs",
    "src/value/sorted_set/large.rs",
    "src/value/table.rs",
    "src/value/word.rs",
    "src/value/table/tests.rs",
];

fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("src")];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(&folder).expect("a source folder").map(|item| item.expect("an entry").path()) {
            if item.is_dir() {
                folders.push(item);
            } else if item.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&item).expect("a source file");
                found.push((item.to_string_lossy().into_owned(), text));
            }
        }
    }
    found
}

fn room_of(path: &str) -> Option<(&'static str, u8)> {
    let inner = Path::new(path).strip_prefix("src").ok()?;
    let first = inner.components().next()?.as_os_str().to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    FLOORS.iter().find(|(room, _)| *room == name).copied()
}

#[test]
fn imports_go_down() {
    let mut checked = 0;
    for (path, text) in sources() {
        let Some((room, floor)) = room_of(&path) else { continue };
        for piece in text.split("crate::").skip(1) {
            let name: String = piece.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let Some((target, height)) = FLOORS.iter().find(|(other, _)| *other == name) else { continue };
            checked += 1;
            assert!(target == &room || height < &floor, "{path} is on floor {floor} and uses crate::{target}");
        }
    }
    assert!(checked > 50, "the check must have found imports to look at, found {checked}");
}

#[test]
fn unsafe_stays_where_it_is_listed() {
    let unsafe_files: BTreeSet<String> = sources()
        .into_iter()
        .filter(|(_, text)| text.contains("unsafe {") || text.contains("unsafe fn") || text.contains("unsafe impl"))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(unsafe_files, UNSAFE_FILES.iter().map(|path| (*path).to_owned()).collect());
}

#[test]
fn nothing_below_the_server_opens_sockets_or_spawns() {
    for (path, text) in sources() {
        if room_of(&path).is_some_and(|(_, floor)| floor < 9) {
            for word in ["tokio::net", "std::net::Tcp", "spawn(", "spawn_local("] {
                assert!(!text.contains(word), "{path} has {word}");
            }
        }
    }
}

/// A thread or task that a bug ends leaves the server without it, unless `threads.rs` has started it. A connection's task may end; loading,
/// whose end is waited for, tells by itself.
#[test]
fn what_lasts_is_started_where_its_end_is_seen() {
    let others = [("src/server/worker.rs", "spawn_local(", 1), ("src/server/recovery.rs", "thread::Builder", 1)];
    for (path, text) in sources().iter().filter(|(path, _)| path.starts_with("src/server/")) {
        for word in ["thread::Builder", "thread::spawn", "spawn_local("] {
            let allowed =
                others.iter().find(|(file, what, _)| path == file && word == *what).map_or(0, |other| other.2);
            let found = text.matches(word).count();
            assert!(path == "src/server/threads.rs" || found == allowed, "{path} has {found} times {word}");
        }
    }
}

fn rows() -> Vec<&'static CommandSpec> {
    GROUPS.iter().flat_map(|group| group.iter()).collect()
}

fn check_row(row: &CommandSpec, name: &str) {
    assert!(row.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_'), "{name}");
    assert!(row.arity != 0, "{name} has no arity");
    assert!(!row.summary.is_empty() && !row.since.is_empty(), "{name} is not documented");
    if !row.keys.is_empty() {
        let (read, write) = (row.flags.has(Flags::READONLY), row.flags.has(Flags::WRITE));
        // A watch does neither; a script does what it likes; a shard channel is looked up like a key.
        let other = [Categories::TRANSACTION, Categories::SCRIPTING, Categories::PUBSUB];
        let neither = other.iter().any(|category| row.acl_categories().has(*category));
        assert!(read != write || neither && !read, "{name} has keys and must either read or write");
    }
    for key in row.keys {
        let kinds = [KeyFlags::RO, KeyFlags::RW, KeyFlags::OW, KeyFlags::RM];
        let known = kinds.iter().filter(|kind| key.flags.has(**kind)).count();
        let wanted = usize::from(!key.flags.has(KeyFlags::NOT_KEY));
        assert_eq!(known, wanted, "{name}: one of RO RW OW RM");
    }
}

#[test]
fn rows_are_unique_and_consistent() {
    let mut names = BTreeSet::new();
    for row in rows() {
        assert!(names.insert(row.name), "{} stands twice", row.name);
        check_row(row, row.name);
        let mut subcommands = BTreeSet::new();
        for sub in row.subcommands {
            assert!(subcommands.insert(sub.name), "{}|{} stands twice", row.name, sub.name);
            check_row(sub, &format!("{}|{}", row.name, sub.name));
        }
    }
    assert!(names.len() > 60, "{} commands", names.len());
}
