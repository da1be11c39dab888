//! The counting allocator behind `used_memory`.
