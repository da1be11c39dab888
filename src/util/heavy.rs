//! Space-Saving: the heaviest items of a stream, in memory that does not grow with the stream.
//!
//! It keeps `capacity` counters. An item that has none takes over the smallest one, with what that had counted as its
//! error. So no count is too small, none is too large by more than its error, no error is above total / capacity, and every item
//! heavier than that has a counter. Must not know: what the items are, where the weights come from.
//! Source: Metwally, Agrawal, El Abbadi, Efficient Computation of Frequent and Top-k Elements (ICDT 2005).

use super::hash::hash;

/// How many marks are compared at once, without a branch for each.
const AT_ONCE: usize = 16;

/// An item with its weight.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heavy {
    /// The item.
    pub item: Vec<u8>,
    /// Its weight or more.
    pub weight: u64,
    /// How much more at most.
    pub error: u64,
}

/// The counters. What is looked through lies side by side.
#[derive(Clone, Debug, Default)]
pub struct Sketch {
    capacity: usize,
    items: Vec<Vec<u8>>,
    /// Some bits of the hash of each item.
    marks: Vec<u32>,
    weights: Vec<u64>,
    errors: Vec<u64>,
    /// No weight is less, and none before `next` is as little.
    least: u64,
    next: usize,
    total: u64,
}

impl Sketch {
    /// An empty sketch of `capacity` counters, which are allocated as they are needed.
    pub fn new(capacity: usize) -> Sketch {
        Sketch { capacity: capacity.max(1), ..Sketch::default() }
    }

    /// Adds `weight` to an item. O(capacity): some 50 ns for 64 counters. Allocates when it is longer than all before whose counter it takes.
    pub fn add(&mut self, item: &[u8], weight: u64) {
        self.add_with_error(item, weight, 0);
    }

    fn add_with_error(&mut self, item: &[u8], weight: u64, error: u64) {
        self.total = self.total.saturating_add(weight);
        let mark = mark_of(item);
        let place = match self.place_of(item, mark) {
            Some(place) => place,
            None if self.items.len() < self.capacity => self.begin(item, mark),
            None => self.take_over(item, mark),
        };
        self.weights[place] = self.weights[place].saturating_add(weight);
        self.errors[place] = self.errors[place].saturating_add(error);
    }

    fn place_of(&self, item: &[u8], mark: u32) -> Option<usize> {
        self.marks.chunks(AT_ONCE).enumerate().find_map(|(chunk, marks)| {
            let met = marks.iter().fold(false, |met, other| met | (*other == mark));
            let mut places = chunk * AT_ONCE..chunk * AT_ONCE + marks.len();
            if met { places.find(|place| self.marks[*place] == mark && self.items[*place] == item) } else { None }
        })
    }

    fn begin(&mut self, item: &[u8], mark: u32) -> usize {
        self.items.push(item.into());
        self.marks.push(mark);
        self.weights.push(0);
        self.errors.push(0);
        self.items.len() - 1
    }

    /// Gives the lightest counter to an item, with what it has counted as its error.
    fn take_over(&mut self, item: &[u8], mark: u32) -> usize {
        let place = self.lightest();
        self.items[place].clear();
        self.items[place].extend_from_slice(item);
        self.marks[place] = mark;
        self.errors[place] = self.weights[place];
        place
    }

    /// A counter of the least weight. Weights only grow: where many have the same, the search goes on where the last one ended.
    fn lightest(&mut self) -> usize {
        let place_of = |weights: &[u64], least| weights.iter().position(|weight| *weight == least);
        if let Some(further) = place_of(&self.weights[self.next..], self.least) {
            self.next += further;
        } else {
            self.least = self.weights.iter().copied().min().unwrap_or(0);
            self.next = place_of(&self.weights, self.least).unwrap_or(0);
        }
        self.next
    }

    /// The `most` heaviest items, heaviest first; those of one weight in the order of their bytes.
    pub fn top(&self, most: usize) -> Vec<Heavy> {
        let mut places: Vec<usize> = (0..self.items.len()).collect();
        places.sort_unstable_by(|a, b| {
            self.weights[*b].cmp(&self.weights[*a]).then_with(|| self.items[*a].cmp(&self.items[*b]))
        });
        places.truncate(most);
        places
            .into_iter()
            .map(|place| Heavy {
                item: self.items[place].clone(),
                weight: self.weights[place],
                error: self.errors[place],
            })
            .collect()
    }

    /// The weight of everything that was added.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Sketch::new(self.capacity);
    }

    /// Adds what another sketch has counted, errors included.
    pub fn merge(&mut self, other: &Sketch) {
        let total = self.total.saturating_add(other.total);
        for (place, item) in other.items.iter().enumerate() {
            self.add_with_error(item, other.weights[place], other.errors[place]);
        }
        self.total = total;
    }
}

fn mark_of(item: &[u8]) -> u32 {
    (hash(item) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn name(item: u8) -> Vec<u8> {
        format!("item {item}").into_bytes()
    }

    fn check(sketch: &Sketch, model: &HashMap<Vec<u8>, u64>, capacity: usize) {
        let total: u64 = model.values().sum();
        assert_eq!(sketch.total(), total);
        assert!(
            sketch.items.len() <= capacity
                && [sketch.marks.len(), sketch.weights.len(), sketch.errors.len()] == [sketch.items.len(); 3]
        );
        for counter in sketch.top(capacity) {
            let truth = model.get(&counter.item[..]).copied().unwrap_or(0);
            assert!(counter.weight >= truth && counter.weight - counter.error <= truth);
            assert!(counter.error <= total / capacity as u64, "{counter:?} of {total}");
        }
        for (item, weight) in model {
            let kept = sketch.items.contains(item);
            assert!(kept || *weight <= total / capacity as u64, "{weight} of {total} was lost");
        }
    }

    proptest! {
        #[test]
        fn keeps_its_bounds(
            stream in prop::collection::vec((any::<u8>(), 0_u64..50), 0..2000),
            capacity in 1_usize..40,
        ) {
            let (mut sketch, mut model) = (Sketch::new(capacity), HashMap::new());
            for (item, weight) in stream {
                // A few items are much heavier than the others.
                let item = if item % 3 == 0 { item % 9 } else { item };
                sketch.add(&name(item), weight);
                *model.entry(name(item)).or_default() += weight;
            }
            check(&sketch, &model, capacity);
            sketch.clear();
            prop_assert_eq!((sketch.total(), sketch.top(9)), (0, Vec::new()));
        }
    }

    #[test]
    fn merged_sketches_keep_the_heaviest() {
        let (mut one, mut other) = (Sketch::new(8), Sketch::new(8));
        for round in 0..100_u8 {
            one.add(b"hot", 3);
            one.add(&name(round), 1);
            other.add(b"hot", 2);
            other.add(b"warm", 2);
            other.add(&name(round.wrapping_mul(7)), 1);
        }
        one.merge(&other);
        let top = one.top(2);
        assert_eq!((&top[0].item[..], &top[1].item[..]), (&b"hot"[..], &b"warm"[..]));
        assert!(top[0].weight - top[0].error <= 500 && top[0].weight >= 500, "{top:?}");
        assert_eq!(one.total(), 900);
    }
}
