//! A listpack against a vector, against the bytes of other servers, and against corrupted bytes.

use super::*;
use crate::util::number;
use proptest::prelude::*;

/// Texts of every encoding and at its limits.
fn texts() -> impl Strategy<Value = Vec<u8>> + Clone {
    let lens = prop_oneof![0usize..80, 120usize..132, 4090usize..4100, 16_370usize..16_390];
    prop_oneof![
        4 => any::<i64>().prop_map(|value| value.to_string().into_bytes()),
        4 => (0u32..64, any::<bool>(), -2i64..3).prop_map(|(bit, negative, near)| {
            let value = (1i64 << bit).wrapping_add(near);
            (if negative { value.wrapping_neg() } else { value }).to_string().into_bytes()
        }),
        4 => proptest::collection::vec(any::<u8>(), 0..70),
        2 => (0u8..4).prop_map(|letter| vec![b'a' + letter]),
        1 => prop_oneof![Just("-0"), Just("007"), Just("+1"), Just("9223372036854775808"), Just(" 1")]
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => (any::<u8>(), lens).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    PushBack(Vec<u8>),
    PushFront(Vec<u8>),
    InsertBefore(usize, Vec<u8>),
    InsertAfter(usize, Vec<u8>),
    Replace(usize, Vec<u8>),
    Remove(usize, usize),
    RemoveEvery(usize, usize),
    PushAll(bool, Vec<Vec<u8>>),
    Reload,
    Clear,
}

fn steps<T: Strategy<Value = Vec<u8>> + Clone + 'static>(texts: T, removals: u32) -> impl Strategy<Value = Step> {
    let at = 0usize..1000;
    prop_oneof![
        4 => texts.clone().prop_map(Step::PushBack),
        2 => texts.clone().prop_map(Step::PushFront),
        2 => (at.clone(), texts.clone()).prop_map(|(at, text)| Step::InsertBefore(at, text)),
        2 => (at.clone(), texts.clone()).prop_map(|(at, text)| Step::InsertAfter(at, text)),
        3 => (at.clone(), texts.clone()).prop_map(|(at, text)| Step::Replace(at, text)),
        removals => (at.clone(), 0usize..4).prop_map(|(at, count)| Step::Remove(at, count)),
        1 => (at, 1usize..9).prop_map(|(at, every)| Step::RemoveEvery(at, every)),
        1 => (any::<bool>(), proptest::collection::vec(texts, 0..12)).prop_map(|(back, all)| Step::PushAll(back, all)),
        1 => Just(Step::Reload),
        1 => Just(Step::Clear),
    ]
}

/// Texts of which a listpack can have many while it is short.
fn short_texts() -> impl Strategy<Value = Vec<u8>> + Clone {
    prop_oneof![
        3 => (0u32..300).prop_map(|value| value.to_string().into_bytes()),
        6 => proptest::collection::vec(any::<u8>(), 0..14),
        1 => proptest::collection::vec(any::<u8>(), 110..140),
    ]
}

fn place(pack: &Listpack, index: usize) -> At {
    pack.at_index(i64::try_from(index).unwrap()).unwrap()
}

/// One step on both; steps that need an element do nothing on an empty list.
fn apply(step: &Step, pack: &mut Listpack, model: &mut Vec<Vec<u8>>) {
    let len = model.len();
    match step {
        Step::PushBack(text) => {
            let at = pack.push_back(text);
            assert_eq!(pack.last(), Some(at));
            model.push(text.clone());
        }
        Step::PushFront(text) => {
            let at = pack.push_front(text);
            assert_eq!(pack.first(), Some(at));
            model.insert(0, text.clone());
        }
        Step::Clear => {
            pack.clear();
            model.clear();
        }
        Step::PushAll(back, all) => {
            let texts = all.iter().map(Vec::as_slice);
            if *back {
                pack.push_back_all(texts);
                model.extend(all.iter().cloned());
            } else {
                pack.push_front_all(texts);
                model.splice(0..0, all.iter().rev().cloned());
            }
        }
        Step::Reload => *pack = Listpack::from_bytes(&pack.bytes()).unwrap(),
        Step::RemoveEvery(first, every) => {
            let goes = |index: usize| index >= first % (len + 1) && index.is_multiple_of(*every);
            let places: Vec<At> = (0..len).filter(|index| goes(*index)).map(|index| place(pack, index)).collect();
            pack.remove_all(&places);
            let mut index = 0..len;
            model.retain(|_| !index.next().is_some_and(goes));
        }
        _ if len == 0 => {}
        Step::InsertBefore(index, text) => {
            let at = pack.insert_before(place(pack, index % len), text);
            model.insert(index % len, text.clone());
            assert_eq!(at, place(pack, index % len));
        }
        Step::InsertAfter(index, text) => {
            let at = pack.insert_after(place(pack, index % len), text);
            model.insert(index % len + 1, text.clone());
            assert_eq!(at, place(pack, index % len + 1));
        }
        Step::Replace(index, text) => {
            let at = pack.replace(place(pack, index % len), text);
            model[index % len].clone_from(text);
            assert_eq!(at, place(pack, index % len));
        }
        Step::Remove(index, count) => {
            let (start, end) = (index % len, (index % len + count).min(len));
            let next = pack.remove_range(place(pack, start), *count);
            model.drain(start..end);
            assert_eq!(next, pack.at_index(i64::try_from(start).unwrap()));
        }
    }
}

fn compare(pack: &Listpack, model: &[Vec<u8>]) {
    pack.validate().unwrap();
    assert_eq!((pack.len(), pack.is_empty()), (model.len(), model.is_empty()));
    assert!(pack.iter().map(Item::to_vec).eq(model.iter().cloned()));
    assert!(pack.iter().rev().map(Item::to_vec).eq(model.iter().rev().cloned()));
    assert_eq!(Listpack::from_bytes(&pack.bytes()).as_ref(), Some(pack));
    walk(pack);
}

/// Uses every accessor on every element, both ways.
fn walk(pack: &Listpack) {
    let (mut forwards, mut backwards) = (Vec::new(), Vec::new());
    let mut next = pack.first();
    while let Some(at) = next {
        forwards.push(at);
        let (item, mut buffer) = (pack.get(at), itoa::Buffer::new());
        let text = item.text(&mut buffer).to_vec();
        assert_eq!((item.len(), item.is_empty(), item.to_vec()), (text.len(), text.is_empty(), text.clone()));
        assert!(item.equals(&text) && !item.equals(b"something else"));
        assert_eq!(pack.find(at, &text, 0), Some(at));
        assert_eq!(item.integer(), number::parse_i64(&text));
        next = pack.next(at);
    }
    let mut prev = pack.last();
    while let Some(at) = prev {
        backwards.push(at);
        prev = pack.prev(at);
        assert_eq!(pack.prev_pair(at), prev.and_then(|at| pack.prev(at)));
    }
    assert_eq!(pack.last_pair(), pack.last().and_then(|at| pack.prev(at)));
    backwards.reverse();
    assert_eq!(forwards, backwards);
    let len = i64::try_from(forwards.len()).unwrap();
    for (index, at) in (0..len).zip(&forwards) {
        assert_eq!((pack.at_index(index), pack.at_index(index - len)), (Some(*at), Some(*at)));
    }
    assert_eq!((pack.at_index(len), pack.at_index(-len - 1), pack.at_index(i64::MIN)), (None, None, None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn behaves_like_a_vector(steps in proptest::collection::vec(steps(texts(), 2), 0..60)) {
        let (mut pack, mut model) = (Listpack::new(), Vec::new());
        for step in &steps {
            apply(step, &mut pack, &mut model);
            pack.validate().unwrap();
        }
        compare(&pack, &model);
    }

    /// Around the limits of the short layout, which it takes and leaves many times.
    #[test]
    fn behaves_like_a_short_vector(steps in proptest::collection::vec(steps(short_texts(), 6), 0..200)) {
        let (mut pack, mut model) = (Listpack::new(), Vec::new());
        for step in &steps {
            apply(step, &mut pack, &mut model);
            compare(&pack, &model);
        }
    }

    #[test]
    fn finds_what_a_vector_finds(list in proptest::collection::vec(texts(), 1..40), from in 0usize..40, skip in 0usize..3) {
        let pack: Listpack = list.iter().map(Vec::as_slice).collect();
        let from = from % list.len();
        for needle in list.iter().map(Vec::as_slice).chain([&b"no"[..], b"77", b"-0"]) {
            let expected = (from..list.len()).step_by(skip + 1).find(|index| list[*index] == needle);
            prop_assert_eq!(pack.find(place(&pack, from), needle, skip), expected.map(|index| place(&pack, index)));
        }
    }

    #[test]
    fn flipped_bytes_are_refused_or_harmless(
        list in proptest::collection::vec(texts(), 0..20),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let pack: Listpack = list.iter().map(Vec::as_slice).collect();
        let mut bytes = pack.bytes().to_vec();
        for (place, value) in flips {
            let place = place.index(bytes.len());
            bytes[place] = value;
            Listpack::from_bytes(&bytes).iter().for_each(walk);
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        Listpack::from_bytes(&bytes).iter().for_each(walk);
        let total = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        if let [a, b, c, d, .., last] = &mut bytes[..] {
            ([*a, *b, *c, *d], *last) = (total, END);
        }
        Listpack::from_bytes(&bytes).iter().for_each(walk);
    }

    /// Random heads with the header and the end mark right, so that what is between is what is looked at.
    #[test]
    fn random_bytes_are_refused_or_harmless(middle in proptest::collection::vec(any::<u8>(), 0..40), count in 0u16..12) {
        let mut bytes = u32::try_from(middle.len() + EMPTY.len()).unwrap().to_le_bytes().to_vec();
        bytes.extend(if count == 11 { UNKNOWN_COUNT } else { count }.to_le_bytes());
        bytes.extend(middle);
        bytes.push(END);
        Listpack::from_bytes(&bytes).iter().for_each(walk);
        Listpack::from_bytes(&bytes[EMPTY.len() - 1..]).iter().for_each(walk);
    }
}

/// The bytes that Valkey 9.1 and Redis 8.2 give in DUMP for the same elements.
#[test]
fn bytes_are_those_of_other_servers() {
    let pack: Listpack = [&b"a"[..], b"1", b"127", b"128", b"-1", b"-4097", b"40000", b"", b"01"].into_iter().collect();
    let expected =
        b"\x81a\x02\x01\x01\x7f\x01\xc0\x80\x02\xdf\xff\x02\xf1\xff\xef\x03\xf2\x40\x9c\x00\x04\x80\x01\x8201\x03";
    assert_eq!(&pack.bytes()[HEADER_BYTES..pack.size() - 1], expected);
    let wide: Listpack = [&b"2147483647"[..], b"-9223372036854775808"].into_iter().collect();
    let expected = b"\xf3\xff\xff\xff\x7f\x05\xf4\0\0\0\0\0\0\0\x80\x09";
    assert_eq!(&wide.bytes()[HEADER_BYTES..wide.size() - 1], expected);
    for (len, head, size) in [
        (63, &b"\xbf"[..], &b"\x40"[..]),
        (64, b"\xe0\x40", b"\x42"),
        (126, b"\xe0\x7e", b"\x01\x80"),
        (4095, b"\xef\xff", b"\x20\x81"),
        (4096, b"\xf0\0\x10\0\0", b"\x20\x85"),
        (16_378, b"\xf0\xfa\x3f\0\0", b"\x7f\xff"),
        (16_379, b"\xf0\xfb\x3f\0\0", b"\x01\x80\x80"),
    ] {
        let pack: Listpack = [&vec![b'x'; len][..]].into_iter().collect();
        let element = &pack.bytes()[HEADER_BYTES..pack.size() - 1];
        assert!(element.starts_with(head) && element.ends_with(size), "{len}: {:?}", &element[element.len() - 5..]);
    }
}

/// Redis and Valkey disagree about elements of 16383 bytes; files of either must load.
#[test]
fn sizes_as_redis_writes_them_are_read() {
    let list = [vec![b'a'; 16_378], vec![b'b'; 16_377], vec![b'c'; 16_379], b"12".to_vec(), vec![b'd'; 2_097_146]];
    let pack: Listpack = list.iter().map(Vec::as_slice).collect();
    let mut bytes = pack.bytes().to_vec();
    for index in [4, 0] {
        let end = end_of(&bytes, place(&pack, index).offset()).unwrap();
        let size = if index == 4 { 3 } else { 2 };
        bytes.splice(end - size..end - size + 1, [0, 0xff]);
    }
    let total = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    bytes[..4].copy_from_slice(&total);
    assert_eq!(Listpack::from_bytes(&bytes).as_ref(), Some(&pack));
    bytes[4] = 4;
    assert_eq!(Listpack::from_bytes(&bytes), None, "a wrong number");
}

#[test]
fn so_many_elements_are_counted() {
    let mut pack = Listpack::new();
    (0..70_000).for_each(|value| _ = pack.push_back_int(value));
    assert_eq!(pack.bytes()[4..HEADER_BYTES], [0xff, 0xff]);
    assert_eq!((pack.len(), pack.known_len()), (70_000, None));
    assert_eq!(pack.at_index(69_999), pack.last());
    assert_eq!(pack.at_index(-70_000), pack.first());
    assert_eq!((pack.at_index(70_000), pack.at_index(-70_001)), (None, None));
    assert_eq!(pack.at_index(-2).map(|at| pack.get(at)), Some(Item::Int(69_998)));
    assert_eq!(Listpack::from_bytes(&pack.bytes()).as_ref(), Some(&pack));
    assert_eq!(pack.remove_range(pack.first().unwrap(), 69_990).map(|at| pack.get(at)), Some(Item::Int(69_990)));
    assert_eq!(pack.len(), 10);
    pack.validate().unwrap();
}

/// RESTORE may bring numbers in forms that nobody writes; they read and compare as what they say.
#[test]
fn unusual_forms_read_as_what_they_say() {
    let bytes = b"\x1c\0\0\0\x04\0\x8212\x03\xf1\x0c\0\x03\xf0\x02\0\0\x0012\x07\xe0\x0212\x04\xff";
    let pack = Listpack::from_bytes(bytes).unwrap();
    assert!(pack.iter().all(|item| item.equals(b"12") && item.integer() == Some(12) && item.to_vec() == b"12"));
    walk(&pack);
}

#[test]
fn items_move_in_the_form_they_have() {
    let (mut pack, mut other) = (Listpack::new(), Listpack::new());
    pack.extend([&b"b"[..], b"12", b"c"]);
    pack.iter().for_each(|item| _ = other.push_front_item(item));
    let at = other.insert_before_item(other.first().unwrap(), Item::Int(-7));
    other.insert_after_item(at, Item::Text(b"x"));
    other.replace_int(other.last().unwrap(), 1 << 40);
    let texts: Vec<_> = other.iter().map(Item::to_vec).collect();
    assert_eq!(texts, [&b"-7"[..], b"x", b"c", b"12", b"1099511627776"]);
    assert!(other.fits(1000) && !other.fits(MAX_BYTES) && !other.fits(usize::MAX));
    assert_eq!(other.remove(other.last().unwrap()), None);
    assert_eq!(other.memory_bytes(), 16);
}
