//! A file that is written once, at its end, past the system's cache of pages.
//!
//! A gigabyte that goes through that cache is copied into it, written out of it by threads of the system that nobody can interrupt for milliseconds, and
//! taken apart again when the next such file replaces this one; and it takes the place of what others would read. Past it, writing takes half the
//! processor time, and a probe beside it waits a tenth as long (docs/performance.md). Invariant: what was accepted is in the file, in order, once
//! [`DiskFile::sync`] has returned; before that up to [`CHUNK_BYTES`] of it may be here alone. Where the file system does not write that way, or no
//! longer can behind an odd end, it is an ordinary file. Must not know: what the bytes mean. Source: open(2), `O_DIRECT`.

use super::disk::DiskFile;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What places in memory and in the file, and lengths, have to be multiples of: the largest that file systems here ask for.
const BLOCK_BYTES: usize = 4096;

/// Bytes that are written at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// A file that is written past the system's cache while that goes.
pub struct DirectFile {
    file: File,
    /// Room for a chunk that begins at a multiple of a block.
    room: Box<[u8]>,
    start: usize,
    /// Bytes of the chunk that are there.
    filled: usize,
    /// Writes go past the cache.
    direct: bool,
}

impl DirectFile {
    /// A new file, empty whatever was there.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(path: &Path) -> io::Result<DirectFile> {
        drop(File::create(path)?);
        let open = |flags: OFlags| OpenOptions::new().append(true).custom_flags(flags.bits().cast_signed()).open(path);
        match open(PAST_THE_CACHE) {
            Err(error) if refuses(&error) => Ok(DirectFile::of(open(OFlags::empty())?, false)),
            file => Ok(DirectFile::of(file?, !PAST_THE_CACHE.is_empty())),
        }
    }

    fn of(file: File, direct: bool) -> DirectFile {
        let room = vec![0; CHUNK_BYTES + BLOCK_BYTES].into_boxed_slice();
        let start = room.as_ptr().align_offset(BLOCK_BYTES).min(BLOCK_BYTES);
        DirectFile { file, room, start, filled: 0, direct }
    }

    /// Writes what is there; behind an odd end the file is an ordinary one.
    fn flush(&mut self) -> io::Result<()> {
        let whole = self.filled - self.filled % BLOCK_BYTES;
        let mut done = 0;
        while done < self.filled {
            if self.direct && done >= whole {
                self.leave_direct()?;
            }
            let end = if self.direct { whole } else { self.filled };
            match (&self.file).write(&self.room[self.start + done..self.start + end]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.direct && refuses(&error) => self.leave_direct()?,
                Err(error) => return Err(error),
            }
        }
        self.filled = 0;
        Ok(())
    }

    fn leave_direct(&mut self) -> io::Result<()> {
        fcntl_setfl(&self.file, fcntl_getfl(&self.file)? - PAST_THE_CACHE)?;
        self.direct = false;
        Ok(())
    }
}

#[cfg(target_os = "linux")]
const PAST_THE_CACHE: OFlags = OFlags::DIRECT;
#[cfg(not(target_os = "linux"))]
const PAST_THE_CACHE: OFlags = OFlags::empty();

/// Whether a file system says that it cannot write past the cache, or not pieces like this one.
fn refuses(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput
}

impl DiskFile for DirectFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(CHUNK_BYTES - self.filled);
        let at = self.start + self.filled;
        self.room[at..at + count].copy_from_slice(&bytes[..count]);
        self.filled += count;
        if self.filled == CHUNK_BYTES {
            self.flush()?;
        }
        Ok(count)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.file.sync_data()
    }

    fn write_out(&mut self) -> io::Result<()> {
        if self.direct { Ok(()) } else { self.sync() }
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.flush()?;
        if self.direct {
            self.leave_direct()?;
        }
        self.file.set_len(len)
    }

    fn again(&self) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(self.file.try_clone()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Writes pieces of these lengths, with `sync` behind some, and gives what is in the file then and what should be.
    fn written(name: &str, pieces: &[(usize, bool)]) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let path = std::env::temp_dir().join(format!("larder-direct-{name}-{}", std::process::id()));
        let (mut file, mut all) = (DirectFile::create(&path)?, Vec::new());
        for &(length, sync) in pieces {
            let piece: Vec<u8> = (0..length).map(|at| u8::try_from((all.len() + at) % 251).unwrap_or(0)).collect();
            file.write_all(&piece)?;
            all.extend_from_slice(&piece);
            if sync {
                file.sync()?;
            }
        }
        file.sync()?;
        let found = fs::read(&path);
        fs::remove_file(&path)?;
        Ok((found?, all))
    }

    #[test]
    fn what_is_synced_is_in_the_file() -> io::Result<()> {
        for (name, pieces) in [
            ("none", &[][..]),
            ("odd", &[(1, false), (CHUNK_BYTES, false), (BLOCK_BYTES - 1, false), (3 * CHUNK_BYTES + 5, false)]),
            ("whole", &[(CHUNK_BYTES, false), (CHUNK_BYTES / 2, false)]),
            ("synced", &[(CHUNK_BYTES + 7, true), (9, false), (2 * CHUNK_BYTES, true), (BLOCK_BYTES, false)]),
        ] {
            let (found, all) = written(name, pieces)?;
            assert!(found == all, "{name}: {} bytes, {} written", found.len(), all.len());
        }
        Ok(())
    }

    #[test]
    fn it_is_as_long_as_it_is_cut_and_goes_on_there() -> io::Result<()> {
        let path = std::env::temp_dir().join(format!("larder-direct-cut-{}", std::process::id()));
        let mut file = DirectFile::create(&path)?;
        file.write_all(&vec![b'a'; CHUNK_BYTES + 10])?;
        file.truncate(5)?;
        file.write_all(b"bc")?;
        file.again()?.sync()?;
        file.sync()?;
        assert_eq!(fs::read(&path)?, b"aaaaabc");
        fs::remove_file(&path)
    }

    #[test]
    fn a_full_device_says_so() -> io::Result<()> {
        let mut file = DirectFile::of(OpenOptions::new().write(true).open("/dev/full")?, false);
        let error = file.write_all(&vec![0; 2 * CHUNK_BYTES]).expect_err("nothing fits there");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        Ok(())
    }
}
