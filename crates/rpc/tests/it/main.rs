//! Two ends of a mesh, over real sockets.
#![cfg(test)]

#[cfg(test)]
mod calls;
#[cfg(test)]
mod stop;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tls;
