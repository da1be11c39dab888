//! Ground floor: pure functions and clocks that every room may use.

pub mod bug;
pub mod clock;
pub mod extended;
pub mod glob;
pub mod hash;
pub mod hashes;
pub mod heavy;
pub mod memory;
pub mod number;
pub mod pieces;
pub mod process;
mod shortest;
pub mod shrink;
pub mod sync;
pub mod turns;
