//! The file system as persistence sees it: few operations, each of which may fail.
//!
//! Tests put a disk in its place that writes short, fails, fills up or forgets what was not synced; the server has only
//! [`RealDisk`]. Invariant: what is to survive a power cut was synced, and so was the directory that names it. Must not
//! know: what the bytes mean.

use super::direct::DirectFile;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

/// A file that is being written, at its end.
pub trait DiskFile: Send {
    /// Appends some of `bytes`, at least one unless they are none; returns how many.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Returns once the file's bytes are where a power cut leaves them.
    fn sync(&mut self) -> io::Result<()>;

    /// Writes out what the system still holds of it, so that the last [`DiskFile::sync`] is short.
    fn write_out(&mut self) -> io::Result<()> {
        self.sync()
    }

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

    /// A new file, empty whatever was there, that is long, written from its beginning to its end and not read soon. What was written to it
    /// may be lost with the program until it is synced.
    fn create_long(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.create(path)
    }

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

/// Files up to this length are gone within a millisecond.
const LONG_BYTES: u64 = 4 << 20;

/// The file system of the machine.
#[derive(Clone, Default, Debug)]
pub struct RealDisk {
    /// Takes long files that have lost their names, to close them; without it they are closed at once.
    closer: Option<Sender<File>>,
}

/// The other end of a [`RealDisk::with_closer`].
#[derive(Debug)]
pub struct Closing(Receiver<File>);

impl Closing {
    /// Closes what comes, for as long as somebody may send something. Blocks.
    pub fn run(self) {
        self.0.into_iter().for_each(drop);
    }
}

impl RealDisk {
    /// One that leaves it to whoever runs the [`Closing`] to close the long files that it has removed or replaced. The system takes what they held
    /// apart when the last that has them open closes them, at a quarter of a second for a gigabyte, and lets nobody else have that processor
    /// meanwhile unless they were much more urgent.
    pub fn with_closer() -> (RealDisk, Closing) {
        let (closer, files) = channel();
        (RealDisk { closer: Some(closer) }, Closing(files))
    }

    /// Opens a long file that is about to lose its name. `None` where there is nothing to gain, or it cannot be opened.
    fn open_long(&self, path: &Path) -> Option<(File, &Sender<File>)> {
        let closer = self.closer.as_ref()?;
        fs::metadata(path).ok().filter(|found| found.is_file() && found.len() > LONG_BYTES)?;
        // It may have become a pipe by now, which nobody may ever open for writing.
        Some((OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?, closer))
    }

    /// Takes a file's name away, and has it closed elsewhere when it is long.
    fn unname(&self, path: &Path, unname: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let long = self.open_long(path);
        unname()?;
        if let Some((file, closer)) = long {
            let _ = closer.send(file); // nobody takes it: it comes back, and is closed here
        }
        Ok(())
    }
}

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

    fn create_long(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(DirectFile::create(path)?))
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
        self.unname(to, || fs::rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.unname(path, || fs::remove_file(path))
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
        let disk = RealDisk::default();
        disk.create_dir(&directory)?;
        disk.create_dir(&directory)?;
        let (path, temporary) = (directory.join("a"), directory.join("t"));
        disk.replace(&path, &temporary, b"one")?;
        disk.replace(&path, &temporary, b"two and more")?;
        let mut file = disk.append(&path)?;
        file.truncate(3)?;
        file.write_all(b"!")?;
        file.again()?.sync()?;
        assert_eq!((disk.len(&path)?, disk.len(&temporary)?), (Some(4), None));
        let mut text = String::new();
        disk.open(&path)?.read_to_string(&mut text)?;
        assert_eq!((text.as_str(), disk.list(&directory)?), ("two!", vec!["a".into()]));
        disk.remove(&path)?;
        fs::remove_dir(&directory)?;
        assert!(disk.list(&directory)?.is_empty());
        Ok(())
    }

    #[test]
    fn long_files_without_a_name_are_closed_elsewhere() -> io::Result<()> {
        let directory = std::env::temp_dir().join(format!("larder-closer-{}", std::process::id()));
        let ((disk, closing), long) = (RealDisk::with_closer(), vec![1; (4 << 20) + 1]);
        disk.create_dir(&directory)?;
        let (path, temporary) = (directory.join("a"), directory.join("t"));
        disk.replace(&path, &temporary, &long)?;
        disk.replace(&path, &temporary, b"short")?; // takes the name of the first
        disk.replace(&path, &temporary, &long)?; // takes the name of a short one
        disk.remove(&path)?;
        assert!(disk.remove(&path).is_err());
        drop(disk);
        let lengths: Vec<u64> = closing.0.iter().map(|file| file.metadata().map_or(0, |found| found.len())).collect();
        assert_eq!(lengths, [long.len() as u64; 2]);
        fs::remove_dir(&directory)
    }
}
