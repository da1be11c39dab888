//! The geospatial commands, as the group "geo" of the Redis command reference has them.
//!
//! A geospatial index is a sorted set whose scores are places. Here are the rows, what adds places and what asks about
//! members; `search` has what finds them by a shape. Must not know: how places become scores.

mod search;

use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::{Begin, Categories, CommandSpec, Find, Flags, Group, KeyFlags, KeySpec, Outcome};
use crate::command::sorted_set::add::{Pairs, add};
use crate::protocol::batch::RequestView;
use crate::protocol::reply::Reply;
use crate::value::geo::Point;
use crate::value::sorted_set::{Rules, SortedSet};
use search::{georadius, georadius_ro, georadiusbymember, georadiusbymember_ro, geosearch, geosearchstore};

/// A destination behind a word, looked for from an argument on.
const fn stored_behind(word: &'static str, from: i32) -> KeySpec {
    KeySpec {
        flags: KeyFlags::OW.and(KeyFlags::UPDATE).and(KeyFlags::VARIABLE_FLAGS),
        begin: Begin::Keyword(word, from),
        find: Find::Range { last: 0, step: 1, limit: 0 },
        notes: "",
    }
}

/// The index behind the last STORE or STOREDIST, if that is `word`: of several destinations the last one is written, and it
/// alone is a key.
fn last_destination(request: RequestView<'_>, word: &str) -> Option<usize> {
    let (mut at, mut last) = (5, None);
    while at + 1 < request.argc() {
        let argument = request.arg(at);
        if argument.eq_ignore_ascii_case(b"STORE") || argument.eq_ignore_ascii_case(b"STOREDIST") {
            last = Some(at);
            at += 1;
        }
        at += 1;
    }
    last.filter(|at| request.arg(*at).eq_ignore_ascii_case(word.as_bytes())).map(|at| at + 1)
}

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "geoadd",
        arity: -5,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        categories: Categories::GEO,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
        since: "3.2.0",
        group: Group::Geo,
        summary: "Adds places, or moves them.",
        complexity: "O(log N) a place.",
        syntax: "key:key#0 [condition<nx=NX|xx=XX>@6.2.0] [change=CH@6.2.0] data(longitude:double latitude:double member:string)...",
        history: &[("6.2.0", "CH, NX and XX.")],
        run: geoadd,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "geodist",
        arity: -4,
        flags: Flags::READONLY,
        categories: Categories::GEO,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "3.2.0",
        group: Group::Geo,
        summary: "Returns the distance between two members.",
        complexity: "O(1)",
        syntax: "key:key#0 member1:string member2:string [unit<m=M|km=KM|ft=FT|mi=MI>]",
        run: geodist,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "geohash",
        arity: -2,
        flags: Flags::READONLY,
        categories: Categories::GEO,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "3.2.0",
        group: Group::Geo,
        summary: "Returns the geohashes of members, as others write them.",
        complexity: "O(1) a member.",
        syntax: "key:key#0 [member:string...]",
        run: geohash,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "geopos",
        arity: -2,
        flags: Flags::READONLY,
        categories: Categories::GEO,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "3.2.0",
        group: Group::Geo,
        summary: "Returns the coordinates of members.",
        complexity: "O(1) a member.",
        syntax: "key:key#0 [member:string...]",
        run: geopos,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "georadius",
        arity: -6,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLEKEYS),
        categories: Categories::GEO,
        keys: &[
            KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS)),
            stored_behind("STORE", 6),
            stored_behind("STOREDIST", 6),
        ],
        since: "3.2.0",
        group: Group::Geo,
        summary: "Finds the members around a place and returns or stores them.",
        complexity: "O(M + log N) for M members in the cells around the circle.",
        syntax: "key:key#0 longitude:double latitude:double radius:double unit<m=M|km=KM|ft=FT|mi=MI> [withcoord=WITHCOORD] [withdist=WITHDIST] [withhash=WITHHASH] [count-block(COUNT count:integer [any=ANY@6.2.0])] [order<asc=ASC|desc=DESC>] [store<STORE storekey~key:key#1|STOREDIST storedistkey~key:key#2>]",
        history: &[("6.2.0", "ANY."), ("7.0.0", "Units in any letter case.")],
        variable_flags: Some(|_| KeyFlags::OW.and(KeyFlags::UPDATE)),
        behind_keyword: Some(last_destination),
        run: georadius,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "georadius_ro",
        arity: -6,
        flags: Flags::READONLY,
        categories: Categories::GEO,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "3.2.10",
        group: Group::Geo,
        summary: "Finds the members around a place.",
        complexity: "O(M + log N) for M members in the cells around the circle.",
        syntax: "key:key#0 longitude:double latitude:double radius:double unit<m=M|km=KM|ft=FT|mi=MI> [withcoord=WITHCOORD] [withdist=WITHDIST] [withhash=WITHHASH] [count-block(COUNT count:integer [any=ANY@6.2.0])] [order<asc=ASC|desc=DESC>]",
        history: &[("6.2.0", "ANY."), ("7.0.0", "Units in any letter case.")],
        run: georadius_ro,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "georadiusbymember",
        arity: -5,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLEKEYS),
        categories: Categories::GEO,
        keys: &[
            KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS)),
            stored_behind("STORE", 5),
            stored_behind("STOREDIST", 5),
        ],
        since: "3.2.0",
        group: Group::Geo,
        summary: "Finds the members around a member and returns or stores them.",
        complexity: "O(M + log N) for M members in the cells around the circle.",
        syntax: "key:key#0 member:string radius:double unit<m=M|km=KM|ft=FT|mi=MI> [withcoord=WITHCOORD] [withdist=WITHDIST] [withhash=WITHHASH] [count-block(COUNT count:integer [any=ANY])] [order<asc=ASC|desc=DESC>] [store<STORE storekey~key:key#1|STOREDIST storedistkey~key:key#2>]",
        history: &[("6.2.0", "ANY."), ("7.0.0", "Units in any letter case.")],
        variable_flags: Some(|_| KeyFlags::OW.and(KeyFlags::UPDATE)),
        behind_keyword: Some(last_destination),
        run: georadiusbymember,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "georadiusbymember_ro",
        arity: -5,
        flags: Flags::READONLY,
        categories: Categories::GEO,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "3.2.10",
        group: Group::Geo,
        summary: "Finds the members around a member.",
        complexity: "O(M + log N) for M members in the cells around the circle.",
        syntax: "key:key#0 member:string radius:double unit<m=M|km=KM|ft=FT|mi=MI> [withcoord=WITHCOORD] [withdist=WITHDIST] [withhash=WITHHASH] [count-block(COUNT count:integer [any=ANY])] [order<asc=ASC|desc=DESC>]",
        history: &[("6.2.0", "ANY."), ("7.0.0", "Units in any letter case.")],
        run: georadiusbymember_ro,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "geosearch",
        arity: -7,
        flags: Flags::READONLY,
        categories: Categories::GEO,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "6.2.0",
        group: Group::Geo,
        summary: "Finds the members in a circle, a box or a polygon.",
        complexity: "O(M + log N) for M members in the cells around the shape.",
        syntax: "key:key#0 [from<FROMMEMBER member:string|FROMLONLAT fromlonlat(longitude:double latitude:double)>] by<circle(BYRADIUS radius:double unit<m=M|km=KM|ft=FT|mi=MI>)|box(BYBOX width:double height:double unit<m=M|km=KM|ft=FT|mi=MI>)|polygon(BYPOLYGON num-vertices:integer vertices(longitude:double latitude:double)...)@9.0.0> [order<asc=ASC|desc=DESC>] [count-block(COUNT count:integer [any=ANY])] [withcoord=WITHCOORD] [withdist=WITHDIST] [withhash=WITHHASH]",
        history: &[("7.0.0", "Units in any letter case."), ("9.0.0", "BYPOLYGON.")],
        run: geosearch,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "geosearchstore",
        arity: -8,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        categories: Categories::GEO,
        keys: &[
            KeySpec::one(1, KeyFlags::OW.and(KeyFlags::UPDATE)),
            KeySpec::one(2, KeyFlags::RO.and(KeyFlags::ACCESS)),
        ],
        since: "6.2.0",
        group: Group::Geo,
        summary: "Finds the members in a circle, a box or a polygon and stores them.",
        complexity: "O(M + log N) for M members in the cells around the shape.",
        syntax: "destination:key#0 source:key#1 [from<FROMMEMBER member:string|FROMLONLAT fromlonlat(longitude:double latitude:double)>] by<circle(BYRADIUS radius:double unit<m=M|km=KM|ft=FT|mi=MI>)|box(BYBOX width:double height:double unit<m=M|km=KM|ft=FT|mi=MI>)|polygon(BYPOLYGON num-vertices:integer vertices(longitude:double latitude:double)...)@9.0.0> [order<asc=ASC|desc=DESC>] [count-block(COUNT count:integer [any=ANY])] [storedist=STOREDIST]",
        history: &[("7.0.0", "Units in any letter case."), ("9.0.0", "BYPOLYGON.")],
        run: geosearchstore,
        ..CommandSpec::DEFAULT
    },
];

const NO_UNIT: CommandError = CommandError::text("ERR unsupported unit provided. please use M, KM, FT, MI");

/// Reads a unit of length; how many metres it is.
fn read_unit(args: &mut Args<'_>) -> Result<f64, CommandError> {
    let units = [("M", 1.0), ("KM", 1000.0), ("FT", 0.3048), ("MI", 1609.34)];
    units.into_iter().find(|(name, _)| args.word(name)).map(|(_, metres)| metres).ok_or(NO_UNIT)
}

/// Reads a place.
fn read_point(args: &mut Args<'_>) -> Result<Point, CommandError> {
    let (longitude, latitude) = (args.float()?, args.float()?);
    Point::new(longitude, latitude)
        .ok_or_else(|| format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}").into())
}

/// The place of a member.
fn place(set: &SortedSet, member: &[u8]) -> Option<Point> {
    set.score(member).map(Point::from_score)
}

/// A length with four decimals, as text in either protocol.
fn reply_length(reply: &mut Reply<'_>, length: f64) {
    let scaled = (length * 10_000.0).round_ties_even();
    reply.bulk(format!("{:.4}", scaled / 10_000.0).as_bytes());
}

/// Longitude and latitude with up to 17 decimals.
fn reply_point(reply: &mut Reply<'_>, point: Point) {
    reply.array(2);
    for degrees in [point.longitude, point.latitude] {
        let text = format!("{degrees:.17}");
        reply.double_text(text.trim_end_matches('0').trim_end_matches('.'));
    }
}

/// `GEOADD key [NX|XX] [CH] longitude latitude member [longitude latitude member ...]`
///
/// Replies the number of members added (`CH`: added or moved). O(log n) a member. All places are read before the set is
/// touched.
fn geoadd<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let (mut rules, mut count_moved) = (Rules::default(), false);
    loop {
        if args.word("NX") {
            rules.only_new = true;
        } else if args.word("XX") {
            rules.only_existing = true;
        } else if args.word("CH") {
            count_moved = true;
        } else {
            break;
        }
    }
    if args.remaining() == 0 || !args.remaining().is_multiple_of(3) || rules.only_new && rules.only_existing {
        return Err(CommandError::Syntax);
    }
    let mut pairs = Pairs::with_capacity(args.remaining() / 3);
    while args.remaining() > 0 {
        pairs.push((read_point(args)?.score(), args.bytes()?));
    }
    args.finish()?;

    let tally = add(ctx, key, &pairs, rules)?;
    ctx.reply.count(tally.added + if count_moved { tally.updated } else { 0 });
    Ok(Outcome::Done)
}

/// `GEODIST key member1 member2 [M|KM|FT|MI]`
///
/// Replies the distance between two members with four decimals, or null. O(1).
fn geodist<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, one, other) = (args.key()?, args.bytes()?, args.bytes()?);
    let metres = match args.remaining() {
        0 => 1.0,
        1 => read_unit(args)?,
        _ => return Err(CommandError::Syntax),
    };
    args.finish()?;

    let set = ctx.db.get::<SortedSet>(key)?;
    match set.and_then(|set| Some(place(set, one)?.distance(place(set, other)?))) {
        Some(distance_m) => reply_length(&mut ctx.reply, distance_m / metres),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

/// `GEOHASH key [member ...]`
///
/// Replies the geohash of each member, null for one that is missing. O(1) a member.
fn geohash<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    each_member(ctx, args, |reply, point| match point {
        Some(point) => reply.bulk(&point.geohash()),
        None => reply.null(),
    })
}

/// `GEOPOS key [member ...]`
///
/// Replies longitude and latitude of each member, a null array for one that is missing. O(1) a member.
fn geopos<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    each_member(ctx, args, |reply, point| match point {
        Some(point) => reply_point(reply, point),
        None => reply.null_array(),
    })
}

fn each_member<'a>(
    ctx: &mut Context<'a>,
    args: &mut Args<'a>,
    show: impl Fn(&mut Reply<'_>, Option<Point>),
) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let set = ctx.db.get::<SortedSet>(key)?;
    ctx.reply.array(args.remaining());
    while args.remaining() > 0 {
        let member = args.bytes()?;
        show(&mut ctx.reply, set.and_then(|set| place(set, member)));
    }
    Ok(Outcome::Done)
}
