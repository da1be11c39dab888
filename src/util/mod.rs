//! To be described.

pub mod extended;
pub mod glob;
pub mod number;
mod shortest;
