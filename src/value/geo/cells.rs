//! Which cells of the map a search looks at: the one of its centre and those around it that it needs.
//!
//! The order of the cells shows in replies that are not sorted; it is that of Redis, and so is the choice of their size.

use super::shape::{Bounds, Shape};
use super::{Cell, STEPS};

/// Half the circumference of the map at the equator, in metres: a search this wide needs the largest cells.
const HALF_MAP_M: f64 = 20_037_726.37;

/// Latitudes beyond which cells are so narrow that larger ones are needed, and larger ones still.
const NARROW: f64 = 66.0;
const NARROWER: f64 = 80.0;

/// Moves from the centre in the order in which cells are searched: columns east, rows north.
const AROUND: [(i32, i32); 9] = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];

/// The cells that cover a shape, none twice.
pub(super) fn covering(shape: &Shape) -> Vec<Cell> {
    let bounds = shape.bounds();
    let steps = steps_for(shape.reach_m(), shape.centre.latitude);
    let mut centre = Cell::of(shape.centre, steps);
    if steps > 1 && !reaches(centre, bounds) {
        centre = Cell::of(shape.centre, steps - 1);
    }
    let mut cells: Vec<Cell> = Vec::with_capacity(AROUND.len());
    for (east, north) in AROUND {
        if !is_needed(centre, east, north, bounds) {
            continue;
        }
        let cell = centre.moved(east, north);
        // Around a map of few cells, one is a neighbour on both sides.
        if !cells.contains(&cell) {
            cells.push(cell);
        }
    }
    cells
}

/// Bits a coordinate so that nine cells cover a circle of this radius.
fn steps_for(radius_m: f64, latitude: f64) -> u32 {
    if radius_m == 0.0 {
        return STEPS;
    }
    let (mut steps, mut reach) = (1_i32, radius_m);
    while reach < HALF_MAP_M {
        reach *= 2.0;
        steps += 1;
    }
    steps -= 2;
    steps -= i32::from(latitude.abs() > NARROW) + i32::from(latitude.abs() > NARROWER);
    u32::try_from(steps).unwrap_or(1).clamp(1, STEPS)
}

/// Whether the neighbours of `centre` reach the bounds on all four sides.
fn reaches(centre: Cell, bounds: Bounds) -> bool {
    let area = |east, north| centre.moved(east, north).area();
    area(0, 1).north >= bounds.north
        && area(0, -1).south <= bounds.south
        && area(1, 0).east >= bounds.east
        && area(-1, 0).west <= bounds.west
}

/// Whether the bounds leave the cell of the centre towards that neighbour.
fn is_needed(centre: Cell, east: i32, north: i32, bounds: Bounds) -> bool {
    if centre.steps < 2 {
        return true;
    }
    let area = centre.area();
    let idle = (north < 0 && area.south < bounds.south)
        || (north > 0 && area.north > bounds.north)
        || (east < 0 && area.west < bounds.west)
        || (east > 0 && area.east > bounds.east);
    !idle
}
