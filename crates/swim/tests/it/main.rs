//! Tests of the crate from outside: recorded packets, groups in virtual time, bounds, properties.

#![cfg(test)]

mod conversations;
mod golden;
mod kit;
mod limits;
mod properties;
