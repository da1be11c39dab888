//! The 80-bit floating point numbers behind INCRBYFLOAT and HINCRBYFLOAT, in integer arithmetic.
//!
//! Invariant: reading, adding and printing give the same text as a C `long double` of x86 (64-bit mantissa, round to
//! nearest even) printed with 17 decimals and stripped of trailing zeros.

/// A number with a mantissa of 64 bits; never NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extended {
    kind: (),
}

impl Extended {
    /// Reads a decimal or hexadecimal number as `strtold` does, without surrounding spaces; infinity is read, NaN is not.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let _ = text;
        None
    }

    /// The sum, or `None` when it is infinite or not a number.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let _ = other;
        Some(self)
    }

    /// The text: 17 decimals at most, no trailing zeros, no exponent.
    #[must_use]
    pub fn format(self) -> Vec<u8> {
        Vec::new()
    }
}
