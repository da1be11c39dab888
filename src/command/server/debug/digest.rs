//! DEBUG DIGEST and DIGEST-VALUE: a number for the data that does not depend on the order of keys.
//!
//! Source: the digest of Redis, so that larder and Redis can be compared. Two operations on 20 bytes: `xor` takes the
//! SHA-1 of some bytes into them (order does not matter), `mix` does that and hashes the result (order matters).

use crate::call::args::Args;
use crate::call::context::{Blocking, Context};
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::keyspace::entry::EntryRef;
use crate::keyspace::{LockPlan, View};
use crate::util::number;
use crate::value::list::Side;
use crate::value::object::{Kind, ObjectRef};
use crate::value::stream::id::StreamId;
use sha1::{Digest as _, Sha1};
use std::fmt;

/// The number that stands for a type in the digest, big-endian.
fn type_number(kind: Kind) -> [u8; 4] {
    let number: u32 = match kind {
        Kind::String => 0,
        Kind::List => 1,
        Kind::Set => 2,
        Kind::SortedSet => 3,
        Kind::Hash => 4,
        Kind::Stream => 6,
    };
    number.to_be_bytes()
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Digest([u8; 20]);

impl Digest {
    fn xor(&mut self, data: &[u8]) {
        self.xor_digest(Digest(Sha1::digest(data).into()));
    }

    fn xor_digest(&mut self, other: Digest) {
        self.0.iter_mut().zip(other.0).for_each(|(byte, other)| *byte ^= other);
    }

    fn mix(&mut self, data: &[u8]) {
        self.xor(data);
        self.0 = Sha1::digest(self.0).into();
    }

    /// Takes in type and value of an entry, and that it expires, but not when.
    fn value(&mut self, entry: EntryRef<'_>) {
        self.mix(&type_number(entry.kind()));
        match (entry.string(), entry.object()) {
            (Some(string), _) => self.mix(&string.text()),
            (_, Some(object)) => self.object(object),
            _ => {}
        }
        if entry.deadline().is_some() {
            self.xor(b"!!expire!!");
        }
    }

    /// Elements of lists and streams in order, those of the others without one.
    fn object(&mut self, object: ObjectRef<'_>) {
        let buffer = &mut itoa::Buffer::new();
        match object {
            ObjectRef::List(list) => list.iter(Side::Left).for_each(|item| self.mix(item.text(buffer))),
            ObjectRef::Set(set) => set.iter().for_each(|item| self.xor(item.text(buffer))),
            ObjectRef::SortedSet(set) => {
                set.iter().for_each(|(item, score)| {
                    self.pair(item.text(buffer), number::format_f64_shortest(score).as_bytes());
                });
            }
            ObjectRef::Hash(hash) => {
                // Expired fields that are still there count: the digest does not depend on the time.
                hash.iter(i64::MIN).for_each(|(field, value)| {
                    self.pair(field.text(buffer), value.text(&mut itoa::Buffer::new()));
                });
            }
            ObjectRef::Stream(stream) => {
                for entry in stream.entries().range(StreamId::MIN, StreamId::MAX) {
                    self.mix(format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
                    for (field, value) in entry.fields() {
                        self.mix(field.text(buffer));
                        self.mix(value.text(buffer));
                    }
                }
            }
        }
    }

    /// Two texts that belong together.
    fn pair(&mut self, first: &[u8], second: &[u8]) {
        let mut digest = Digest::default();
        digest.mix(first);
        digest.mix(second);
        self.xor(&digest.0);
    }

    /// The digest of an entry with its key, to be taken into that of the data.
    fn entry(entry: EntryRef<'_>) -> Digest {
        let mut digest = Digest::default();
        digest.mix(entry.key());
        digest.value(entry);
        // Taken in by `xor`, which hashes it once more.
        Digest(Sha1::digest(digest.0).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// `DEBUG DIGEST`: 40 hexadecimal digits, zeroes when there is no key. O(bytes of all data), all shards locked meanwhile:
/// a digest of data that changes would be of no use.
pub fn dataset<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let keyspace = &ctx.shared.keyspace;
    let mut digest = Digest::default();
    let mut own;
    let view = match ctx.blocking {
        // A transaction holds all of them already.
        Blocking::Refused => &mut ctx.db,
        _ => {
            own = View::lock(keyspace, 0, ctx.now, false, LockPlan::All, std::iter::empty());
            if own.gave_up() {
                return Err(super::keys::HELD_FOR_LONG);
            }
            &mut own
        }
    };
    for db in 0..keyspace.databases() {
        database(view, db, &mut digest);
    }
    ctx.reply.simple(&digest.to_string());
    Ok(Outcome::Done)
}

/// Databases without keys leave no trace.
fn database(view: &mut View<'_>, db: usize, digest: &mut Digest) {
    let (mut sum, mut count, mut position) = (Digest::default(), 0_usize, Some(0));
    while let Some(at) = position {
        position = view.walk(db, at, 64, &mut |entry| {
            sum.xor_digest(Digest::entry(entry));
            count += 1;
        });
    }
    if count > 0 {
        digest.mix(&u32::try_from(db).unwrap_or(u32::MAX).to_be_bytes());
        digest.xor_digest(sum);
    }
}

/// `DEBUG DIGEST-VALUE [key ...]`: a digest of each value, zeroes for a missing key.
pub fn values<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    ctx.reply.array(args.remaining());
    while args.remaining() > 0 {
        let key = args.key()?;
        let mut digest = Digest::default();
        if let Some(entry) = super::keys::lock(ctx, key)?.peek(key) {
            digest.value(entry);
        }
        ctx.reply.simple(&digest.to_string());
    }
    Ok(Outcome::Done)
}
