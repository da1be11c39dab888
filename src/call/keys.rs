//! Which arguments of a request are keys, by the key specifications of its row.
//!
//! Dispatch asks it before every handler, to know the shards to lock; `COMMAND GETKEYS` and cluster slots ask the same.
//! Invariant: an index it names lies inside the request, whatever the request holds. Must not know: any particular
//! command, what the keys hash to. Source of the terms: the key specifications of the Redis command reference.

use super::spec::{Begin, CommandSpec, Find, KeyFlags, KeySpec};
use crate::protocol::batch::RequestView;
use crate::util::number;

/// The keys of a request do not lie where its row says: too few arguments, or a count that is none.
///
/// Its handler is going to answer an error before it looks at a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyError;

/// Adjacent keys: the arguments `first`, `first + step` and so on, up to and including `last`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Span {
    first: usize,
    last: usize,
    step: usize,
}

/// Calls `out` with the argument index and the flags of every key of `request`, whose row is `spec`.
///
/// Indices ascend within a specification, and all are below the request's argument count. A few instructions for one
/// key at a fixed place; O(keys), for a keyword O(arguments).
///
/// # Errors
/// Some specification does not fit the request, or only the handler knows its keys; those of the others are still given.
#[inline]
pub fn declared_keys(
    spec: &CommandSpec,
    request: RequestView<'_>,
    out: &mut impl FnMut(usize, KeyFlags),
) -> Result<(), KeyError> {
    let mut result = Ok(());
    for key in spec.keys {
        match span(spec, key, request) {
            Ok(Some(Span { first, last, step })) => {
                (first..=last).step_by(step).for_each(|index| out(index, key.flags));
            }
            Ok(None) => {}
            Err(error) => result = Err(error),
        }
    }
    if let Some(own) = spec.own_keys {
        own(request, out);
    }
    result
}

/// Where the keys of one specification lie; `None` when they hang on an optional word that is absent.
#[inline]
fn span(spec: &CommandSpec, key: &KeySpec, request: RequestView<'_>) -> Result<Option<Span>, KeyError> {
    let argc = request.argc();
    let span = match (key.begin, key.find) {
        (Begin::Index(first), Find::Range { last: 0, .. }) => Span { first, last: first, step: 1 },
        (Begin::Index(first), Find::Range { last, step, limit }) => range(argc, first, last, step, limit)?,
        _ => match uncommon(spec, key, request)? {
            Some(span) => span,
            None => return Ok(None),
        },
    };
    if span.first <= span.last && span.last < argc { Ok(Some(span)) } else { Err(KeyError) }
}

/// The span of [`Find::Range`]; it may still reach beyond the request.
#[inline]
fn range(argc: usize, first: usize, last: i32, step: usize, limit: usize) -> Result<Span, KeyError> {
    let back = last.unsigned_abs() as usize;
    let last = match (last < 0, limit) {
        (false, _) => first + back,
        (true, 0 | 1) => argc.checked_sub(back).ok_or(KeyError)?,
        (true, _) => (first + argc.saturating_sub(first) / limit).checked_sub(back).ok_or(KeyError)?,
    };
    Ok(Span { first, last, step: step.max(1) })
}

#[inline(never)]
fn uncommon(spec: &CommandSpec, key: &KeySpec, request: RequestView<'_>) -> Result<Option<Span>, KeyError> {
    let begin = match key.begin {
        Begin::Index(index) => index,
        Begin::Keyword(word, from) => {
            let found = match spec.behind_keyword {
                Some(find) => find(request, word),
                None => behind_keyword(request, word, from),
            };
            match found {
                Some(index) => index,
                None => return Ok(None),
            }
        }
        Begin::Unknown if spec.own_keys.is_some() => return Ok(None),
        Begin::Unknown => return Err(KeyError),
    };
    match key.find {
        Find::Range { last, step, limit } => range(request.argc(), begin, last, step, limit).map(Some),
        Find::Count { number, first, step } => counted(request, begin + number, begin + first, step.max(1)).map(Some),
        Find::Unknown => Err(KeyError),
    }
}

/// The index behind `word`, which is looked for from argument `from`, or from the end backwards when negative. The last
/// argument cannot be the word, since nothing follows it.
pub fn behind_keyword(request: RequestView<'_>, word: &str, from: i32) -> Option<usize> {
    let start = from.unsigned_abs() as usize;
    let is_word = |index: &usize| request.arg(*index).eq_ignore_ascii_case(word.as_bytes());
    let end = request.argc().checked_sub(1)?;
    let found = if from < 0 {
        (1..end.min((end + 2).saturating_sub(start))).rev().find(is_word)
    } else {
        (start..end).find(is_word)
    };
    found.map(|index| index + 1)
}

/// As many keys from `first` as the number at argument `number` says.
fn counted(request: RequestView<'_>, number: usize, first: usize, step: usize) -> Result<Span, KeyError> {
    let count = request.get(number).and_then(number::parse_i64).ok_or(KeyError)?;
    let further = usize::try_from(count).ok().and_then(|count| count.checked_sub(1)).ok_or(KeyError)?;
    let last = further.checked_mul(step).and_then(|distance| distance.checked_add(first)).ok_or(KeyError)?;
    Ok(Span { first, last, step })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::batch::OwnedRequest;
    use proptest::prelude::*;

    fn keys_of(keys: &'static [KeySpec], line: &str) -> (Vec<usize>, bool) {
        let request = OwnedRequest::from_args(line.split(' ').map(str::as_bytes));
        let spec = CommandSpec { keys, ..CommandSpec::DEFAULT };
        let mut found = Vec::new();
        let result = declared_keys(&spec, request.view(), &mut |index, _| found.push(index));
        (found, result.is_ok())
    }

    const RO: KeyFlags = KeyFlags::RO;
    const ONE: &[KeySpec] = &[KeySpec::one(1, RO)];
    const TWO: &[KeySpec] = &[KeySpec::one(1, RO), KeySpec::one(2, RO)];
    const ALL: &[KeySpec] = &[KeySpec::range(1, -1, 1, RO)];
    const PAIRS: &[KeySpec] = &[KeySpec::range(1, -1, 2, RO)];
    const BUT_LAST: &[KeySpec] = &[KeySpec::range(1, -2, 1, RO)];
    const COUNTED: &[KeySpec] = &[KeySpec::counted(1, 1, RO)];
    const COUNTED_PAIRS: &[KeySpec] = &[KeySpec::counted(1, 2, RO)];
    const HALF: Find = Find::Range { last: -1, step: 1, limit: 2 };
    const STREAMS: &[KeySpec] = &[KeySpec { flags: RO, begin: Begin::Keyword("STREAMS", 1), find: HALF, notes: "" }];
    const KEYS_WORD: &[KeySpec] = &[KeySpec {
        flags: RO,
        begin: Begin::Keyword("KEYS", -2),
        find: Find::Range { last: -1, step: 1, limit: 0 },
        notes: "",
    }];

    #[test]
    fn fixed_places() {
        assert_eq!(keys_of(ONE, "GET k"), (vec![1], true));
        assert_eq!(keys_of(ONE, "GET"), (vec![], false));
        assert_eq!(keys_of(TWO, "RENAME a b"), (vec![1, 2], true));
        assert_eq!(keys_of(TWO, "RENAME a"), (vec![1], false));
    }

    #[test]
    fn ranges() {
        assert_eq!(keys_of(ALL, "DEL a b c"), (vec![1, 2, 3], true));
        assert_eq!(keys_of(ALL, "DEL"), (vec![], false));
        assert_eq!(keys_of(PAIRS, "MSET a 1 b 2"), (vec![1, 3], true));
        assert_eq!(keys_of(PAIRS, "MSET a 1 b"), (vec![1, 3], true));
        assert_eq!(keys_of(BUT_LAST, "BLPOP a b 0"), (vec![1, 2], true));
        assert_eq!(keys_of(BUT_LAST, "BLPOP 0"), (vec![], false));
    }

    #[test]
    fn counts() {
        assert_eq!(keys_of(COUNTED, "EVALX 2 a b c"), (vec![2, 3], true));
        assert_eq!(keys_of(COUNTED_PAIRS, "MSETEX 2 a 1 b 2 EX 10"), (vec![2, 4], true));
        for bad in ["x", "-1", "0", "4", "9223372036854775807", "-9223372036854775808", "99999999999999999999", "2.0"] {
            assert_eq!(keys_of(COUNTED, &format!("EVALX {bad} a b c")), (vec![], false), "{bad}");
            assert_eq!(keys_of(COUNTED_PAIRS, &format!("MSETEX {bad} a 1 b")), (vec![], false), "{bad}");
        }
    }

    #[test]
    fn keywords() {
        assert_eq!(keys_of(STREAMS, "XREAD COUNT 2 streams a b 0 0"), (vec![4, 5], true));
        assert_eq!(keys_of(STREAMS, "XREAD STREAMS"), (vec![], true));
        assert_eq!(keys_of(STREAMS, "XREAD"), (vec![], true));
        assert_eq!(keys_of(STREAMS, "XREAD STREAMS a"), (vec![], false));
        assert_eq!(keys_of(KEYS_WORD, "MIGRATE h p keys 0 9 KEYS a b"), (vec![7, 8], true));
        assert_eq!(keys_of(KEYS_WORD, "MIGRATE"), (vec![], true));
    }

    #[test]
    fn places_that_only_the_handler_knows() {
        const UNKNOWN: &[KeySpec] =
            &[KeySpec::one(1, RO), KeySpec { flags: RO, begin: Begin::Unknown, find: Find::Unknown, notes: "" }];
        assert_eq!(keys_of(UNKNOWN, "SORT k"), (vec![1], false));
    }

    fn any_spec() -> impl Strategy<Value = KeySpec> {
        let begin = prop_oneof![
            (0..6_usize).prop_map(Begin::Index),
            (-6..6_i32).prop_map(|from| Begin::Keyword("w", from)),
            Just(Begin::Unknown)
        ];
        let find = prop_oneof![
            (-4..4_i32, 0..4_usize, 0..4_usize).prop_map(|(last, step, limit)| Find::Range { last, step, limit }),
            (0..4_usize, 0..4_usize, 0..4_usize).prop_map(|(number, first, step)| Find::Count { number, first, step }),
            Just(Find::Unknown)
        ];
        (begin, find).prop_map(|(begin, find)| KeySpec { flags: RO, begin, find, notes: "" })
    }

    proptest! {
        #[test]
        fn never_outside_the_request(
            spec in any_spec(),
            args in prop::collection::vec(prop_oneof!["w", "-?[0-9]{1,2}", "9223372036854775807", "k"], 1..10),
        ) {
            let request = OwnedRequest::from_args(args.iter().map(String::as_bytes));
            let keys = Box::leak(Box::new([spec]));
            let spec = CommandSpec { keys, ..CommandSpec::DEFAULT };
            let (mut before, argc) = (None, args.len());
            let _ = declared_keys(&spec, request.view(), &mut |index, _| {
                assert!(index < argc && before.is_none_or(|before| before < index));
                before = Some(index);
            });
        }
    }
}
