//! To be described.

use crate::call::spec::CommandSpec;

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[];
