//! Prepared writes against a naive model, the rules one by one, and requests out of noise.

mod bench;
mod model;
mod random;
mod rules;
