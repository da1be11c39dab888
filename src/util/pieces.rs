//! Bytes that are put together in two steps: what must be done at once, and what can be done later.
//!
//! Whoever writes holds a lock, and so leaves texts as they are, marked, and large ones where they lie; whoever reads
//! compresses and copies them when the lock is gone. Invariant: marks ascend and do not overlap. Must not know: any format.

use bytes::Bytes;

/// Bytes with texts among them that are still to be brought into their form.
#[derive(Default, Debug)]
pub struct Pieces {
    /// What is written, unfinished texts included.
    pub bytes: Vec<u8>,
    /// Where in `bytes` unfinished texts begin, and their lengths.
    texts: Vec<(usize, usize)>,
    /// Texts that lie elsewhere, and where in `bytes` they belong.
    large: Vec<(usize, Bytes)>,
    /// How much of each of the three there is at the ends of frames.
    frames: Vec<[usize; 3]>,
}

/// A stretch of [`Pieces`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece<'p> {
    /// Bytes in their final form.
    Plain(&'p [u8]),
    /// A text.
    Text(&'p [u8]),
}

impl Pieces {
    /// Appends a text.
    pub fn push_text(&mut self, text: &[u8]) {
        self.texts.push((self.bytes.len(), text.len()));
        self.bytes.extend_from_slice(text);
    }

    /// Appends a text without copying it.
    pub fn push_large(&mut self, text: &Bytes) {
        self.large.push((self.bytes.len(), text.clone()));
    }

    /// Ends a frame: what has come since the last one did can be had by itself.
    pub fn end_frame(&mut self) {
        self.frames.push([self.bytes.len(), self.texts.len(), self.large.len()]);
    }

    /// The frames, each by itself. O(bytes).
    pub fn frames(&self) -> Vec<Pieces> {
        let mut from = [0; 3];
        let frame = |to: &[usize; 3]| {
            let [[bytes, bytes_end], [texts, texts_end], [large, large_end]] =
                [0, 1, 2].map(|part| [from[part], to[part]]);
            from = *to;
            Pieces {
                bytes: self.bytes[bytes..bytes_end].to_vec(),
                texts: self.texts[texts..texts_end].iter().map(|(at, len)| (at - bytes, *len)).collect(),
                large: self.large[large..large_end].iter().map(|(at, text)| (at - bytes, text.clone())).collect(),
                frames: Vec::new(),
            }
        };
        self.frames.iter().map(frame).collect()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.large.is_empty()
    }

    /// Bytes that it keeps from being free, marks included.
    pub fn held_bytes(&self) -> usize {
        let large: usize = self.large.iter().map(|(_, text)| text.len()).sum();
        self.bytes.capacity() + self.texts.capacity() * size_of::<(usize, usize)>() + large
    }

    /// Moves everything of `other` behind what is here.
    pub fn append(&mut self, other: &mut Pieces) {
        if self.is_empty() {
            return std::mem::swap(self, other);
        }
        let base = self.bytes.len();
        let ends = [base, self.texts.len(), self.large.len()];
        self.frames.extend(other.frames.drain(..).map(|frame| [0, 1, 2].map(|part| frame[part] + ends[part])));
        self.bytes.append(&mut other.bytes);
        self.texts.extend(other.texts.drain(..).map(|(at, len)| (at + base, len)));
        self.large.extend(other.large.drain(..).map(|(at, text)| (at + base, text)));
    }

    /// Forgets everything; the room for it stays.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.texts.clear();
        self.large.clear();
        self.frames.clear();
    }

    /// Calls `visit` for all stretches in order.
    pub fn each<'p>(&'p self, mut visit: impl FnMut(Piece<'p>)) {
        let (mut at, mut large) = (0, self.large.iter().peekable());
        let mut plain = |from: usize, to: usize, visit: &mut dyn FnMut(Piece<'p>)| {
            let mut from = from;
            while let Some((place, text)) = large.next_if(|(place, _)| *place <= to) {
                visit(Piece::Plain(&self.bytes[from..*place]));
                visit(Piece::Text(text));
                from = *place;
            }
            visit(Piece::Plain(&self.bytes[from..to]));
        };
        for (start, len) in &self.texts {
            plain(at, *start, &mut visit);
            at = start + len;
            visit(Piece::Text(&self.bytes[*start..at]));
        }
        plain(at, self.bytes.len(), &mut visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pieces: &Pieces) -> String {
        let mut all = String::new();
        pieces.each(|piece| match piece {
            Piece::Plain(bytes) => all.push_str(&String::from_utf8_lossy(bytes)),
            Piece::Text(bytes) => all.push_str(&format!("[{}]", String::from_utf8_lossy(bytes))),
        });
        all
    }

    #[test]
    fn what_is_marked_comes_in_order_also_when_appended() {
        let (mut one, mut two) = (Pieces::default(), Pieces::default());
        for pieces in [&mut one, &mut two] {
            pieces.push_large(&Bytes::from_static(b"L0"));
            pieces.bytes.extend_from_slice(b"a");
            pieces.push_text(b"text");
            pieces.push_large(&Bytes::from_static(b"L1"));
            pieces.push_large(&Bytes::from_static(b"L2"));
            pieces.push_text(b"");
            pieces.bytes.extend_from_slice(b"z");
        }
        assert_eq!(shown(&one), "[L0]a[text][L1][L2][]z");
        one.end_frame();
        two.end_frame();
        one.append(&mut two);
        assert_eq!(one.frames().iter().map(shown).collect::<Vec<_>>(), ["[L0]a[text][L1][L2][]z"; 2]);
        assert_eq!(shown(&one), "[L0]a[text][L1][L2][]z[L0]a[text][L1][L2][]z");
        assert!(two.is_empty());
        one.clear();
        assert_eq!((shown(&one).as_str(), one.is_empty()), ("", true));
    }
}
