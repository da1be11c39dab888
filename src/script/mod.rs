//! Scripts: the interpreter and the libraries that scripts find in it.

pub mod lib;
