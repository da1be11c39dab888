//! Words: one of up to three owners in eight bytes.
//!
//! ```text
//! bits 63..2   address of the owner's allocation, a multiple of 4
//! bits  1..0   tag: which of the three owners it is
//! ```
//!
//! Invariant: the tag is that of the form whose pointer the word holds. The tag of [`Listpack`] and of [`Intset`] belongs
//! to the type and is always in their pointer, so that a word can lend one of them as it is, to be changed or swapped
//! for another of the same type; boxes take the tags that are left over and lend what they hold. Must not know: what the
//! owners are for.

#![expect(
    unsafe_code,
    reason = "an entry holds one pointer, whatever the encoding of its collection; pays 8 bytes a key"
)]

use super::blob::TaggedBlob;
use super::intset::Intset;
use super::listpack::Listpack;
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

const TAG_MASK: usize = 3;

/// An owner that is one pointer.
///
/// # Safety
/// `into_raw` gives a pointer whose low two bits are `TAG`, or 0 where that is `None`, and three bytes from which on are
/// the owner's allocation; `from_raw` takes that pointer back. The lending functions keep to what they are told.
pub unsafe trait Thin: Sized {
    /// The tag that the pointer always carries; `None` when the word may choose one.
    const TAG: Option<usize>;

    /// What a word lends: the owner itself, or what a box holds.
    type Lent;

    /// Gives the ownership away as a pointer.
    fn into_raw(self) -> NonNull<u8>;

    /// Takes the ownership back.
    ///
    /// # Safety
    /// `raw` came from `into_raw`, and nobody else takes it back.
    unsafe fn from_raw(raw: NonNull<u8>) -> Self;

    /// Reads what the pointer in `slot` owns.
    ///
    /// # Safety
    /// `slot` holds what `into_raw` gave, with the low two bits `tag`.
    unsafe fn lend(slot: &NonNull<u8>, tag: usize) -> &Self::Lent;

    /// Changes what the pointer in `slot` owns; the pointer may change with it, the tag does not.
    ///
    /// # Safety
    /// As for `lend`.
    unsafe fn lend_mut(slot: &mut NonNull<u8>, tag: usize) -> &mut Self::Lent;
}

/// Implements [`Thin`] for a transparent wrapper of a tagged blob, which a slot can stand for as it is.
macro_rules! thin_blob {
    ($owner:ident, $tag:literal) => {
        const _: () = assert!(size_of::<$owner>() == size_of::<NonNull<u8>>());

        // SAFETY: a tagged blob's pointer carries its tag and points into a block of at least 16 bytes; the wrapper is
        // transparent.
        unsafe impl Thin for $owner {
            const TAG: Option<usize> = Some($tag);
            type Lent = $owner;

            #[inline]
            fn into_raw(self) -> NonNull<u8> {
                self.0.into_raw()
            }

            #[inline]
            unsafe fn from_raw(raw: NonNull<u8>) -> Self {
                // SAFETY: the caller's promise is passed on.
                $owner(unsafe { TaggedBlob::<$tag>::from_raw(raw) })
            }

            #[inline]
            unsafe fn lend(slot: &NonNull<u8>, _: usize) -> &$owner {
                // SAFETY: the owner is transparent over this very pointer, which the caller promises to be one.
                unsafe { &*std::ptr::from_ref(slot).cast() }
            }

            #[inline]
            unsafe fn lend_mut(slot: &mut NonNull<u8>, _: usize) -> &mut $owner {
                // SAFETY: as in `lend`; whatever is put there is such an owner too, with the same tag.
                unsafe { &mut *std::ptr::from_mut(slot).cast() }
            }
        }
    };
}

thin_blob!(Listpack, 1);
thin_blob!(Intset, 2);

/// Fails to compile for what a box cannot be told apart by.
struct Boxable<T>(PhantomData<T>);

impl<T> Boxable<T> {
    const CHECK: () = assert!(align_of::<T>() > TAG_MASK && size_of::<T>() > TAG_MASK);
}

// SAFETY: a box's pointer is a multiple of T's alignment and points to T's size, which `Boxable` checks.
unsafe impl<T> Thin for Box<T> {
    const TAG: Option<usize> = None;
    type Lent = T;

    #[inline]
    fn into_raw(self) -> NonNull<u8> {
        const { Boxable::<T>::CHECK };
        NonNull::from(Box::leak(self)).cast()
    }

    #[inline]
    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        // SAFETY: the caller promises that the pointer was a box's.
        unsafe { Box::from_raw(raw.cast().as_ptr()) }
    }

    #[inline]
    unsafe fn lend(slot: &NonNull<u8>, tag: usize) -> &T {
        // SAFETY: without its tag the pointer is a box's, which lives as long as the slot.
        unsafe { slot.byte_sub(tag).cast().as_ref() }
    }

    #[inline]
    unsafe fn lend_mut(slot: &mut NonNull<u8>, tag: usize) -> &mut T {
        // SAFETY: as in `lend`, and the slot is borrowed mutably.
        unsafe { slot.byte_sub(tag).cast().as_mut() }
    }
}

// SAFETY: there is no such value, so that nothing is promised.
unsafe impl Thin for Infallible {
    const TAG: Option<usize> = None;
    type Lent = Infallible;

    fn into_raw(self) -> NonNull<u8> {
        match self {}
    }

    unsafe fn from_raw(_: NonNull<u8>) -> Self {
        unreachable!("no word holds a form that does not exist")
    }

    unsafe fn lend(_: &NonNull<u8>, _: usize) -> &Infallible {
        unreachable!("no word holds a form that does not exist")
    }

    unsafe fn lend_mut(_: &mut NonNull<u8>, _: usize) -> &mut Infallible {
        unreachable!("no word holds a form that does not exist")
    }
}

/// One of the three forms of a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form<A, B, C = Infallible> {
    /// The first.
    A(A),
    /// The second.
    B(B),
    /// The third.
    C(C),
}

/// One of up to three owners, in eight bytes. With two forms the third is [`Infallible`]: `Form::C(never) => match *never {}`.
#[repr(transparent)]
pub struct Word<A: Thin, B: Thin, C: Thin = Infallible> {
    raw: NonNull<u8>,
    owner: PhantomData<(A, B, C)>,
}

const _: () = assert!(size_of::<Option<Word<Listpack, Box<u64>>>>() == 8);

// SAFETY: a word is one of its owners, and each of them may be sent.
unsafe impl<A: Thin + Send, B: Thin + Send, C: Thin + Send> Send for Word<A, B, C> {}
// SAFETY: shared access only lends what may be shared.
unsafe impl<A: Thin, B: Thin, C: Thin> Sync for Word<A, B, C>
where
    A::Lent: Sync,
    B::Lent: Sync,
    C::Lent: Sync,
{
}

/// A tag for each form: its own where it has one, else one that is left.
const fn tags(own: [Option<usize>; 3]) -> [usize; 3] {
    let (mut tags, mut taken, mut form) = ([0; 3], 0u32, 0);
    while form < 3 {
        if let Some(tag) = own[form] {
            assert!(tag <= TAG_MASK && taken & 1 << tag == 0, "two forms of a word with the same tag");
            (tags[form], taken) = (tag, taken | 1 << tag);
        }
        form += 1;
    }
    form = 0;
    while form < 3 {
        if own[form].is_none() {
            let free = taken.trailing_ones() as usize;
            (tags[form], taken) = (free, taken | 1 << free);
        }
        form += 1;
    }
    tags
}

impl<A: Thin, B: Thin, C: Thin> Word<A, B, C> {
    const TAGS: [usize; 3] = tags([A::TAG, B::TAG, C::TAG]);

    /// Holds the first form.
    #[inline]
    pub fn a(owner: A) -> Self {
        Self::hold(owner, Self::TAGS[0])
    }

    /// Holds the second form.
    #[inline]
    pub fn b(owner: B) -> Self {
        Self::hold(owner, Self::TAGS[1])
    }

    /// Holds the third form.
    #[inline]
    pub fn c(owner: C) -> Self {
        Self::hold(owner, Self::TAGS[2])
    }

    #[inline]
    fn hold<T: Thin>(owner: T, tag: usize) -> Self {
        let raw = owner.into_raw();
        debug_assert_eq!(raw.addr().get() & TAG_MASK, T::TAG.unwrap_or(0));
        // SAFETY: the pointer without a tag has three bytes behind it, and gets one only if it has none.
        let raw = unsafe { raw.byte_add(if T::TAG.is_some() { 0 } else { tag }) };
        Self { raw, owner: PhantomData }
    }

    #[inline]
    fn tag(&self) -> usize {
        self.raw.addr().get() & TAG_MASK
    }

    /// Reads what the word holds.
    #[inline]
    pub fn get(&self) -> Form<&A::Lent, &B::Lent, &C::Lent> {
        let [a, b, c] = Self::TAGS;
        // SAFETY: the tag is that of the form whose pointer the word holds.
        unsafe {
            match self.tag() {
                tag if tag == a => Form::A(A::lend(&self.raw, a)),
                tag if tag == b => Form::B(B::lend(&self.raw, b)),
                _ => Form::C(C::lend(&self.raw, c)),
            }
        }
    }

    /// Changes what the word holds; the form stays. To change that, put another word in its place.
    #[inline]
    pub fn get_mut(&mut self) -> Form<&mut A::Lent, &mut B::Lent, &mut C::Lent> {
        let [a, b, c] = Self::TAGS;
        // SAFETY: as in `get`.
        unsafe {
            match self.tag() {
                tag if tag == a => Form::A(A::lend_mut(&mut self.raw, a)),
                tag if tag == b => Form::B(B::lend_mut(&mut self.raw, b)),
                _ => Form::C(C::lend_mut(&mut self.raw, c)),
            }
        }
    }

    /// The owner that the word held.
    #[inline]
    pub fn into_form(self) -> Form<A, B, C> {
        let word = std::mem::ManuallyDrop::new(self);
        // SAFETY: the word is not dropped, so that its owner is taken back once.
        unsafe { word.owner() }
    }

    /// Takes the owner back.
    ///
    /// # Safety
    /// To be called once, and the word neither read nor dropped after it.
    #[inline]
    unsafe fn owner(&self) -> Form<A, B, C> {
        let [a, b, c] = Self::TAGS;
        // SAFETY: the tag is that of the form whose pointer the word holds.
        unsafe {
            match self.tag() {
                tag if tag == a => Form::A(A::from_raw(self.untagged::<A>(a))),
                tag if tag == b => Form::B(B::from_raw(self.untagged::<B>(b))),
                _ => Form::C(C::from_raw(self.untagged::<C>(c))),
            }
        }
    }

    /// The pointer as the owner gave it.
    #[inline]
    fn untagged<T: Thin>(&self, tag: usize) -> NonNull<u8> {
        // SAFETY: a tag that the word chose was added in `hold`.
        unsafe { self.raw.byte_sub(if T::TAG.is_some() { 0 } else { tag }) }
    }
}

impl<A: Thin, B: Thin, C: Thin> Drop for Word<A, B, C> {
    fn drop(&mut self) {
        // SAFETY: nothing reads the word after it is dropped.
        drop(unsafe { self.owner() });
    }
}

impl<A: Thin, B: Thin, C: Thin> fmt::Debug for Word<A, B, C>
where
    A::Lent: fmt::Debug,
    B::Lent: fmt::Debug,
    C::Lent: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    type Three = Word<Listpack, Intset, Box<Rc<str>>>;
    type Boxes = Word<Box<u32>, Box<u64>, Box<[u64; 3]>>;

    #[test]
    fn forms_are_told_apart() {
        let text: Rc<str> = Rc::from("text");
        let mut words = [
            Three::a([&b"one"[..], b"2"].into_iter().collect()),
            Three::b([3, 1 << 40].into_iter().collect()),
            Three::c(Box::new(Rc::clone(&text))),
        ];
        let seen: Vec<_> = words.iter().map(|word| format!("{:?}", word.get())).collect();
        assert!(matches!(words[0].get(), Form::A(pack) if pack.len() == 2), "{seen:?}");
        assert!(matches!(words[1].get(), Form::B(set) if set.contains(1 << 40)), "{seen:?}");
        assert!(matches!(words[2].get(), Form::C(held) if **held == *text), "{seen:?}");
        words.swap(0, 2);
        assert_eq!(Rc::strong_count(&text), 2);
        let [boxed, set, pack] = words;
        assert!(matches!(pack.into_form(), Form::A(pack) if pack.len() == 2));
        assert!(matches!(set.into_form(), Form::B(set) if set.len() == 2));
        drop(boxed);
        assert_eq!(Rc::strong_count(&text), 1);
    }

    /// A listpack that grows moves; one that is swapped for another must not turn the word into something else.
    #[test]
    fn what_is_lent_may_move_and_be_swapped() {
        let mut word = Three::a(Listpack::new());
        for round in 0..1000 {
            let Form::A(pack) = word.get_mut() else { panic!("not a listpack any more") };
            pack.push_back(format!("element {round}").as_bytes());
        }
        let Form::A(pack) = word.get_mut() else { panic!("not a listpack any more") };
        let taken = std::mem::take(pack);
        assert_eq!((taken.len(), pack.len()), (1000, 0));
        assert!(matches!(word.get(), Form::A(pack) if pack.is_empty()));
        word = Three::b(Intset::new());
        let Form::B(set) = word.get_mut() else { panic!("not an intset") };
        assert!(set.insert(7));
    }

    #[test]
    fn boxes_share_the_tags_that_are_left() {
        let mut words = [Boxes::a(Box::new(1)), Boxes::b(Box::new(2)), Boxes::c(Box::new([3; 3]))];
        for word in &mut words {
            match word.get_mut() {
                Form::A(one) => *one += 10,
                Form::B(two) => *two += 10,
                Form::C(three) => three[2] += 10,
            }
        }
        let texts: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
        assert_eq!(texts, ["A(11)", "B(12)", "C([3, 3, 13])"]);
        assert_eq!(words.into_iter().map(Word::into_form).next_back(), Some(Form::C(Box::new([3, 3, 13]))));
    }
}
