//! The way in.
//!
//! ```text
//!   joiner                          any member                 leader of sys
//!   key on disk
//!   stranger connection, CA pinned ->
//!   token, name, address, CSR ----> passed on ---------------> one transaction: token used, row `joining`
//!                                                              certificate signed
//!   files on disk <----------------- node id, certificate, CA, members
//!   starts as a member
//!   "I run" ---------------------------------------------------> row `member`; learner, then its role
//!   role <------------------------------------------------------ when the groups have it
//! ```
//!
//! Killed anywhere, the joiner starts again from the top with the key that is on its disk and gets the same answer. Until it
//! says that it runs, nobody counts on it; if it never does, its row lapses.

pub(crate) mod client;
pub(crate) mod desk;

#[cfg(test)]
mod tests;
