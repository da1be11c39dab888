//! Inline requests: a line of words, as a person types them into a terminal.
//!
//! Invariant: words are split exactly as Valkey splits them: quotes may begin and end in the middle of a word, a
//! backslash escapes inside quotes only, and a quote that ends the line always closes.
//!
//! It knows lines only; finding the line is the parser's work.

use bytes::Bytes;

use super::ProtocolError;
use super::batch::{ArgRange, Batch};

/// Appends the words of the line at `start..end` of `buffer` to the batch's arguments.
///
/// A word without quotes stays a range of the buffer; others are unescaped into memory of their own. O(length).
///
/// # Errors
/// [`ProtocolError::UnbalancedQuotes`] when a quote is open at the end of the line.
pub(super) fn split(buffer: &[u8], start: usize, end: usize, batch: &mut Batch) -> Result<(), ProtocolError> {
    let line = buffer.get(start..end).unwrap_or(&[]);
    let mut at = 0;
    while let Some(skipped) = line[at..].iter().position(|byte| !is_space(*byte)) {
        at += skipped;
        let plain = line[at..].iter().position(|byte| is_space(*byte) || is_quote(*byte)).unwrap_or(line.len() - at);
        if line.get(at + plain).is_some_and(|byte| is_quote(*byte)) {
            let (word, length) = unquote(&line[at..])?;
            batch.args.push(ArgRange::owned(batch.owned.len()));
            batch.owned.push(Bytes::from(word));
            at += length;
        } else {
            batch.args.push(ArgRange::in_buffer(start + at, plain));
            at += plain;
        }
    }
    Ok(())
}

/// The words of a line, quoted as those of an inline request; `None` when a quote is open at its end. O(length).
pub fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut words, mut at) = (Vec::new(), 0);
    while let Some(skipped) = line[at..].iter().position(|byte| !is_space(*byte)) {
        let (word, length) = unquote(&line[at + skipped..]).ok()?;
        words.push(word);
        at += skipped + length;
    }
    Some(words)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'')
}

/// The unescaped first word of `text`, and how many bytes of it that word took.
fn unquote(text: &[u8]) -> Result<(Vec<u8>, usize), ProtocolError> {
    let mut word = Vec::new();
    let mut quote = None;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match quote {
            None if is_space(byte) => break,
            None if is_quote(byte) => quote = Some(byte),
            Some(open) if byte == open => quote = None,
            // Only with something after it: a quote that ends the line closes, backslash or not.
            Some(open) if byte == b'\\' && at + 2 < text.len() => at += unescape(&text[at + 1..], open, &mut word),
            _ => word.push(byte),
        }
        at += 1;
    }
    if quote.is_some() { Err(ProtocolError::UnbalancedQuotes) } else { Ok((word, at)) }
}

/// Appends what the escape after a backslash means inside `open` quotes; returns how many bytes it took.
fn unescape(rest: &[u8], open: u8, word: &mut Vec<u8>) -> usize {
    let (byte, taken) = match (open, rest) {
        (b'"', [b'x', high, low, ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            (hex_digit(*high) << 4 | hex_digit(*low), 3)
        }
        (b'"', [b'n', ..]) => (b'\n', 1),
        (b'"', [b'r', ..]) => (b'\r', 1),
        (b'"', [b't', ..]) => (b'\t', 1),
        (b'"', [b'b', ..]) => (0x08, 1),
        (b'"', [b'a', ..]) => (0x07, 1),
        (b'"', [other, ..]) => (*other, 1),
        (_, [b'\'', ..]) => (b'\'', 1),
        _ => (b'\\', 0),
    };
    word.push(byte);
    taken
}

/// The value of an ASCII hexadecimal digit.
fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}
