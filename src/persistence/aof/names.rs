//! Where the files of a log lie, and how they are called.

use std::path::{Path, PathBuf};

/// The end of the manifest's name.
const MANIFEST: &str = ".manifest";

/// What the options `appenddirname` and `appendfilename` make of the files' names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Names {
    directory: PathBuf,
    stem: String,
}

impl Names {
    /// Those of a log called `stem` in `directory`.
    pub fn new(directory: impl Into<PathBuf>, stem: &str) -> Names {
        Names { directory: directory.into(), stem: stem.to_owned() }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The name that all others begin with; that of the one file of old versions.
    pub fn stem(&self) -> &str {
        &self.stem
    }

    /// A file of the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The manifest.
    pub fn manifest(&self) -> PathBuf {
        self.path(&format!("{}{MANIFEST}", self.stem))
    }

    /// Where a manifest is written before it takes the place of the former one.
    pub fn temporary_manifest(&self) -> PathBuf {
        self.path(&format!("temp-{}{MANIFEST}", self.stem))
    }

    /// Name of a base: a snapshot (`rdb`) or commands.
    pub fn base(&self, seq: u64, rdb: bool) -> String {
        format!("{}.{seq}.base.{}", self.stem, if rdb { "rdb" } else { "aof" })
    }

    /// Name of an incremental file.
    pub fn incremental(&self, seq: u64) -> String {
        format!("{}.{seq}.incr.aof", self.stem)
    }

    /// Where a base is written before it gets its name.
    pub fn temporary_base(&self) -> PathBuf {
        self.path(&format!("temp-rewriteaof-bg-{}.aof", std::process::id()))
    }

    /// A note that a log begins, there until its first base is.
    pub fn beginning(&self) -> PathBuf {
        self.path(&format!("temp-{}.beginning", self.stem))
    }

    /// Whether a name is that of a base on its way.
    pub fn is_unfinished(name: &str) -> bool {
        name.starts_with("temp-rewriteaof-bg-")
    }

    /// Whether a name could be that of a base or an incremental file of this log.
    pub fn is_part(&self, name: &str) -> bool {
        let behind = name.strip_prefix(&self.stem).and_then(|rest| rest.strip_prefix('.'));
        let Some((seq, kind)) = behind.and_then(|rest| rest.split_once('.')) else { return false };
        seq.parse::<u64>().is_ok() && matches!(kind, "base.rdb" | "base.aof" | "incr.aof")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_redis() {
        let names = Names::new("dir", "appendonly.aof");
        assert_eq!(names.manifest(), Path::new("dir/appendonly.aof.manifest"));
        assert_eq!(names.temporary_manifest(), Path::new("dir/temp-appendonly.aof.manifest"));
        assert_eq!(names.base(3, true), "appendonly.aof.3.base.rdb");
        for part in [names.base(1, false), names.base(22, true), names.incremental(7)] {
            assert!(names.is_part(&part), "{part}");
        }
        for other in ["appendonly.aof", "appendonly.aof.manifest", "appendonly.aof.x.incr.aof", "b.1.incr.aof"] {
            assert!(!names.is_part(other), "{other}");
        }
    }
}
