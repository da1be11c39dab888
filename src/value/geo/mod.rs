//! Places on the earth: their scores in a sorted set, distances, and what lies inside a shape.
//!
//! ```text
//! bit  51  49  ...  1     longitude, -180..180 degrees in 2^26 steps
//! bit  50  48  ...  0     latitude, +-85.05112878 degrees in 2^26 steps
//! ```
//!
//! Invariant: scores, centres of cells and distances are those of Redis to the last bit, because clients compare and store
//! them. Must not know: requests, units, keys. Source: geohashes (G. Niemeyer 2008) interleaved as in Redis; haversine
//! distances on a sphere of 6372797.560856 m; even-odd rule for polygons (W. R. Franklin, PNPOLY).

mod cells;
mod shape;

pub use shape::{Hit, Outline, Shape};

/// Radius of the sphere, in metres.
pub(crate) const EARTH_RADIUS_M: f64 = 6_372_797.560856;

/// Greatest longitude, in degrees; its negative is the least.
pub const MAX_LONGITUDE: f64 = 180.0;

/// Greatest latitude, in degrees, where the map becomes a square; its negative is the least.
pub const MAX_LATITUDE: f64 = 85.05112878;

/// Bits a coordinate.
const STEPS: u32 = 26;

/// Digits of geohashes, of five bits each.
const DIGITS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";

/// A place, in degrees.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Point {
    /// Degrees east of Greenwich.
    pub longitude: f64,
    /// Degrees north of the equator.
    pub latitude: f64,
}

/// The cell of a score. Of one that is no cell, as other sorted sets have them, the one that Redis shows: what its conversion to an
/// integer gives on x86-64.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "no score that is a cell is negative or has more bits"
)]
fn cell_bits(score: f64) -> u64 {
    match score {
        score if score >= TWO_POW_64 => 0,
        score if score >= 0.0 => score as u64,
        score => (score as i64).cast_unsigned(),
    }
}

const TWO_POW_64: f64 = 18_446_744_073_709_551_616.0;

impl Point {
    /// A place, if it lies on the map.
    pub fn new(longitude: f64, latitude: f64) -> Option<Point> {
        let inside = longitude.abs() <= MAX_LONGITUDE && latitude.abs() <= MAX_LATITUDE;
        inside.then_some(Point { longitude, latitude })
    }

    /// The score that stands for it: the number of its cell of about 0.6 m.
    pub fn score(self) -> f64 {
        self.cell(STEPS, MAX_LATITUDE) as f64
    }

    /// The place that a score stands for: the middle of its cell.
    pub fn from_score(score: f64) -> Point {
        let area = Cell { bits: cell_bits(score), steps: STEPS }.area();
        let middle = |low: f64, high: f64, limit: f64| ((low + high) / 2.0).clamp(-limit, limit);
        Point {
            longitude: middle(area.west, area.east, MAX_LONGITUDE),
            latitude: middle(area.south, area.north, MAX_LATITUDE),
        }
    }

    /// Its geohash, as others write it: eleven digits, of which the last is always 0.
    pub fn geohash(self) -> [u8; 11] {
        let bits = self.cell(STEPS, 90.0);
        std::array::from_fn(|digit| match (STEPS as usize * 2).checked_sub((digit + 1) * 5) {
            Some(shift) => DIGITS[(bits >> shift & 31) as usize],
            None => DIGITS[0],
        })
    }

    /// The distance to another place, in metres.
    pub fn distance(self, other: Point) -> f64 {
        let sine = ((other.longitude.to_radians_as_c() - self.longitude.to_radians_as_c()) / 2.0).sin();
        if sine == 0.0 {
            return self.latitude_distance(other);
        }
        let (own, others) = (self.latitude.to_radians_as_c(), other.latitude.to_radians_as_c());
        let half = ((others - own) / 2.0).sin();
        let square = half * half + own.cos() * others.cos() * sine * sine;
        2.0 * EARTH_RADIUS_M * square.sqrt().asin()
    }

    /// The distance between the parallels of two places, in metres.
    fn latitude_distance(self, other: Point) -> f64 {
        EARTH_RADIUS_M * (other.latitude.to_radians_as_c() - self.latitude.to_radians_as_c()).abs()
    }

    /// The number of its cell among 2^steps a side, on a map that ends at `max_latitude`.
    fn cell(self, steps: u32, max_latitude: f64) -> u64 {
        let scale = (1_u64 << steps) as f64;
        let part = |value: f64, limit: f64| {
            let offset = (value + limit) / (limit + limit);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "at most 2^26, at the very edge"
            )]
            return (offset * scale) as u32;
        };
        spread(part(self.latitude, max_latitude)) | spread(part(self.longitude, MAX_LONGITUDE)) << 1
    }
}

/// Degrees and radians with the rounding of the reference: a factor of pi / 180, or its inverse by division.
trait Angle {
    fn to_radians_as_c(self) -> f64;
    fn to_degrees_as_c(self) -> f64;
}

const RADIANS_A_DEGREE: f64 = std::f64::consts::PI / 180.0;

impl Angle for f64 {
    fn to_radians_as_c(self) -> f64 {
        self * RADIANS_A_DEGREE
    }

    fn to_degrees_as_c(self) -> f64 {
        self / RADIANS_A_DEGREE
    }
}

/// A cell of the map: `steps` bits of each coordinate, interleaved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Cell {
    bits: u64,
    steps: u32,
}

/// What a cell covers, in degrees.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Area {
    west: f64,
    east: f64,
    south: f64,
    north: f64,
}

impl Cell {
    fn of(point: Point, steps: u32) -> Cell {
        Cell { bits: point.cell(steps, MAX_LATITUDE), steps }
    }

    fn area(self) -> Area {
        let scale = (1_u64 << self.steps) as f64;
        let edge = |index: u32, limit: f64| -limit + f64::from(index) / scale * (limit + limit);
        let (column, row) = (gather(self.bits >> 1), gather(self.bits));
        let next = |index: u32| index.wrapping_add(1);
        Area {
            west: edge(column, MAX_LONGITUDE),
            east: edge(next(column), MAX_LONGITUDE),
            south: edge(row, MAX_LATITUDE),
            north: edge(next(row), MAX_LATITUDE),
        }
    }

    /// The cell so many columns east and rows north, around the edges of the map. A coordinate that is not moved stays as it
    /// is, even one at the very edge, which is one too many.
    fn moved(self, east: i32, north: i32) -> Cell {
        let mask = u32::MAX >> (32 - self.steps);
        let moved = |index: u32, by: i32| if by == 0 { index } else { index.wrapping_add_signed(by) & mask };
        let (column, row) = (moved(gather(self.bits >> 1), east), moved(gather(self.bits), north));
        Cell { bits: spread(row) | spread(column) << 1, steps: self.steps }
    }

    /// The scores of the places in it: from the first to below the second.
    fn scores(self) -> (f64, f64) {
        let shift = (STEPS - self.steps) * 2;
        ((self.bits << shift) as f64, ((self.bits + 1) << shift) as f64)
    }
}

/// Puts a zero bit before each bit.
fn spread(value: u32) -> u64 {
    let mut bits = u64::from(value);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        bits = (bits | bits << shift) & mask;
    }
    bits
}

/// Takes every second bit, from the lowest on.
fn gather(value: u64) -> u32 {
    let mut bits = value & 0x5555_5555_5555_5555;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        bits = (bits | bits >> shift) & mask;
    }
    u32::try_from(bits).unwrap_or(u32::MAX) // the last mask leaves 32 bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PALERMO: Point = Point { longitude: 13.361389, latitude: 38.115556 };
    const CATANIA: Point = Point { longitude: 15.087269, latitude: 37.502669 };

    /// Expected values are what Valkey 9.1 replied.
    #[test]
    fn scores_places_and_distances_are_those_of_redis() {
        assert_eq!(PALERMO.score(), 3_479_099_956_230_698.0);
        assert_eq!(CATANIA.score(), 3_479_447_370_796_909.0);
        let (palermo, catania) = (Point::from_score(PALERMO.score()), Point::from_score(CATANIA.score()));
        assert_eq!(
            format!("{:.17} {:.17}", palermo.longitude, palermo.latitude),
            "13.36138933897018433 38.11555639549629859"
        );
        assert_eq!(format!("{:.4}", palermo.distance(catania)), "166274.1516");
        assert_eq!(palermo.distance(palermo), 0.0);
        assert_eq!(&palermo.geohash(), b"sqc8b49rny0");
        assert_eq!(&catania.geohash(), b"sqdtr74hyu0");
    }

    #[test]
    fn the_map_ends() {
        assert!(Point::new(180.0, MAX_LATITUDE).is_some() && Point::new(-180.0, -MAX_LATITUDE).is_some());
        assert!(Point::new(180.1, 0.0).is_none() && Point::new(0.0, 85.06).is_none());
        assert!(Point::new(f64::INFINITY, 0.0).is_none() && Point::new(0.0, f64::NAN).is_none());
        for score in [0.0, -1.0, f64::INFINITY, 1e300, 0.5] {
            let point = Point::from_score(score);
            assert!(Point::new(point.longitude, point.latitude).is_some(), "{score}");
        }
    }

    proptest! {
        #[test]
        fn a_score_keeps_the_place(longitude in -180.0..180.0_f64, latitude in -85.0..85.0_f64) {
            let point = Point { longitude, latitude };
            prop_assert!(point.distance(Point::from_score(point.score())) < 0.7);
        }

        #[test]
        fn bits_spread_and_gather(value in any::<u32>(), other in any::<u32>()) {
            let bits = spread(value) | spread(other) << 1;
            prop_assert_eq!((gather(bits), gather(bits >> 1)), (value, other));
        }

        #[test]
        fn neighbours_meet(longitude in -180.0..180.0_f64, latitude in -85.0..85.0_f64, steps in 1..=26_u32) {
            let cell = Cell::of(Point { longitude, latitude }, steps);
            prop_assert_eq!(cell.moved(1, 0).moved(0, 1).moved(-1, -1), cell);
            if steps > 1 && cell.area().north < MAX_LATITUDE {
                prop_assert_eq!(cell.moved(0, 1).area().south, cell.area().north);
            }
        }
    }
}
