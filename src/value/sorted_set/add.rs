//! What ZADD does to one member.

use super::{Limits, SortedSet};

/// Which changes are wanted. [`Rules::default`] takes all of them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Rules {
    /// The score is added to that of the member.
    pub increment: bool,
    /// Members that are there stay as they are.
    pub only_new: bool,
    /// No member is added.
    pub only_existing: bool,
    /// A score may only rise.
    pub only_greater: bool,
    /// A score may only fall.
    pub only_less: bool,
}

/// What became of a member; with the score that it has now.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Change {
    /// It is new.
    Added(f64),
    /// Its score changed.
    Updated(f64),
    /// It has that score already.
    Same(f64),
    /// A rule forbade the change.
    Refused,
}

/// The sum of infinities of both signs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotANumber;

impl SortedSet {
    /// Adds a member or changes its score, as far as `rules` allow. O(log n), or O(n) while small.
    ///
    /// # Errors
    /// An increment gave no number; nothing is changed.
    pub fn add(&mut self, member: &[u8], score: f64, rules: Rules, limits: Limits) -> Result<Change, NotANumber> {
        if rules == Rules::default() {
            return Ok(match self.set(member, score, limits) {
                None => Change::Added(score),
                Some(old) if old == score => Change::Same(score),
                Some(_) => Change::Updated(score),
            });
        }
        let Some(old) = self.score(member) else {
            if rules.only_existing {
                return Ok(Change::Refused);
            }
            self.set(member, score, limits);
            return Ok(Change::Added(score));
        };
        if rules.only_new {
            return Ok(Change::Refused);
        }
        let score = if rules.increment { old + score } else { score };
        if score.is_nan() {
            return Err(NotANumber);
        }
        if rules.only_greater && score <= old || rules.only_less && score >= old {
            return Ok(Change::Refused);
        }
        if score == old {
            return Ok(Change::Same(score));
        }
        self.set(member, score, limits);
        Ok(Change::Updated(score))
    }
}
