//! Lists against a naive model, for node sizes from one element to 8 KiB.

use super::*;
use crate::value::walk::{Claim, Left};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Push(Side, Vec<Vec<u8>>),
    Pop(Side),
    Remove(usize, usize),
    Matching(Vec<u8>, usize, Side),
    Set(usize, Vec<u8>),
    Insert(usize, Side, Vec<u8>),
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Left), Just(Side::Right)]
}

/// Few texts, so that some are equal; integers of every width, and some too large for a node.
fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => "[a-c]{0,2}".prop_map(String::into_bytes),
        4 => any::<i64>().prop_flat_map(|n| (0..63_u32).prop_map(move |shift| (n >> shift).to_string().into_bytes())),
        2 => (60..140_usize).prop_map(|len| vec![b'm'; len]),
        1 => (3000..5000_usize).prop_map(|len| vec![b'l'; len]),
        1 => (8180..9000_usize).prop_map(|len| vec![b'x'; len]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (side(), prop::collection::vec(text(), 1..12)).prop_map(|(side, texts)| Step::Push(side, texts)),
        2 => side().prop_map(Step::Pop),
        1 => (any::<usize>(), 0..9_usize).prop_map(|(index, count)| Step::Remove(index, count)),
        1 => (text(), 1..6_usize, side()).prop_map(|(text, count, side)| Step::Matching(text, count, side)),
        2 => (any::<usize>(), text()).prop_map(|(index, text)| Step::Set(index, text)),
        3 => (any::<usize>(), side(), text()).prop_map(|(index, side, text)| Step::Insert(index, side, text)),
    ]
}

/// Does a step on both, as the commands do.
fn run(step: Step, fill: Fill, list: &mut List, model: &mut Vec<Vec<u8>>) {
    let place = |index: usize, len: usize| if len == 0 { 0 } else { index % len };
    match step {
        Step::Push(side, texts) => {
            list.grow(fill, texts.iter().map(Vec::len).sum(), texts.len());
            match &texts[..] {
                [one] => list.push(side, one),
                several => list.push_all(side, several.iter().map(|text| &text[..])),
            }
            for text in texts {
                let at = if side == Side::Left { 0 } else { model.len() };
                model.insert(at, text);
            }
        }
        Step::Pop(side) if !model.is_empty() => {
            let taken = list.pop(side, |element| element.to_vec());
            assert_eq!(taken, Some(model.remove(if side == Side::Left { 0 } else { model.len() - 1 })));
            list.shrink(fill);
        }
        Step::Pop(_) => {}
        Step::Remove(index, count) => {
            let index = place(index, model.len());
            list.remove(index, count);
            model.drain(index..(index + count).min(model.len()));
            list.shrink(fill);
        }
        Step::Matching(text, count, side) => {
            let mut found: Vec<usize> = (0..model.len()).filter(|index| model[*index] == text).collect();
            if side == Side::Right {
                found.reverse();
            }
            found.truncate(count);
            found.sort_unstable();
            assert_eq!(list.remove_matching(&text, count, side), found.len());
            found.iter().rev().for_each(|index| drop(model.remove(*index)));
            list.shrink(fill);
        }
        Step::Set(index, text) if !model.is_empty() => {
            let index = place(index, model.len());
            list.grow(fill, text.len(), 1);
            list.set(index, &text);
            model[index] = text;
            list.shrink(fill);
        }
        Step::Set(..) => {}
        Step::Insert(index, side, text) if !model.is_empty() => {
            let index = place(index, model.len());
            list.grow(fill, text.len(), 1);
            list.insert(index, side, &text);
            model.insert(index + usize::from(side == Side::Right), text);
        }
        Step::Insert(..) => {}
    }
}

fn compare(list: &List, model: &[Vec<u8>]) -> Result<(), TestCaseError> {
    prop_assert_eq!(list.validate(), Ok(()));
    prop_assert_eq!(list.len(), model.len());
    prop_assert_eq!(list.is_empty(), model.is_empty());
    prop_assert!(list.iter(Side::Left).map(Item::to_vec).eq(model.iter().cloned()));
    prop_assert!(list.iter(Side::Right).map(Item::to_vec).eq(model.iter().rev().cloned()));
    for index in [0, 1, model.len() / 2, model.len().saturating_sub(1), model.len()] {
        prop_assert_eq!(list.get(index).map(Item::to_vec), model.get(index).cloned());
        let rest = model.get(index..).unwrap_or_default();
        prop_assert!(list.iter_from(index, Side::Left).map(Item::to_vec).eq(rest.iter().cloned()));
    }
    prop_assert_eq!(list.end(Side::Left).map(Item::to_vec), model.first().cloned());
    prop_assert_eq!(list.end(Side::Right).map(Item::to_vec), model.last().cloned());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn lists_are_what_a_vector_is(
        option in prop_oneof![Just(-2_i64), Just(-1), Just(-5), 0..5_i64, Just(128)],
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let (fill, mut list, mut model) = (Fill::new(option), List::default(), Vec::new());
        for step in steps {
            run(step, fill, &mut list, &mut model);
            compare(&list, &model)?;
        }
        compare(&list.clone(), &model)?;
    }
}

/// Goes on with the walk through `nodes` for some nodes, and adds their texts to `met`.
fn walk(nodes: &mut Nodes, count: usize, met: &mut Vec<Vec<u8>>) -> bool {
    let mut left = count;
    let mut more = || {
        left = left.saturating_sub(1);
        left > 0
    };
    nodes.walk_on(&mut more, &mut |node| {
        let texts = match node {
            NodeRef::Packed(bytes) => {
                Listpack::from_bytes(&bytes).expect("a listpack").iter().map(Item::to_vec).collect()
            }
            NodeRef::Plain(bytes) => vec![bytes.to_vec()],
        };
        met.extend(texts);
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_walk_meets_what_there_was_when_it_began(
        option in prop_oneof![Just(-1_i64), 1..5_i64],
        before in prop::collection::vec(text(), 20..120),
        steps in prop::collection::vec((step(), 0..3_usize), 1..80),
    ) {
        let (fill, mut list, mut model) = (Fill::new(option), List::default(), Vec::new());
        run(Step::Push(Side::Right, before), fill, &mut list, &mut model);
        let (expected, claim, mut met) = (model.clone(), Claim::new(b""), Vec::new());
        let Some(nodes) = list.walkable_mut() else { return Ok(()) };
        nodes.begin_walk(claim.clone());
        for (step, turns) in steps {
            run(step, fill, &mut list, &mut model);
            compare(&list, &model)?;
            if let Some(nodes) = list.walkable_mut().filter(|nodes| nodes.claim().is_some() && turns > 0) {
                walk(nodes, turns, &mut met);
            }
        }
        // It may have become a listpack meanwhile, or be through.
        drop(list);
        if let Some(Left::Nodes(mut nodes)) = claim.take_left() {
            while !walk(&mut nodes, 3, &mut met) {}
        }
        prop_assert_eq!(met, expected);
    }
}

/// A queue of a few elements goes through a node over and over: neither may it creep through memory, nor move each time.
#[test]
fn a_short_queue_stays_small() {
    let (fill, mut list) = (Fill::new(4), List::default());
    for number in 0..100_000_i64 {
        list.grow(fill, 8, 1);
        list.push(Side::Left, format!("{number:08}").as_bytes());
        if number >= 5 {
            list.pop(Side::Right, |_| ());
        }
    }
    assert_eq!((list.len(), list.encoding()), (5, "quicklist"));
    assert!(list.memory_bytes() < 1000, "{} bytes", list.memory_bytes());
    assert_eq!(list.validate(), Ok(()));
}

/// Thresholds as Valkey 9.1 showed them.
#[test]
fn encodings_change_where_redis_changes_them() {
    let (fill, mut list) = (Fill::new(4), List::default());
    let encodings = |list: &List| list.encoding();
    for len in 1..=12 {
        list.grow(fill, 2, 1);
        list.push(Side::Right, b"ab");
        assert_eq!(encodings(&list), if len <= 4 { "listpack" } else { "quicklist" }, "{len}");
    }
    for len in (1..12).rev() {
        list.pop(Side::Left, |_| ());
        list.shrink(fill);
        assert_eq!(encodings(&list), if len <= 2 { "listpack" } else { "quicklist" }, "{len}");
    }
}

#[test]
fn nodes_can_be_put_together_again() {
    let (fill, mut list) = (Fill::new(-1), List::default());
    for number in 0..5000 {
        list.grow(fill, 4, 1);
        list.push(if number % 3 == 0 { Side::Left } else { Side::Right }, number.to_string().as_bytes());
    }
    list.push(Side::Left, &[b'x'; 5000]);
    let mut copy = List::default();
    for node in list.nodes() {
        let node = match node {
            NodeRef::Packed(bytes) => LoadedNode::Packed(Listpack::from_bytes(&bytes).expect("a listpack")),
            NodeRef::Plain(bytes) => LoadedNode::Plain(Bytes::copy_from_slice(bytes)),
        };
        copy.append_node(node, fill);
    }
    assert!(copy.iter(Side::Left).eq(list.iter(Side::Left)));
    assert_eq!(copy.validate(), Ok(()));
}

/// Elements that are replaced by longer ones must not make a node that takes long to move.
#[test]
fn nodes_stay_small_when_elements_grow() {
    let (fill, mut list) = (Fill::new(-1), List::default());
    for _ in 0..3000 {
        list.grow(fill, 1, 1);
        list.push(Side::Right, b"x");
    }
    for index in 0..3000 {
        list.set(index, &[b'y'; 4000]);
    }
    assert_eq!(list.validate(), Ok(()));
    let longest = list.nodes().map(|node| if let NodeRef::Packed(bytes) = node { bytes.len() } else { 0 }).max();
    assert!(longest.is_some_and(|bytes| bytes < 64 * 1024), "{longest:?}");
    assert!(list.iter(Side::Left).all(|element| element.len() == 4000) && list.len() == 3000);
}
