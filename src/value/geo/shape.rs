//! Shapes on the map, and the members of a sorted set that lie inside one.

use super::cells::covering;
use super::{Angle, EARTH_RADIUS_M, MAX_LATITUDE, MAX_LONGITUDE, Point};
use crate::value::listpack::Item;
use crate::value::sorted_set::{ScoreRange, SortedSet};
use std::cmp::Ordering;

/// The outline of a shape.
#[derive(Clone, PartialEq, Debug)]
pub enum Outline {
    /// Everything up to so many metres from the centre.
    Circle {
        /// Metres.
        radius_m: f64,
    },
    /// Everything up to half of these extents from the centre.
    Box {
        /// Metres from west to east, at the latitude of the place in question.
        width_m: f64,
        /// Metres from south to north.
        height_m: f64,
    },
    /// What the even-odd rule finds inside these corners, which are at least three.
    Polygon(Vec<Point>),
}

/// An outline around a centre.
#[derive(Clone, PartialEq, Debug)]
pub struct Shape {
    /// Where distances are measured from.
    pub centre: Point,
    /// What lies around it.
    pub outline: Outline,
}

/// The parallels and meridians around a shape, in degrees. They may lie beyond the edges of the map.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Bounds {
    pub(super) west: f64,
    pub(super) south: f64,
    pub(super) east: f64,
    pub(super) north: f64,
}

/// A member inside a shape.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Hit<'a> {
    /// The member.
    pub member: Item<'a>,
    /// Its score.
    pub score: f64,
    /// Its place.
    pub point: Point,
    /// Metres from the centre.
    pub distance_m: f64,
}

impl Shape {
    /// A polygon, with the centre of gravity of its corners as the centre.
    pub fn polygon(corners: Vec<Point>) -> Shape {
        Shape { centre: centroid(&corners), outline: Outline::Polygon(corners) }
    }

    /// The members of `set` inside the shape, in no useful order; when `limit` is not 0 at most so many, which need not be
    /// the nearest. O(log n) a cell and O(1) for each member in some nine cells that cover the shape.
    pub fn search<'a>(&self, set: &'a SortedSet, limit: usize) -> Vec<Hit<'a>> {
        let mut hits = Vec::new();
        let bounds = self.bounds();
        for cell in covering(self) {
            let (min, max) = cell.scores();
            let ranks = set.score_ranks(&ScoreRange { min, above_min: false, max, below_max: true });
            for (member, score) in set.walk(ranks, false) {
                if limit != 0 && hits.len() >= limit {
                    return hits;
                }
                let point = Point::from_score(score);
                if let Some(distance_m) = self.distance_inside(point, bounds) {
                    hits.push(Hit { member, score, point, distance_m });
                }
            }
        }
        hits
    }

    /// The distance of a place from the centre in metres, if it lies inside.
    fn distance_inside(&self, point: Point, bounds: Bounds) -> Option<f64> {
        let inside = match &self.outline {
            Outline::Circle { radius_m } => {
                // At the antipode rounding may give NaN, which counts as inside.
                let distance_m = self.centre.distance(point);
                return (distance_m.partial_cmp(radius_m) != Some(Ordering::Greater)).then_some(distance_m);
            }
            Outline::Box { width_m, height_m } => {
                let level = Point { longitude: self.centre.longitude, latitude: point.latitude };
                point.latitude_distance(self.centre) <= height_m / 2.0 && point.distance(level) <= width_m / 2.0
            }
            Outline::Polygon(corners) => bounds.contain(point) && is_inside(corners, point),
        };
        inside.then(|| self.centre.distance(point))
    }

    /// How far the shape reaches from its centre, in metres.
    pub(super) fn reach_m(&self) -> f64 {
        match &self.outline {
            Outline::Circle { radius_m } => *radius_m,
            Outline::Box { width_m, height_m } => {
                let (x, y) = (width_m / 2.0, height_m / 2.0);
                (x * x + y * y).sqrt()
            }
            Outline::Polygon(_) => {
                let Bounds { west, south, east, north } = self.bounds();
                let corners = [(west, north), (east, north), (west, south), (east, south)];
                let distances =
                    corners.map(|(longitude, latitude)| self.centre.distance(Point { longitude, latitude }));
                distances.into_iter().fold(0.0, f64::max)
            }
        }
    }

    pub(super) fn bounds(&self) -> Bounds {
        let (x, y) = match &self.outline {
            Outline::Circle { radius_m } => (*radius_m, *radius_m),
            Outline::Box { width_m, height_m } => (width_m / 2.0, height_m / 2.0),
            Outline::Polygon(corners) => return Bounds::around(corners),
        };
        let Point { longitude, latitude } = self.centre;
        let lift = (y / EARTH_RADIUS_M).to_degrees_as_c();
        // Parallels shorten towards the poles, so that the side next to one spans more degrees.
        let outer = if latitude < 0.0 { latitude - lift } else { latitude + lift };
        let shift = (x / EARTH_RADIUS_M / outer.to_radians_as_c().cos()).to_degrees_as_c();
        Bounds { west: longitude - shift, south: latitude - lift, east: longitude + shift, north: latitude + lift }
    }
}

impl Bounds {
    fn around(corners: &[Point]) -> Bounds {
        let start = Bounds { west: MAX_LONGITUDE, south: MAX_LATITUDE, east: -MAX_LONGITUDE, north: -MAX_LATITUDE };
        corners.iter().fold(start, |bounds, corner| Bounds {
            west: bounds.west.min(corner.longitude),
            south: bounds.south.min(corner.latitude),
            east: bounds.east.max(corner.longitude),
            north: bounds.north.max(corner.latitude),
        })
    }

    fn contain(self, point: Point) -> bool {
        (self.west..=self.east).contains(&point.longitude) && (self.south..=self.north).contains(&point.latitude)
    }
}

/// The place below the middle of some places in space. Directions are added up; their length does not matter.
fn centroid(corners: &[Point]) -> Point {
    let (mut x, mut y, mut z) = (0.0, 0.0, 0.0);
    for corner in corners {
        let (longitude, latitude) = (corner.longitude.to_radians_as_c(), corner.latitude.to_radians_as_c());
        x += latitude.cos() * longitude.cos();
        y += latitude.cos() * longitude.sin();
        z += latitude.sin();
    }
    Point { longitude: y.atan2(x).to_degrees_as_c(), latitude: z.atan2((x * x + y * y).sqrt()).to_degrees_as_c() }
}

/// The even-odd rule: whether a ray to the east meets the outline an odd number of times. O(corners).
fn is_inside(corners: &[Point], point: Point) -> bool {
    let before = corners.iter().cycle().skip(corners.len().saturating_sub(1));
    corners.iter().zip(before).filter(|(a, b)| crosses(**a, **b, point)).count() % 2 == 1
}

/// Whether a ray from `point` to the east meets the side from `a` to `b`.
fn crosses(a: Point, b: Point, point: Point) -> bool {
    (a.latitude > point.latitude) != (b.latitude > point.latitude) && {
        let share = (point.latitude - a.latitude) / (b.latitude - a.latitude);
        point.longitude < (b.longitude - a.longitude) * share + a.longitude
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::sorted_set::Limits;
    use proptest::prelude::*;

    fn point(longitude: f64, latitude: f64) -> Point {
        Point { longitude, latitude }
    }

    fn any_point() -> impl Strategy<Value = Point> {
        (-179.0..179.0_f64, -80.0..80.0_f64).prop_map(|(longitude, latitude)| Point { longitude, latitude })
    }

    fn any_outline() -> impl Strategy<Value = Outline> {
        let metres = || (0.0..7.0_f64).prop_map(|power| 10f64.powf(power) / 2.0);
        prop_oneof![
            metres().prop_map(|radius_m| Outline::Circle { radius_m }),
            (metres(), metres()).prop_map(|(width_m, height_m)| Outline::Box { width_m, height_m }),
        ]
    }

    fn set_of(points: &[Point]) -> SortedSet {
        let mut set = SortedSet::default();
        for (number, point) in points.iter().enumerate() {
            set.set(number.to_string().as_bytes(), point.score(), Limits { entries: 16, value_bytes: 64 });
        }
        set
    }

    proptest! {
        /// Away from the poles and the edges of the map, nothing inside a shape is missed.
        #[test]
        fn finds_what_a_look_at_all_finds(
            centre in (-90.0..90.0_f64, -50.0..50.0_f64),
            near in prop::collection::vec((-9.0..9.0_f64, -9.0..9.0_f64), 1..40),
            outline in any_outline(),
        ) {
            let centre = point(centre.0, centre.1);
            let points: Vec<Point> =
                near.iter().map(|(x, y)| point(centre.longitude + x * y.abs(), centre.latitude + y)).collect();
            let set = set_of(&points);
            let shape = Shape { centre, outline };
            let bounds = shape.bounds();
            let mut expected: Vec<usize> = (0..points.len())
                .filter(|number| {
                    let point = Point::from_score(points[*number].score());
                    shape.distance_inside(point, bounds).is_some()
                })
                .collect();
            let mut found: Vec<usize> =
                shape.search(&set, 0).iter().map(|hit| usize::try_from(hit.member.integer().unwrap()).unwrap()).collect();
            found.sort_unstable();
            expected.sort_unstable();
            if shape.reach_m() < 2_000_000.0 {
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn any_search_ends(centre in any_point(), outline in any_outline(), points in prop::collection::vec(any_point(), 0..20)) {
            let set = set_of(&points);
            let shape = Shape { centre, outline };
            let all = shape.search(&set, 0).len();
            prop_assert!(all <= points.len());
            prop_assert_eq!(shape.search(&set, 3).len(), all.min(3));
        }
    }

    #[test]
    fn polygons_hold_what_is_inside() {
        let shape = Shape::polygon(vec![point(12.0, 36.0), point(16.0, 36.0), point(13.0, 40.0)]);
        let set = set_of(&[point(13.361389, 38.115556), point(15.087269, 37.502669), point(50.0, 38.0)]);
        let hits = shape.search(&set, 0);
        assert_eq!(hits.len(), 1);
        // What Valkey 9.1 replied.
        assert_eq!(format!("{:.4}", hits[0].distance_m), "90086.8554");
        let square = [point(0.0, 0.0), point(1.0, 0.0), point(1.0, 1.0), point(0.0, 1.0)];
        assert!(is_inside(&square, point(0.5, 0.5)) && !is_inside(&square, point(1.5, 0.5)));
    }
}
