//! The files of the log: which there are, what is to be loaded, how new ones take the place of old ones.
//!
//! Invariant: the manifest on the disk names, at every moment, files that hold all that was acknowledged. Must not know: what is
//! in them, who runs their requests.

use crate::config::Config;
use crate::persistence::aof::manifest::{Kind, Manifest, Part};
use crate::persistence::aof::names::Names;
use crate::persistence::aof::writer::{LogFile, system_text};
use crate::persistence::disk::{Disk, directory_of};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// An empty snapshot: the header of version 10, its end, and no checksum.
const EMPTY_SNAPSHOT: &[u8] = b"REDIS0010\xfa\x08aof-base\xc0\x01\xff\0\0\0\0\0\0\0\0";

/// The longest manifest that is read, in bytes.
const MANIFEST_MAX: u64 = 16 << 20;

/// The files as the manifest has them.
#[derive(Default, Debug)]
pub struct Files {
    /// Their names; `None` while there is no log.
    names: Option<Names>,
    /// What is on the disk.
    pub manifest: Manifest,
    /// Bytes of all files after the last rewrite.
    pub base_bytes: u64,
    /// Bytes of all files but the one that is written.
    pub other_bytes: u64,
    /// The log has no base yet: the manifest on the disk does not know it.
    beginning: bool,
}

/// What is to be loaded.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The names of the files.
    pub names: Names,
    /// Which they are.
    pub manifest: Manifest,
    /// Each file to load, with its length.
    pub parts: Vec<(PathBuf, u64)>,
}

impl Plan {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// The names that the configuration gives the files.
pub fn names(config: &Config) -> Names {
    Names::new(config.dir().join(config.appenddirname()), &config.appendfilename())
}

/// What there is to load; `None` when there is no log yet. A file of an old version is moved into the directory.
///
/// # Errors
/// The manifest cannot be read, or names files that are not there, or is missing where there are files.
pub fn plan(disk: &dyn Disk, config: &Config) -> Result<Option<Plan>, String> {
    let names = names(config);
    let told = |path: &Path, error: io::Error| format!("Can't read {}: {}", path.display(), system_text(&error));
    let path = names.manifest();
    let mut manifest = match disk.len(&path).map_err(|error| told(&path, error))? {
        None => without_manifest(disk, &names)?,
        Some(_) => {
            let text = read_all(disk, &path).map_err(|error| told(&path, error))?;
            Manifest::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?
        }
    };
    upgrade(disk, config, &names, &mut manifest)?;
    if manifest.is_empty() {
        return Ok(None);
    }
    let mut parts = Vec::new();
    for part in manifest.parts() {
        let path = names.path(&part.name);
        let bytes = disk.len(&path).map_err(|error| told(&path, error))?;
        let missing = || format!("The AOF manifest names {} but: No such file or directory", path.display());
        parts.push((path.clone(), bytes.ok_or_else(missing)?));
    }
    Ok(Some(Plan { names, manifest, parts }))
}

/// Whether the server ended while a first log began, after CONFIG SET: then what is in its directory is not the data.
///
/// # Errors
/// The directory cannot be read.
pub fn is_half_begun(disk: &dyn Disk, config: &Config) -> Result<bool, String> {
    let names = names(config);
    let there = |path: PathBuf| disk.len(&path).map(|bytes| bytes.is_some());
    let half = there(names.beginning()).and_then(|noted| Ok(noted && !there(names.manifest())?));
    half.map_err(|error| format!("Can't read {}: {}", names.directory().display(), system_text(&error)))
}

/// A directory without a manifest is that of a new log, if no file of one is in it.
fn without_manifest(disk: &dyn Disk, names: &Names) -> Result<Manifest, String> {
    let list = disk.list(names.directory()).map_err(|error| system_text(&error))?;
    let mut parts: Vec<String> = list.into_iter().filter_map(|name| name.into_string().ok()).collect();
    parts.retain(|name| names.is_part(name));
    // A new log whose first manifest was never written: the server ended while it made the files.
    let unused = |name: &String| is_unused(disk, &names.path(name)).map_err(|error| system_text(&error));
    if parts.iter().map(unused).collect::<Result<Vec<_>, _>>()?.into_iter().all(|unused| unused) {
        return Ok(Manifest::default());
    }
    parts.sort();
    Err(format!(
        "The AOF manifest {} is missing, but there are {}: not starting with an empty log over them. Restore the manifest, \
         or move these files away",
        names.manifest().display(),
        parts.join(", ")
    ))
}

/// Whether a file is as a new log begins: nothing is lost with it.
fn is_unused(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    match disk.len(path)? {
        Some(0) => Ok(true),
        Some(bytes) if bytes == EMPTY_SNAPSHOT.len() as u64 => Ok(read_all(disk, path)? == EMPTY_SNAPSHOT),
        _ => Ok(false),
    }
}

/// Takes the one file of a version before 7 into the directory, as the base.
fn upgrade(disk: &dyn Disk, config: &Config, names: &Names, manifest: &mut Manifest) -> Result<(), String> {
    let old = config.dir().join(names.stem());
    let told =
        |error: io::Error| format!("Can't take {} into the AOF directory: {}", old.display(), system_text(&error));
    let there = |path: &Path| disk.len(path).map(|bytes| bytes.is_some()).map_err(told);
    let moved = names.path(names.stem());
    let half_done =
        manifest.incremental.is_empty() && manifest.base.as_ref().is_some_and(|base| base.name == names.stem());
    if !there(&old)? || there(&moved)? || !(manifest.is_empty() || half_done) {
        return Ok(());
    }
    disk.create_dir(names.directory()).map_err(told)?;
    let base = Part { name: names.stem().to_owned(), seq: 1, kind: Kind::Base };
    *manifest = Manifest { base: Some(base), base_seq: 1, ..Manifest::default() };
    persist(disk, names, manifest).map_err(told)?;
    disk.rename(&old, &moved).map_err(told)?;
    disk.sync_dir(names.directory()).and_then(|()| disk.sync_dir(directory_of(&old))).map_err(told)?;
    tracing::info!(
        "Successfully migrated an old-style AOF configuration ({}) into the AOF directory ({}).",
        names.stem(),
        names.directory().display()
    );
    Ok(())
}

fn read_all(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    disk.open(path)?.take(MANIFEST_MAX).read_to_end(&mut text)?;
    Ok(text)
}

fn persist(disk: &dyn Disk, names: &Names, manifest: &Manifest) -> io::Result<()> {
    disk.replace(&names.manifest(), &names.temporary_manifest(), &manifest.format())
}

impl Files {
    /// Bytes of the log, that of the current file given.
    pub fn bytes(&self, current: u64) -> u64 {
        self.other_bytes + current
    }

    /// Opens the log to be written to: the last incremental file of what was loaded, of which `len` bytes are to be kept, or
    /// a new one.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(&mut self, disk: &dyn Disk, config: &Config, loaded: Option<(Plan, u64)>) -> io::Result<LogFile> {
        let Some((Plan { names, manifest, parts }, len)) = loaded else { return self.create(disk, config) };
        (self.names, self.manifest) = (Some(names.clone()), manifest);
        let bytes: u64 = parts.iter().map(|(_, bytes)| bytes).sum();
        self.base_bytes = parts.first().filter(|_| self.manifest.base.is_some()).map_or(0, |(_, bytes)| *bytes);
        if self.manifest.incremental.is_empty() {
            self.other_bytes = bytes;
            return self.add_incremental(disk, &names, "server start");
        }
        self.delete_unfinished(disk, &names);
        let (path, was) = parts.last().cloned().unwrap_or_default();
        self.other_bytes = bytes - was;
        let file = disk.append(&path)?;
        tracing::info!("Opening AOF incr file {} on server start", path.display());
        self.delete_history(disk, config);
        Ok(LogFile::new(file, &path, len))
    }

    /// A log without data.
    fn create(&mut self, disk: &dyn Disk, config: &Config) -> io::Result<LogFile> {
        let names = names(config);
        disk.create_dir(names.directory())?;
        disk.sync_dir(directory_of(names.directory()))?;
        let rdb = config.aof_use_rdb_preamble();
        let mut manifest = Manifest::default();
        let base = manifest.next_base(&names, rdb, 0);
        tracing::info!("Creating AOF base file {base} on server start");
        let bytes = if rdb { EMPTY_SNAPSHOT } else { &[] };
        disk.replace(&names.path(&base), &names.temporary_base(), bytes)?;
        (self.names, self.manifest) = (Some(names.clone()), manifest);
        (self.other_bytes, self.base_bytes) = (bytes.len() as u64, 0);
        self.add_incremental(disk, &names, "server start")
    }

    /// A new incremental file behind the others. When this fails the log goes on with the old one.
    fn add_incremental(&mut self, disk: &dyn Disk, names: &Names, when: &str) -> io::Result<LogFile> {
        let mut manifest = self.manifest.clone();
        let name = manifest.next_incremental(names);
        tracing::info!("Creating AOF incr file {name} on {when}");
        let path = names.path(&name);
        let file = disk.create(&path)?;
        // After a power cut no manifest names a file that is not there.
        disk.sync_dir(names.directory())?;
        persist(disk, names, &manifest)?;
        self.manifest = manifest;
        Ok(LogFile::new(file, &path, 0))
    }

    /// The file for what is done during a rewrite. Of a log that is to `begin`, the manifest on the disk does not know yet, so
    /// that the former files stay valid until there is a new base.
    ///
    /// # Errors
    /// What the system says.
    pub fn begin_rewrite(&mut self, disk: &dyn Disk, config: &Config, begin: bool) -> io::Result<LogFile> {
        if !begin
            && !self.beginning
            && let Some(names) = self.names.clone()
        {
            return self.add_incremental(disk, &names, "background rewrite");
        }
        let names = self.find_names(disk, config)?;
        let name = self.manifest.clone().next_incremental(&names);
        tracing::info!("Creating AOF incr file {name} on background rewrite");
        self.beginning = true;
        disk.replace(&names.beginning(), &names.temporary_manifest(), b"")?;
        let path = names.path(&name);
        if disk.len(&path)?.is_some() {
            disk.remove(&path)?; // of an attempt that failed; the log may still write to it
        }
        Ok(LogFile::new(disk.create(&path)?, &path, 0))
    }

    /// Whether the manifest on the disk knows the files that are written.
    pub fn has_begun(&self) -> bool {
        !self.beginning
    }

    /// The names, and what the directory has of a log that is not written any more.
    fn find_names(&mut self, disk: &dyn Disk, config: &Config) -> io::Result<Names> {
        let names = names(config);
        disk.create_dir(names.directory())?;
        disk.sync_dir(directory_of(names.directory()))?;
        if self.names.is_none() {
            let path = names.manifest();
            self.manifest = match disk.len(&path)? {
                Some(_) => Manifest::parse(&read_all(disk, &path)?).map_err(io::Error::other)?,
                None => Manifest::default(),
            };
            self.names = Some(names.clone());
        }
        Ok(names)
    }

    /// Names for the base that a rewrite makes: where it is written, and what it will be called.
    ///
    /// # Errors
    /// What the system says.
    pub fn next_base(&mut self, disk: &dyn Disk, config: &Config, rdb: bool) -> io::Result<(PathBuf, PathBuf)> {
        let names = match self.names.clone() {
            Some(names) => names,
            None => self.find_names(disk, config)?,
        };
        let name = self.manifest.clone().next_base(&names, rdb, 0);
        Ok((names.temporary_base(), names.path(&name)))
    }

    /// Puts a base of `bytes` bytes, synced and under its name, in the place of all that was before it; `kept` incremental files follow
    /// it. Then the old ones are deleted.
    ///
    /// # Errors
    /// What the system says: then the old files are valid, and the new base is not named.
    pub fn install_base(
        &mut self,
        disk: &dyn Disk,
        config: &Config,
        rdb: bool,
        kept: usize,
        bytes: u64,
    ) -> io::Result<()> {
        let Some(names) = self.names.clone() else { return Ok(()) };
        let mut manifest = self.manifest.clone();
        if self.beginning {
            manifest.next_incremental(&names);
            disk.sync_dir(names.directory())?;
        }
        manifest.next_base(&names, rdb, kept);
        persist(disk, &names, &manifest)?;
        self.manifest = manifest;
        if std::mem::take(&mut self.beginning) {
            let _ = disk.remove(&names.beginning()); // it does no harm: the manifest names what it does
        }
        self.other_bytes = bytes;
        self.delete_history(disk, config);
        Ok(())
    }

    /// Deletes what was replaced. What cannot be deleted stays named, to be tried again.
    fn delete_history(&mut self, disk: &dyn Disk, config: &Config) {
        let Some(names) = self.names.clone() else { return };
        if self.manifest.history.is_empty() || config.aof_disable_auto_gc() {
            return;
        }
        let mut manifest = self.manifest.clone();
        manifest.history.retain(|part| {
            tracing::info!("Removing the history file {}", part.name);
            match disk.remove(&names.path(&part.name)) {
                Ok(()) => false,
                Err(error) => error.kind() != io::ErrorKind::NotFound,
            }
        });
        match persist(disk, &names, &manifest) {
            Ok(()) => self.manifest = manifest,
            Err(error) => tracing::warn!("Can't write the AOF manifest: {}", system_text(&error)),
        }
    }

    /// Deletes the bases that rewrites did not finish before the server ended.
    fn delete_unfinished(&self, disk: &dyn Disk, names: &Names) {
        for name in disk.list(names.directory()).unwrap_or_default() {
            if name.to_str().is_some_and(Names::is_unfinished) {
                let _ = disk.remove(&names.directory().join(name)); // it does no harm but for its room
            }
        }
        let _ = disk.remove(&names.beginning()); // as there is a manifest, it says nothing any more
    }

    /// Forgets the files of a log that is not written any more; they stay on the disk.
    pub fn close(&mut self) {
        *self = Files::default();
    }
}
