//! SORT and SORT_RO.
//!
//! Elements are copied out first, then the keys that BY names are looked up, then those that GET names: a pattern names
//! other keys for every element, so that such a request holds every shard of its database ([`scope`]). Invariant: a
//! request that answers an error has stored nothing. Must not know: how collections are held.
//! Source: the Redis command reference; Valkey 9.1 for the order of equal elements and for what spells a number.

use super::pattern::Pattern;
use crate::call::args::Args;
use crate::call::context::{Context, Event};
use crate::call::error::CommandError;
use crate::call::limits;
use crate::call::spec::{Begin, Categories, CommandSpec, Find, Flags, Group, KeyFlags, KeySpec, Outcome, Scope};
use crate::keyspace::{Key, Ttl, View};
use crate::protocol::batch::RequestView;
use crate::protocol::reply::Reply;
use crate::util::number;
use crate::value::list::{Fill, List, Side};
use crate::value::listpack::Item;
use crate::value::object::ObjectRef;
use std::cmp::Ordering;
use std::ops::Range;

const SORTED: KeySpec = KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS));

const NAMED_BY_PATTERNS: KeySpec = KeySpec {
    flags: KeyFlags::RO.and(KeyFlags::ACCESS),
    begin: Begin::Unknown,
    find: Find::Unknown,
    notes: "The keys that BY and GET name: they follow from the elements",
};

const STORED: KeySpec = KeySpec {
    flags: KeyFlags::OW.and(KeyFlags::UPDATE),
    begin: Begin::Unknown,
    find: Find::Unknown,
    notes: "The key of STORE, which may stand anywhere among the options",
};

const CATEGORIES: Categories =
    Categories::SET.and(Categories::SORTEDSET).and(Categories::LIST).and(Categories::DANGEROUS);

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "sort",
        arity: -2,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLEKEYS),
        categories: CATEGORIES,
        keys: &[SORTED, NAMED_BY_PATTERNS, STORED],
        own_keys: Some(store_key),
        scope: Scope::Chosen(scope),
        since: "1.0.0",
        group: Group::Generic,
        summary: "Sorts the elements of a list, a set or a sorted set, and perhaps stores them.",
        complexity: "O(N log N) for N elements, and a lookup for each BY and GET of each.",
        syntax: "key:key#0 [BY by-pattern~pattern:pattern#1] [LIMIT limit(offset:integer count:integer)] \
                 [GET get-pattern~pattern:pattern#1...+] [order<asc=ASC|desc=DESC>] [sorting=ALPHA] \
                 [STORE destination:key#2]",
        run: sort,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "sort_ro",
        arity: -2,
        flags: Flags::READONLY.and(Flags::MOVABLEKEYS),
        categories: CATEGORIES,
        keys: &[SORTED, NAMED_BY_PATTERNS],
        own_keys: Some(|_, _| {}),
        scope: Scope::Chosen(scope),
        since: "7.0.0",
        group: Group::Generic,
        summary: "Sorts the elements of a list, a set or a sorted set.",
        complexity: "As for SORT.",
        syntax: "key:key#0 [BY by-pattern~pattern:pattern#1] [LIMIT limit(offset:integer count:integer)] \
                 [GET get-pattern~pattern:pattern#1...+] [order<asc=ASC|desc=DESC>] [sorting=ALPHA]",
        run: sort_ro,
        ..CommandSpec::DEFAULT
    },
];

/// Names the key of the last STORE.
fn store_key(request: RequestView<'_>, out: &mut dyn FnMut(usize, KeyFlags)) {
    let (mut index, mut found) = (2, None);
    while index + 1 < request.argc() {
        let is = |word: &str| request.arg(index).eq_ignore_ascii_case(word.as_bytes());
        if is("store") {
            found = Some(index + 1);
        }
        index += if is("limit") { 3 } else { 1 + usize::from(is("get") || is("by")) };
    }
    if let Some(index) = found {
        out(index, KeyFlags::OW.and(KeyFlags::UPDATE));
    }
}

/// Which shards a request needs: those of its keys, or all of the database when some pattern names others.
fn scope(request: RequestView<'_>) -> Scope {
    let names_keys = |index: usize| {
        let word = request.arg(index - 1);
        (word.eq_ignore_ascii_case(b"by") || word.eq_ignore_ascii_case(b"get")) && request.arg(index).contains(&b'*')
    };
    if (3..request.argc()).any(names_keys) { Scope::Database } else { Scope::Keys }
}

/// The words behind the key.
struct Options<'a> {
    descending: bool,
    alpha: bool,
    /// First element and how many; negative: from the start, all.
    limit: (i64, i64),
    by: Option<Pattern<'a>>,
    /// Some BY names no key, so that elements stay in their order, whatever another BY names.
    keeps_order: bool,
    get: Vec<Pattern<'a>>,
    store: Option<Key<'a>>,
}

impl<'a> Options<'a> {
    fn read(args: &mut Args<'a>, may_store: bool) -> Result<Options<'a>, CommandError> {
        let mut options = Options {
            descending: false,
            alpha: false,
            limit: (0, -1),
            by: None,
            keeps_order: false,
            get: Vec::new(),
            store: None,
        };
        while args.remaining() > 0 {
            let more = args.remaining() - 1;
            if args.word("ASC") {
                options.descending = false;
            } else if args.word("DESC") {
                options.descending = true;
            } else if args.word("ALPHA") {
                options.alpha = true;
            } else if more >= 2 && args.word("LIMIT") {
                options.limit = (args.integer()?, args.integer()?);
            } else if more >= 1 && may_store && args.word("STORE") {
                options.store = Some(args.key()?);
            } else if more >= 1 && args.word("BY") {
                let by = Pattern::new(args.bytes()?);
                options.keeps_order |= !by.names_keys();
                options.by = Some(by);
            } else if more >= 1 && args.word("GET") {
                options.get.push(Pattern::new(args.bytes()?));
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }

    /// Which of `len` elements are asked for.
    fn range(&self, len: usize) -> Range<usize> {
        let start = usize::try_from(self.limit.0).unwrap_or(0).min(len);
        let count = if self.limit.1 < 0 { len } else { usize::try_from(self.limit.1).unwrap_or(len) };
        start..start.saturating_add(count).min(len)
    }
}

/// What an element is sorted by.
#[derive(Clone)]
enum Weight {
    /// The element's own text, or for numbers 0.
    Own,
    Number(f64),
    Text(Range<usize>),
}

/// An element.
struct Row {
    text: Range<usize>,
    weight: Weight,
}

/// The elements, their texts one behind the other.
#[derive(Default)]
struct Rows {
    texts: Vec<u8>,
    rows: Vec<Row>,
}

impl Rows {
    fn keep(&mut self, text: &[u8]) -> Range<usize> {
        let start = self.texts.len();
        self.texts.extend_from_slice(text);
        start..self.texts.len()
    }

    fn extend<'i>(&mut self, items: impl Iterator<Item = Item<'i>>) {
        let mut buffer = itoa::Buffer::new();
        for item in items {
            let text = self.keep(item.text(&mut buffer));
            self.rows.push(Row { text, weight: Weight::Own });
        }
    }

    fn text(&self, row: usize) -> &[u8] {
        &self.texts[self.rows[row].text.clone()]
    }

    /// Gives every element what it is sorted by: its own text or what `by` names, as a number unless `alpha`.
    fn weigh(&mut self, db: &mut View<'_>, by: Option<&Pattern<'_>>, alpha: bool) -> Result<(), CommandError> {
        const NOT_NUMBERS: CommandError = CommandError::text("ERR One or more scores can't be converted into double");
        let Some(by) = by else {
            for row in self.rows.iter_mut().filter(|_| !alpha) {
                row.weight = number_of(&self.texts[row.text.clone()]).map(Weight::Number).ok_or(NOT_NUMBERS)?;
            }
            return Ok(());
        };
        let mut name = Vec::new();
        for row in 0..self.rows.len() {
            let found = by.find(db, self.text(row), &mut name, |text| text.map(<[u8]>::to_vec));
            self.rows[row].weight = match found {
                Some(text) if alpha => Weight::Text(self.keep(&text)),
                Some(text) => number_of(&text).map(Weight::Number).ok_or(NOT_NUMBERS)?,
                None => Weight::Own,
            };
        }
        Ok(())
    }

    /// Puts those elements in their places that are in `range`. O(n + m log m) for m elements up to its end.
    fn sort(&mut self, range: &Range<usize>, by: bool, alpha: bool, descending: bool) {
        let texts = &self.texts;
        let order = |one: &Row, other: &Row| {
            let order = match (&one.weight, &other.weight) {
                (Weight::Text(one), Weight::Text(other)) => texts[one.clone()].cmp(&texts[other.clone()]),
                (Weight::Own, Weight::Text(_)) => Ordering::Less,
                (Weight::Text(_), Weight::Own) => Ordering::Greater,
                (Weight::Own, Weight::Own) if by && alpha => Ordering::Equal,
                (one, other) => number(one).partial_cmp(&number(other)).unwrap_or(Ordering::Equal),
            };
            let order = if by && alpha {
                order
            } else {
                order.then_with(|| texts[one.text.clone()].cmp(&texts[other.text.clone()]))
            };
            if descending { order.reverse() } else { order }
        };
        if range.end < self.rows.len() && !range.is_empty() {
            self.rows.select_nth_unstable_by(range.end - 1, order);
            self.rows.truncate(range.end);
        }
        self.rows.sort_by(order);
    }
}

fn number(weight: &Weight) -> f64 {
    if let Weight::Number(number) = weight { *number } else { 0.0 }
}

/// The number that a text spells, up to a NUL, where C's texts end.
fn number_of(text: &[u8]) -> Option<f64> {
    number::parse_f64(text.split(|byte| *byte == 0).next()?)
}

/// Takes the elements of the collection at `key` out, in their own order (`descending`: backwards), and with `range` only
/// those; returns which of them are asked for. `sorts`: they are going to be sorted, so that all are needed.
fn load(
    db: &mut View<'_>,
    key: Key<'_>,
    options: &Options<'_>,
    sorts: bool,
) -> Result<(Rows, Range<usize>), CommandError> {
    let (mut rows, descending) = (Rows::default(), options.descending && !sorts);
    let Some(entry) = db.read(key) else { return Ok((rows, 0..0)) };
    let object = entry.object().ok_or(CommandError::WrongType)?;
    let range = options.range(object.len());
    let needed = if sorts { 0..object.len() } else { range.clone() };
    match object {
        ObjectRef::List(list) if descending => {
            let first = list_place(object.len(), needed.start);
            rows.extend(list.iter_from(first, Side::Right).take(needed.len()));
        }
        ObjectRef::List(list) => rows.extend(list.iter_from(needed.start, Side::Left).take(needed.len())),
        ObjectRef::Set(set) => {
            rows.extend(set.iter().skip(needed.start).take(needed.len()));
        }
        ObjectRef::SortedSet(set) => {
            let len = object.len();
            let ranks = if descending { len - needed.end..len - needed.start } else { needed.clone() };
            rows.extend(set.walk(ranks, descending).map(|(member, _)| member));
        }
        ObjectRef::Hash(_) | ObjectRef::Stream(_) => return Err(CommandError::WrongType),
    }
    Ok((rows, if sorts { range } else { 0..needed.len() }))
}

/// The place of the element that has `behind` others behind it.
fn list_place(len: usize, behind: usize) -> usize {
    (len - behind).saturating_sub(1)
}

/// `SORT key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC | DESC] [ALPHA] [STORE destination]`
///
/// Replies the elements in order, or what GET finds for each; with STORE stores them as a list and replies their number.
/// O(n log n) for n elements, O(n) with a BY that names no key. Deviation: the sorted set keeps its encoding.
fn sort<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    run(ctx, args, true)
}

/// `SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC | DESC] [ALPHA]`
///
/// As SORT, without STORE.
fn sort_ro<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    run(ctx, args, false)
}

fn run<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>, may_store: bool) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let mut options = Options::read(args, may_store)?;
    let is_set = matches!(ctx.db.peek(key).and_then(|entry| entry.object()), Some(ObjectRef::Set(_)));
    let mut sorts = !options.keeps_order;
    if !sorts && is_set && (options.store.is_some() || ctx.by_script) {
        // A set has no order of its own that could be stored, or that a script could rely on.
        (sorts, options.alpha, options.by) = (true, true, None);
    }

    let (mut rows, range) = load(&mut ctx.db, key, &options, sorts)?;
    if sorts {
        rows.weigh(&mut ctx.db, options.by.as_ref(), options.alpha)?;
        rows.sort(&range, options.by.is_some(), options.alpha, options.descending);
    }
    match options.store {
        Some(destination) => store(ctx, &rows, range, &options.get, destination),
        None => reply(&mut ctx.reply, &mut ctx.db, &rows, range, &options.get),
    }
    Ok(Outcome::Done)
}

fn reply(reply: &mut Reply<'_>, db: &mut View<'_>, rows: &Rows, range: Range<usize>, get: &[Pattern<'_>]) {
    reply.array(range.len() * get.len().max(1));
    each_result(db, rows, range, get, &mut |text| match text {
        Some(text) => reply.bulk(text),
        None => reply.null(),
    });
}

/// Calls `found` with what is to be answered: for each element in `range` what each GET finds, or the element itself.
fn each_result(
    db: &mut View<'_>,
    rows: &Rows,
    range: Range<usize>,
    get: &[Pattern<'_>],
    found: &mut dyn FnMut(Option<&[u8]>),
) {
    let mut name = Vec::new();
    for row in range {
        let text = rows.text(row);
        if get.is_empty() {
            found(Some(text));
        }
        for pattern in get {
            pattern.find(db, text, &mut name, &mut *found);
        }
    }
}

fn store(ctx: &mut Context<'_>, rows: &Rows, range: Range<usize>, get: &[Pattern<'_>], destination: Key<'_>) {
    let count = range.len() * get.len().max(1);
    if count > 0 {
        let list = list_of(&mut ctx.db, rows, range, get, limits::list(&ctx.shared.config));
        ctx.db.put(destination, list, Ttl::Clear);
        ctx.touch(destination, Event::List("sortstore"));
    } else if ctx.db.remove(destination) {
        ctx.touch(destination, Event::Generic("del"));
    }
    ctx.reply.count(count);
}

/// The results as a list, empty texts for what was not found.
fn list_of(db: &mut View<'_>, rows: &Rows, range: Range<usize>, get: &[Pattern<'_>], fill: Fill) -> List {
    let mut list = List::default();
    // As if it were large, so that it becomes a listpack exactly when Valkey's would.
    list.grow(fill, usize::MAX / 2, usize::MAX / 2);
    each_result(db, rows, range, get, &mut |text| list.push(Side::Right, text.unwrap_or(b"")));
    list.shrink_loaded(fill);
    list
}
