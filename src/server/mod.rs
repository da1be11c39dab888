//! To be described.
pub mod log;
