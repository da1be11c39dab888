//! The file system as persistence sees it: few operations, each of which may fail.
//!
//! Tests put a disk in its place that writes short, fails, fills up or forgets what was not synced; the server has only
//! [`RealDisk`]. Invariant: what is to survive a power cut was synced, and so was the directory that names it. Must not
//! know: what the bytes mean.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

/// A file that is being written, at its end.
pub trait DiskFile: Send {
    /// Appends some of `bytes`, at least one unless they are none; returns how many.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Returns once the file's bytes are where a power cut leaves them.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file off after `len` bytes, where writing goes on.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// Another handle of the same file, so that one thread can sync while another writes.
    fn again(&self) -> io::Result<Box<dyn DiskFile>>;

    /// Appends all of `bytes`. After an error, what of them is in the file is not known.
    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A file system.
pub trait Disk: Send + Sync {
    /// A new file, empty whatever was there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// A file that is there, to be written on at its end.
    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// A file that is there, to be read from its beginning.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>>;

    /// Length of a file in bytes; `None` when there is none.
    fn len(&self, path: &Path) -> io::Result<Option<u64>>;

    /// Gives a file another name, in place of whatever had it, at one stroke.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory unless it is there.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Names in a directory, in no order; none when there is no such directory.
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>>;

    /// Returns once the names in a directory are where a power cut leaves them.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Puts a file with these bytes at `path` at one stroke: after a power cut there is the old or the new one, whole. `temporary`
    /// is a name in the same directory.
    fn replace(&self, path: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.create(temporary)?;
        file.write_all(bytes)?;
        file.sync()?;
        self.install(temporary, path)
    }

    /// Gives a synced file its name, and syncs the directory.
    fn install(&self, temporary: &Path, path: &Path) -> io::Result<()> {
        self.rename(temporary, path)?;
        self.sync_dir(directory_of(path))
    }
}

/// The directory that names `path`.
pub fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// The file system of the machine.
#[derive(Clone, Copy, Default, Debug)]
pub struct RealDisk;

impl DiskFile for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        // Files are opened to be appended to: the next write goes to the new end.
        self.set_len(len)
    }

    fn again(&self) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(self.try_clone()?))
    }
}

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        // A file cannot be opened for appending and truncated at once.
        drop(File::create(path)?);
        self.append(path)
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().append(true).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(path)?))
    }

    fn len(&self, path: &Path) -> io::Result<Option<u64>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            other => other,
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        match fs::read_dir(path) {
            Ok(entries) => entries.map(|entry| Ok(entry?.file_name())).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_cut_and_listed() -> io::Result<()> {
        let directory = std::env::temp_dir().join(format!("larder-disk-{}", std::process::id()));
        RealDisk.create_dir(&directory)?;
        RealDisk.create_dir(&directory)?;
        let (path, temporary) = (directory.join("a"), directory.join("t"));
        RealDisk.replace(&path, &temporary, b"one")?;
        RealDisk.replace(&path, &temporary, b"two and more")?;
        let mut file = RealDisk.append(&path)?;
        file.truncate(3)?;
        file.write_all(b"!")?;
        file.again()?.sync()?;
        assert_eq!((RealDisk.len(&path)?, RealDisk.len(&temporary)?), (Some(4), None));
        let mut text = String::new();
        RealDisk.open(&path)?.read_to_string(&mut text)?;
        assert_eq!((text.as_str(), RealDisk.list(&directory)?), ("two!", vec!["a".into()]));
        RealDisk.remove(&path)?;
        fs::remove_dir(&directory)?;
        assert!(RealDisk.list(&directory)?.is_empty());
        Ok(())
    }
}
