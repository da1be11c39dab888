//! Which key goes when memory is short.
//!
//! An [`Algorithm`] hears of every new key and, where it asks for it, of uses; it names victims. It knows keys by their *marks*, the
//! topmost 32 bits of their hashes, and looks everything else up through [`Residents`]: so it holds 4 bytes a key and no pointer, a
//! key that is gone is found out when its turn comes, and two keys of one mark (one of 40,000 pairs, at 100,000 keys) are taken for one
//! another at no worse cost than an untimely eviction. Adding an algorithm: a file, and a row of [`ALGORITHMS`]. Must not know: locks,
//! the clock, clients.

pub mod duo;
pub mod engine;
pub mod ghost;
mod lines;
pub mod pressure;
pub mod queue;
pub mod sampled;
pub mod shadows;
pub mod sketch;

/// Which queue of its algorithm a key stands in; two bits of its entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Place {
    /// None: the algorithm has not heard of it.
    #[default]
    None,
    /// The one for new keys.
    Window,
    /// The one for keys that have proved themselves.
    Main,
}

/// What an algorithm sees of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Resident {
    /// Where it stands.
    pub place: Place,
    /// Uses since the algorithm last looked, up to [`MAX_USES`].
    pub uses: u8,
    /// How much sooner than others it should go, by the policy: the sampled algorithm compares it.
    pub score: u64,
}

/// Uses that an entry counts.
pub const MAX_USES: u8 = 3;

/// What is to become of a key that was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Nothing.
    Stays,
    /// It stands there from now on, with so many uses left.
    Moves(Place, u8),
    /// It is removed.
    Goes,
}

/// The keys of a database, as an algorithm sees them.
pub trait Residents {
    /// A key that may be evicted; `None` when there is none with this mark.
    fn look(&mut self, mark: u32) -> Option<Resident>;

    /// Notes where a key stands from now on and what is left of its uses.
    fn set(&mut self, mark: u32, place: Place, uses: u8);

    /// Notes that a new key stands in the window.
    fn welcome(&mut self, mark: u32) {
        self.set(mark, Place::Window, 0);
    }

    /// Removes a key; `false` when it was not there.
    fn evict(&mut self, mark: u32) -> bool;

    /// Looks at a key that may be evicted and lets `decide` say what becomes of it; `None` when there is none with this mark.
    fn decide(&mut self, mark: u32, decide: &mut dyn FnMut(Resident) -> Fate) -> Option<Fate> {
        let fate = decide(self.look(mark)?);
        match fate {
            Fate::Stays => {}
            Fate::Moves(place, uses) => self.set(mark, place, uses),
            Fate::Goes => {
                self.evict(mark);
            }
        }
        Some(fate)
    }

    /// Calls `visit` for `count` keys chosen by chance among those that may be evicted, or for some more that stand beside them.
    fn sample(&mut self, count: usize, visit: &mut dyn FnMut(u32, Resident));
}

/// What came of a turn of eviction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// A key went.
    Evicted,
    /// None did yet: more turns are needed.
    Searching,
    /// The algorithm knows none.
    Empty,
}

/// An eviction algorithm.
pub trait Algorithm: Send {
    /// A key was stored that was not there. About `live` keys are.
    fn insert(&mut self, mark: u32, live: usize, residents: &mut dyn Residents);

    /// A key is there that the algorithm has not heard of.
    fn adopt(&mut self, mark: u32, residents: &mut dyn Residents);

    /// A key was used for whose uses [`Algorithm::wants`] asks.
    fn used(&mut self, mark: u32);

    /// Every use of a key is announced whose mark has none of these bits.
    fn wants(&self) -> u32;

    /// Looks for a key to evict, and evicts it; a few microseconds.
    fn evict(&mut self, residents: &mut dyn Residents) -> Turn;

    /// Requests from memory what it keeps about a key that it is going to hear of.
    fn expect(&self, _mark: u32) {}

    /// Names keys that [`Algorithm::evict`] will soon look at and that it has not named before; some at most.
    fn name_next(&mut self, _named: &mut dyn FnMut(u32)) {}

    /// Marks that it keeps, those of keys that are gone included.
    fn marks(&self) -> usize;

    /// Forgets marks whose keys are gone, of `steps` that it looks at.
    fn scrub(&mut self, steps: usize, residents: &mut dyn Residents);

    /// Bytes taken from the allocator.
    fn memory_bytes(&self) -> usize;
}

/// Makes an algorithm for about `live` keys, which compares `samples` of them if it samples.
pub type Make = fn(live: usize, samples: usize) -> Box<dyn Algorithm>;

/// The algorithms for the LRU and LFU policies, in the order of the names of `eviction-algorithm`; and whether each is to be told of new
/// keys and finds uses counted.
pub const ALGORITHMS: [(Make, bool); 2] =
    [(|live, _| Box::new(duo::Duo::new(live)), true), (|_, samples| Box::new(sampled::Sampled::new(samples)), false)];

/// 64 well mixed bits of a mark.
fn spread(mark: u32) -> u64 {
    let mixed = u64::from(mark).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93)
}
