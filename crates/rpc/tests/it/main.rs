//! Two ends of a mesh, over real sockets.

mod calls;
mod stop;
mod support;
mod tls;
