//! The generator behind `math.random`: the 48-bit linear congruence of POSIX `lrand48`, so that a seed gives the numbers it
//! gives on other servers. Source: POSIX.1-2017, `drand48`.

const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const INCREMENT: u64 = 0xB;
const MASK: u64 = (1 << 48) - 1;

/// The state before any seed, as POSIX leaves it open and Redis has it.
const FIRST: u64 = 0x1234_ABCD_330E;

/// The low bits of a seeded state.
const SEED_LOW: u64 = 0x330E;

/// The largest number, as scripts see it.
const MAX: u64 = i32::MAX as u64;

/// A generator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Random(u64);

impl Default for Random {
    fn default() -> Random {
        Random(FIRST)
    }
}

impl Random {
    /// Starts again from a seed.
    pub fn seed(&mut self, seed: i32) {
        self.0 = (u64::from(seed.cast_unsigned()) << 16) | SEED_LOW;
    }

    /// The next number, from 0 up to but not including 1.
    pub fn unit(&mut self) -> f64 {
        self.0 = (self.0.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT)) & MASK;
        let number = u32::try_from((self.0 >> 17) % MAX).unwrap_or(0);
        f64::from(number) / f64::from(i32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    /// The numbers are those that Valkey 9.1 gives.
    #[test]
    fn seeds_give_the_numbers_that_scripts_know() {
        let mut random = Random::default();
        random.seed(0);
        assert_eq!((random.unit() * 1000.0).floor() + 1.0, 171.0);
        assert_eq!((random.unit() * 1000.0).floor() + 1.0, 750.0);
        random.seed(42);
        assert_eq!(format!("{:.14}", random.unit()), "0.74452500033403");
    }
}
