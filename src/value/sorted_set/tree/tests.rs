//! The tree against a sorted vector, its invariants, and the bytes it takes.

use super::*;
use proptest::prelude::*;

impl Tree<u32> {
    fn validate(&self) {
        let entries = self.entries();
        assert_eq!(entries.len(), self.len);
        assert!(entries.is_sorted_by(|a, b| compare(a, b).is_lt()));
        if self.len > 0 {
            self.root.validate(true);
        }
    }

    fn entries(&self) -> Vec<(f64, u32)> {
        let mut all = Vec::new();
        while all.len() < self.len {
            let run = self.run(all.len());
            assert!(run.len() > 0);
            all.extend((0..run.len()).filter_map(|at| run.get(at)).map(|entry| (entry.score, entry.member)));
        }
        all
    }

    fn backwards(&self) -> Vec<(f64, u32)> {
        let mut all = Vec::new();
        while all.len() < self.len {
            let run = self.run_before(self.len - all.len());
            all.extend((0..run.len()).rev().filter_map(|at| run.get(at)).map(|entry| (entry.score, entry.member)));
        }
        all.reverse();
        all
    }
}

impl Node<u32> {
    /// Checks the invariants below; returns the depth.
    fn validate(&self, root: bool) -> usize {
        match self {
            Node::Leaf(leaf) => {
                assert!(leaf.len > 0 && leaf.len <= LEAF);
                0
            }
            Node::Inner(edges) => {
                assert!(edges.len() > usize::from(root) && edges.len() <= FAN);
                let depths: Vec<usize> = edges
                    .iter()
                    .map(|edge| {
                        assert_eq!(Some(edge.first), edge.node.first());
                        assert_eq!(edge.count, edge.node.count());
                        edge.node.validate(false)
                    })
                    .collect();
                assert!(depths.windows(2).all(|pair| pair[0] == pair[1]));
                depths[0] + 1
            }
        }
    }
}

fn compare(a: &(f64, u32), b: &(f64, u32)) -> Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}

fn to(target: (f64, u32)) -> impl FnMut(f64, u32) -> Ordering {
    move |score, member| compare(&(score, member), &target)
}

fn entry((score, member): (f64, u32)) -> Entry<u32> {
    Entry { score, member }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u32, i16),
    Ascend(u8),
    Remove(u32),
    RemoveRun(u32, u8),
    Move(u32, i16),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..5000_u32, -50..50_i16).prop_map(|(member, score)| Step::Insert(member, score)),
        1 => any::<u8>().prop_map(Step::Ascend),
        2 => any::<u32>().prop_map(Step::Remove),
        1 => (any::<u32>(), any::<u8>()).prop_map(|(rank, count)| Step::RemoveRun(rank, count)),
        2 => (any::<u32>(), -50..50_i16).prop_map(|(rank, score)| Step::Move(rank, score)),
    ]
}

fn apply(tree: &mut Tree<u32>, model: &mut Vec<(f64, u32)>, step: &Step, next: &mut u32) {
    let pick = |model: &Vec<(f64, u32)>, number: u32| number as usize % model.len().max(1);
    match *step {
        Step::Insert(member, score) => {
            let new = (f64::from(score), member);
            if let Err(at) = model.binary_search_by(|old| compare(old, &new)) {
                assert_eq!(tree.rank(to(new)), at);
                assert!(!tree.remove(to(new)));
                model.insert(at, new);
                tree.insert(entry(new), to(new));
            }
        }
        Step::Ascend(count) => {
            for _ in 0..count {
                *next += 1;
                let new = (100.0, *next);
                model.push(new);
                tree.push(entry(new));
            }
        }
        Step::Remove(number) if !model.is_empty() => {
            let old = model.remove(pick(model, number));
            assert!(tree.remove(to(old)));
        }
        Step::RemoveRun(number, count) if !model.is_empty() => {
            let (rank, mut taken) = (pick(model, number), Vec::new());
            let removed = tree.remove_run(rank, usize::from(count), &mut |e| taken.push((e.score, e.member)));
            let expected: Vec<(f64, u32)> = model.drain(rank..rank + removed).collect();
            assert_eq!(taken, expected);
            assert!(removed > 0 || count == 0);
        }
        Step::Move(number, score) if !model.is_empty() => {
            let old = model[pick(model, number)];
            let new = (f64::from(score), old.1);
            let known = old != new && model.binary_search_by(|one| compare(one, &new)).is_ok();
            if !known && tree.shift(entry(new), to(old), to(new)) {
                model.retain(|one| *one != old);
                let at = model.partition_point(|one| compare(one, &new).is_lt());
                model.insert(at, new);
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn does_what_a_vector_does(steps in prop::collection::vec(any_step(), 1..600)) {
        let (mut tree, mut model, mut next) = (Tree::new(), Vec::new(), 10_000);
        for step in &steps {
            apply(&mut tree, &mut model, step, &mut next);
        }
        tree.validate();
        prop_assert_eq!(tree.entries(), model.clone());
        prop_assert_eq!(tree.backwards(), model.clone());
        for (rank, one) in model.iter().enumerate() {
            prop_assert_eq!(tree.rank(to(*one)), rank);
            prop_assert_eq!(tree.get(rank), Some(entry(*one)));
        }
        prop_assert_eq!(tree.get(model.len()), None);
        while tree.remove_run(0, 7, &mut |_| {}) > 0 {
            tree.validate();
        }
        prop_assert_eq!(tree.len(), 0);
    }
}

fn scrambled(count: u32) -> impl Iterator<Item = u32> {
    (0..count).filter_map(move |n| u32::try_from(u64::from(n) * 2_654_435_761 % u64::from(count)).ok())
}

#[test]
fn bytes_an_entry() {
    const COUNT: u32 = 100_003; // a prime, so that the scrambled order meets every number
    let bytes = |order: &mut dyn Iterator<Item = u32>| {
        let mut tree = Tree::<usize>::new();
        for n in order {
            let score = f64::from(n);
            tree.insert(Entry { score, member: 0 }, |other, _| other.total_cmp(&score));
        }
        tree.memory_bytes() as f64 / f64::from(COUNT)
    };
    let ascending = bytes(&mut (0..COUNT));
    let descending = bytes(&mut (0..COUNT).rev());
    let nearly = bytes(&mut (0..COUNT).map(|n| (n / 500 * 500 + 499 - n * 7 % 500).min(COUNT)));
    let random = bytes(&mut scrambled(COUNT));
    assert!(ascending < 17.5 && descending < 17.5, "{ascending} {descending}");
    assert!(nearly < 20.5 && random < 20.5, "{nearly} {random}");
}

#[test]
fn deep_trees() {
    let mut tree = Tree::new();
    for n in scrambled(200_003) {
        let new = (f64::from(n), n);
        tree.insert(entry(new), to(new));
    }
    tree.validate();
    for n in scrambled(200_003).take(190_000) {
        assert!(tree.remove(to((f64::from(n), n))));
    }
    tree.validate();
    assert_eq!(tree.len(), 10_003);
}
