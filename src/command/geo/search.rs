//! What finds members by a shape: GEOSEARCH, GEORADIUS and their relatives.

use super::{place, read_point, read_unit, reply_length, reply_point};
use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::command::sorted_set::{limits, reply_member, store};
use crate::keyspace::{Key, View};
use crate::protocol::reply::Reply;
use crate::value::geo::{Hit, MAX_LATITUDE, Outline, Point, Shape};
use crate::value::object::ObjectRef;
use crate::value::sorted_set::{Collected, SortedSet};

const NO_ANY: CommandError = CommandError::text("ERR the ANY argument requires COUNT argument");
const NO_COUNT: CommandError = CommandError::text("ERR COUNT must be > 0");
const NEGATIVE_RADIUS: CommandError = CommandError::text("ERR radius cannot be negative");
const NEGATIVE_EXTENT: CommandError = CommandError::text("ERR height or width cannot be negative");
const NOT_CORNERS: CommandError = CommandError::text("ERR invalid number of vertices");
const FEW_CORNERS: CommandError = CommandError::text("ERR GEOSEARCH BYPOLYGON must have at least 3 vertices");
const STORED_MORE: CommandError =
    CommandError::text("ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options");
const STORED_MORE_RADIUS: CommandError =
    CommandError::text("ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options");

/// Which words a command takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    /// GEORADIUS and GEORADIUSBYMEMBER.
    Radius,
    /// Those that only read.
    RadiusRo,
    Search,
    SearchStore,
}

impl Family {
    fn is_search(self) -> bool {
        matches!(self, Family::Search | Family::SearchStore)
    }
}

/// The order of the members found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Nearest,
    Farthest,
}

/// Where a shape lies.
#[derive(Clone, Copy)]
enum Centre {
    /// Around a member; nowhere, where there are no members.
    Member(Option<Point>),
    Place(Point),
}

/// What a request asks for.
struct Query<'a> {
    family: Family,
    centre: Option<Centre>,
    outline: Option<Outline>,
    /// Metres of the unit in which distances are replied.
    unit_m: f64,
    with_distance: bool,
    with_hash: bool,
    with_point: bool,
    /// 0: all.
    count: usize,
    any: bool,
    order: Option<Order>,
    destination: Option<Key<'a>>,
    store_distance: bool,
}

impl<'a> Query<'a> {
    fn new(family: Family) -> Query<'a> {
        Query {
            family,
            centre: None,
            outline: None,
            unit_m: 1.0,
            with_distance: false,
            with_hash: false,
            with_point: false,
            count: 0,
            any: false,
            order: None,
            destination: None,
            store_distance: false,
        }
    }

    /// Reads all words behind the fixed arguments. `set`: where members are looked up; `name`: the command's, as typed.
    fn read(&mut self, args: &mut Args<'a>, set: Option<&SortedSet>, name: &[u8]) -> Result<(), CommandError> {
        while args.remaining() > 0 {
            if !(self.read_flag(args) || self.read_count(args)? || self.read_destination(args)?)
                && !(self.family.is_search() && (self.read_centre(args, set)? || self.read_outline(args)?))
            {
                return Err(CommandError::Syntax);
            }
        }
        self.check(name)
    }

    fn read_flag(&mut self, args: &mut Args<'_>) -> bool {
        if args.word("WITHDIST") {
            self.with_distance = true;
        } else if args.word("WITHHASH") {
            self.with_hash = true;
        } else if args.word("WITHCOORD") {
            self.with_point = true;
        } else if args.word("ANY") {
            self.any = true;
        } else if args.word("ASC") {
            self.order = Some(Order::Nearest);
        } else if args.word("DESC") {
            self.order = Some(Order::Farthest);
        } else if self.family == Family::SearchStore && args.word("STOREDIST") {
            self.store_distance = true;
        } else {
            return false;
        }
        true
    }

    fn read_count(&mut self, args: &mut Args<'_>) -> Result<bool, CommandError> {
        let found = args.remaining() > 1 && args.word("COUNT");
        if found {
            let count = args.integer()?;
            self.count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(NO_COUNT)?;
        }
        Ok(found)
    }

    fn read_destination(&mut self, args: &mut Args<'a>) -> Result<bool, CommandError> {
        if self.family != Family::Radius || args.remaining() < 2 {
            return Ok(false);
        }
        let plain = args.word("STORE");
        let found = plain || args.word("STOREDIST");
        if found {
            self.destination = Some(args.key()?);
            self.store_distance = !plain;
        }
        Ok(found)
    }

    fn read_centre(&mut self, args: &mut Args<'a>, set: Option<&SortedSet>) -> Result<bool, CommandError> {
        let polygon = matches!(self.outline, Some(Outline::Polygon(_)));
        let (member, place) = match self.centre {
            _ if polygon => (false, false),
            None => (true, true),
            Some(centre) => (matches!(centre, Centre::Member(_)), matches!(centre, Centre::Place(_))),
        };
        if member && args.remaining() > 1 && args.word("FROMMEMBER") {
            let member = args.bytes()?;
            self.centre = Some(Centre::Member(set.map(|set| find(set, member)).transpose()?));
        } else if place && args.remaining() > 2 && args.word("FROMLONLAT") {
            self.centre = Some(Centre::Place(read_point(args)?));
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// An outline may be given again, but not another kind of one.
    fn read_outline(&mut self, args: &mut Args<'a>) -> Result<bool, CommandError> {
        let (circle, rectangle, polygon) = match &self.outline {
            None => (true, true, self.centre.is_none()),
            Some(Outline::Circle { .. }) => (true, false, false),
            Some(Outline::Box { .. }) => (false, true, false),
            Some(Outline::Polygon(_)) => (false, false, true),
        };
        if circle && args.remaining() > 2 && args.word("BYRADIUS") {
            self.read_circle(args)?;
        } else if rectangle && args.remaining() > 3 && args.word("BYBOX") {
            self.read_box(args)?;
        } else if polygon && args.remaining() > 2 && args.word("BYPOLYGON") {
            self.read_polygon(args)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn read_circle(&mut self, args: &mut Args<'_>) -> Result<(), CommandError> {
        let radius = args.float_or(CommandError::text("ERR need numeric radius"))?;
        if radius < 0.0 {
            return Err(NEGATIVE_RADIUS);
        }
        self.unit_m = read_unit(args)?;
        self.outline = Some(Outline::Circle { radius_m: radius * self.unit_m });
        Ok(())
    }

    fn read_box(&mut self, args: &mut Args<'_>) -> Result<(), CommandError> {
        let width = args.float_or(CommandError::text("ERR need numeric width"))?;
        let height = args.float_or(CommandError::text("ERR need numeric height"))?;
        if width < 0.0 || height < 0.0 {
            return Err(NEGATIVE_EXTENT);
        }
        self.unit_m = read_unit(args)?;
        self.outline = Some(Outline::Box { width_m: width * self.unit_m, height_m: height * self.unit_m });
        Ok(())
    }

    fn read_polygon(&mut self, args: &mut Args<'_>) -> Result<(), CommandError> {
        let number = i32::try_from(args.integer_or(NOT_CORNERS)?).map_err(|_| NOT_CORNERS)?;
        let count = usize::try_from(number).unwrap_or(0);
        if count < 3 || count > args.remaining() / 2 {
            return Err(FEW_CORNERS);
        }
        let corners = (0..count).map(|_| read_point(args)).collect::<Result<_, _>>()?;
        self.outline = Some(Outline::Polygon(corners));
        Ok(())
    }

    fn check(&self, name: &[u8]) -> Result<(), CommandError> {
        let more = self.with_distance || self.with_hash || self.with_point;
        if more && (self.destination.is_some() || self.family == Family::SearchStore) {
            return Err(if self.family == Family::SearchStore { STORED_MORE } else { STORED_MORE_RADIUS });
        }
        let refused = |what: &[u8]| {
            Err(CommandError::Bytes([b"ERR exactly one of ", what, b" can be specified for ", name].concat()))
        };
        let polygon = matches!(self.outline, Some(Outline::Polygon(_)));
        if self.centre.is_none() && !polygon {
            return refused(b"FROMMEMBER or FROMLONLAT");
        }
        if self.outline.is_none() {
            return refused(b"BYRADIUS, BYBOX and BYPOLYGON");
        }
        if self.any && self.count == 0 { Err(NO_ANY) } else { Ok(()) }
    }

    /// The members asked for, in order. O(log n) and O(1) for each member in the cells around the shape.
    fn run<'s>(self, set: &'s SortedSet) -> (Vec<Hit<'s>>, Answer) {
        let shape = match (self.outline, self.centre) {
            (Some(Outline::Polygon(corners)), _) => Shape::polygon(corners),
            (Some(outline), Some(Centre::Place(centre) | Centre::Member(Some(centre)))) => Shape { centre, outline },
            _ => Shape {
                centre: Point { longitude: 0.0, latitude: MAX_LATITUDE },
                outline: Outline::Polygon(Vec::new()),
            },
        };
        let mut hits = shape.search(set, if self.any { self.count } else { 0 });
        // The nearest are wanted when only some are, unless any will do.
        match self.order {
            None if self.count == 0 || self.any => {}
            None | Some(Order::Nearest) => hits.sort_by(|a, b| a.distance_m.total_cmp(&b.distance_m)),
            Some(Order::Farthest) => hits.sort_by(|a, b| b.distance_m.total_cmp(&a.distance_m)),
        }
        if self.count != 0 {
            hits.truncate(self.count);
        }
        let (unit_m, distance, hash, point) = (self.unit_m, self.with_distance, self.with_hash, self.with_point);
        (hits, Answer { unit_m, distance, hash, point })
    }
}

/// What is replied of a member.
struct Answer {
    unit_m: f64,
    distance: bool,
    hash: bool,
    point: bool,
}

impl Answer {
    fn reply(&self, reply: &mut Reply<'_>, hits: &[Hit<'_>]) {
        let more = usize::from(self.distance) + usize::from(self.hash) + usize::from(self.point);
        reply.array(hits.len());
        for hit in hits {
            if more > 0 {
                reply.array(1 + more);
            }
            reply_member(reply, hit.member);
            if self.distance {
                reply_length(reply, hit.distance_m / self.unit_m);
            }
            if self.hash {
                #[expect(clippy::cast_possible_truncation, reason = "saturates where a score is no place")]
                reply.integer(hit.score as i64);
            }
            if self.point {
                reply_point(reply, hit.point);
            }
        }
    }
}

/// The place of a member that must be there.
fn find(set: &SortedSet, member: &[u8]) -> Result<Point, CommandError> {
    place(set, member).ok_or_else(|| {
        // A NUL ends a name in the texts of Redis.
        let shown = member.split(|byte| *byte == 0).next().unwrap_or(member);
        CommandError::Bytes([b"ERR member ", shown, b" does not exist"].concat())
    })
}

/// The sorted set at a key whose lookup has been counted already.
fn index<'db>(db: &'db View<'_>, key: Key<'_>) -> Option<&'db SortedSet> {
    if let Some(ObjectRef::SortedSet(set)) = db.glance(key) { Some(set) } else { None }
}

/// Runs a query whose words are read, and stores or replies the result.
fn finish<'a>(ctx: &mut Context<'a>, source: Key<'a>, query: Query<'a>) -> Result<Outcome, CommandError> {
    let (destination, store_distance, family) = (query.destination, query.store_distance, query.family);
    let Some(destination) = destination else {
        match index(&ctx.db, source) {
            Some(set) => {
                let (hits, answer) = query.run(set);
                answer.reply(&mut ctx.reply, &hits);
            }
            None => ctx.reply.array(0),
        }
        return Ok(Outcome::Done);
    };
    let limits = limits(ctx);
    let mut result = Collected::default();
    if let Some(set) = index(&ctx.db, source) {
        let (hits, Answer { unit_m, .. }) = query.run(set);
        for hit in hits {
            let score = if store_distance { hit.distance_m / unit_m } else { hit.score };
            result.add(hit.member.text(&mut itoa::Buffer::new()), score, |_, other| other);
        }
    }
    let event = if family == Family::SearchStore { "geosearchstore" } else { "georadiusstore" };
    store(ctx, destination, result.finish(limits), event);
    Ok(Outcome::Done)
}

/// `GEORADIUS key longitude latitude radius M|KM|FT|MI [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC|DESC]
/// [STORE key|STOREDIST key]`
///
/// Replies the members in a circle, or stores them: at the last of several destinations, as the row says too.
pub(super) fn georadius<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    around_place(ctx, args, Family::Radius)
}

/// `GEORADIUS_RO key longitude latitude radius M|KM|FT|MI [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC|DESC]`,
/// as [`georadius`] without storing.
pub(super) fn georadius_ro<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    around_place(ctx, args, Family::RadiusRo)
}

fn around_place<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>, family: Family) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    ctx.db.get::<SortedSet>(key)?; // a wrong type is reported before anything else
    let mut query = Query::new(family);
    query.centre = Some(Centre::Place(read_point(args)?));
    query.read_circle(args)?;
    query.read(args, None, ctx.request.arg(0))?;
    finish(ctx, key, query)
}

/// `GEORADIUSBYMEMBER key member radius M|KM|FT|MI [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC|DESC]
/// [STORE key|STOREDIST key]`, as [`georadius`] around a member.
pub(super) fn georadiusbymember<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    around_member(ctx, args, Family::Radius)
}

/// `GEORADIUSBYMEMBER_RO key member radius M|KM|FT|MI [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC|DESC]`, as
/// [`georadiusbymember`] without storing.
pub(super) fn georadiusbymember_ro<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    around_member(ctx, args, Family::RadiusRo)
}

fn around_member<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>, family: Family) -> Result<Outcome, CommandError> {
    let (key, member) = (args.key()?, args.bytes()?);
    let mut query = Query::new(family);
    match ctx.db.get::<SortedSet>(key)? {
        Some(set) => {
            query.centre = Some(Centre::Member(Some(find(set, member)?)));
            query.read_circle(args)?;
        }
        // As in Redis, the circle is not judged then.
        None => {
            args.bytes()?;
            args.bytes()?;
            query.centre = Some(Centre::Member(None));
            query.outline = Some(Outline::Circle { radius_m: 0.0 });
        }
    }
    query.read(args, None, ctx.request.arg(0))?;
    finish(ctx, key, query)
}

/// `GEOSEARCH key [FROMMEMBER member|FROMLONLAT longitude latitude] BYRADIUS radius unit|BYBOX width height unit|BYPOLYGON
/// count longitude latitude ... [ASC|DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]`
///
/// Replies the members in a shape.
pub(super) fn geosearch<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let mut query = Query::new(Family::Search);
    let name = ctx.request.arg(0);
    query.read(args, ctx.db.get::<SortedSet>(key)?, name)?;
    finish(ctx, key, query)
}

/// `GEOSEARCHSTORE destination source [FROMMEMBER member|FROMLONLAT longitude latitude] BYRADIUS radius unit|BYBOX width
/// height unit|BYPOLYGON count longitude latitude ... [ASC|DESC] [COUNT count [ANY]] [STOREDIST]`
///
/// Stores what [`geosearch`] finds, with its scores or its distances, and replies how many members that are.
pub(super) fn geosearchstore<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (destination, source) = (args.key()?, args.key()?);
    let mut query = Query::new(Family::SearchStore);
    query.destination = Some(destination);
    let name = ctx.request.arg(0);
    query.read(args, ctx.db.get::<SortedSet>(source)?, name)?;
    finish(ctx, source, query)
}
