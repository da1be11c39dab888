//! Deadlines as commands write them: in seconds or milliseconds, from now on or since the Unix epoch.
//!
//! Invariant: a deadline that does not fit 64-bit milliseconds is refused with the text that names the command, never
//! wrapped. Must not know: keys, or what a command does with a deadline in the past. Source: SET, GETEX and EXPIRE of the
//! Redis command reference.

use super::args::Args;
use super::error::CommandError;
use crate::util::clock::UnixMs;
use crate::util::number;

/// How a number states a deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeForm {
    /// Seconds from now (EX, EXPIRE, SETEX).
    Seconds,
    /// Milliseconds from now (PX, PEXPIRE, PSETEX).
    Millis,
    /// Seconds since the epoch (EXAT, EXPIREAT).
    UnixSeconds,
    /// Milliseconds since the epoch (PXAT, PEXPIREAT).
    UnixMillis,
}

/// The option words of SET, GETEX and their like.
const WORDS: [(&str, TimeForm); 4] = [
    ("EX", TimeForm::Seconds),
    ("PX", TimeForm::Millis),
    ("EXAT", TimeForm::UnixSeconds),
    ("PXAT", TimeForm::UnixMillis),
];

impl TimeForm {
    /// Takes the next argument if it is EX, PX, EXAT or PXAT, in any letter case.
    pub fn word(args: &mut Args<'_>) -> Option<TimeForm> {
        WORDS.iter().find(|(word, _)| args.word(word)).map(|(_, form)| *form)
    }

    /// Whether it counts from now.
    pub fn is_relative(self) -> bool {
        matches!(self, TimeForm::Seconds | TimeForm::Millis)
    }

    /// The deadline that `value` states; it may lie in the past, and before the epoch. Errors when it does not fit, in the
    /// name of `command`.
    pub fn deadline(self, value: i64, now: UnixMs, command: &'static str) -> Result<UnixMs, CommandError> {
        let millis = match self {
            TimeForm::Seconds | TimeForm::UnixSeconds => value.checked_mul(1000),
            TimeForm::Millis | TimeForm::UnixMillis => Some(value),
        };
        let base = if self.is_relative() { now.0 } else { 0 };
        let deadline = millis.and_then(|millis| millis.checked_add(base));
        deadline.map(UnixMs).ok_or(CommandError::InvalidExpire(command))
    }

    /// As [`TimeForm::deadline`], from the text of a number that must be above zero: what SET, SETEX and GETEX take.
    pub fn positive(self, text: &[u8], now: UnixMs, command: &'static str) -> Result<UnixMs, CommandError> {
        let value = number::parse_i64(text).ok_or(CommandError::NotInteger)?;
        if value <= 0 {
            return Err(CommandError::InvalidExpire(command));
        }
        self.deadline(value, now, command)
    }
}

/// When the EXPIRE and HEXPIRE families set a deadline at all.
#[derive(Clone, Copy, Default, Debug)]
pub struct Conditions {
    /// Only if there is none.
    nx: bool,
    /// Only if there is one.
    xx: bool,
    /// Only if it comes later; no deadline is later than any.
    gt: bool,
    /// Only if it comes earlier.
    lt: bool,
}

impl Conditions {
    /// Reads the next argument, which must be NX, XX, GT or LT.
    pub fn read_word(&mut self, args: &mut Args<'_>) -> Result<(), CommandError> {
        if args.word("NX") {
            self.nx = true;
        } else if args.word("XX") {
            self.xx = true;
        } else if args.word("GT") {
            self.gt = true;
        } else if args.word("LT") {
            self.lt = true;
        } else {
            // As in C: a NUL ends the text.
            let option = args.bytes()?.split(|byte| *byte == 0).next().unwrap_or_default();
            return Err(CommandError::Bytes([b"ERR Unsupported option ", option].concat()));
        }
        Ok(())
    }

    /// An error when they contradict each other.
    pub fn check(self) -> Result<(), CommandError> {
        if self.nx && (self.xx || self.gt || self.lt) {
            const TEXT: &str = "ERR NX and XX, GT or LT options at the same time are not compatible";
            return Err(CommandError::text(TEXT));
        }
        if self.gt && self.lt {
            return Err(CommandError::text("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(())
    }

    /// Whether a deadline may become `new` that was `old`.
    pub fn allow(self, old: Option<UnixMs>, new: UnixMs) -> bool {
        match old {
            None => !self.xx && !self.gt,
            Some(old) => !self.nx && (!self.gt || new > old) && (!self.lt || new < old),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_700_000_000_000);

    #[test]
    fn states_deadlines_in_every_form() {
        for (form, value, deadline) in [
            (TimeForm::Seconds, 10, NOW.0 + 10_000),
            (TimeForm::Millis, 10, NOW.0 + 10),
            (TimeForm::UnixSeconds, 10, 10_000),
            (TimeForm::UnixMillis, 10, 10),
            (TimeForm::Seconds, -10, NOW.0 - 10_000),
            (TimeForm::UnixMillis, i64::MAX, i64::MAX),
            (TimeForm::UnixSeconds, i64::MAX / 1000, i64::MAX / 1000 * 1000),
            (TimeForm::Millis, i64::MAX - NOW.0, i64::MAX),
        ] {
            assert_eq!(form.deadline(value, NOW, "expire"), Ok(UnixMs(deadline)), "{form:?} {value}");
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let refused = Err(CommandError::InvalidExpire("expire"));
        for (form, value) in [
            (TimeForm::Seconds, i64::MAX),
            (TimeForm::Seconds, i64::MIN),
            (TimeForm::Seconds, i64::MAX / 1000),
            (TimeForm::UnixSeconds, i64::MAX / 1000 + 1),
            (TimeForm::Millis, i64::MAX - NOW.0 + 1),
        ] {
            assert_eq!(form.deadline(value, NOW, "expire"), refused, "{form:?} {value}");
        }
    }

    #[test]
    fn new_values_live_for_a_positive_time() {
        let set = |text: &[u8]| TimeForm::UnixMillis.positive(text, NOW, "set");
        assert_eq!(set(b"1"), Ok(UnixMs(1)));
        assert_eq!(set(b"0"), Err(CommandError::InvalidExpire("set")));
        assert_eq!(set(b"-1"), Err(CommandError::InvalidExpire("set")));
        assert_eq!(set(b"1.5"), Err(CommandError::NotInteger));
    }
}
