//! How listeners for clients greet, which changes while they listen: a certificate is renewed, a CA comes or goes.

use rustls::ServerConfig;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// How a listener greets now. All clones are one: what is set is used for connections accepted from then on, and those that exist go
/// on as they are.
#[derive(Clone)]
pub struct ListenerTls(Arc<RwLock<Arc<ServerConfig>>>);

impl ListenerTls {
    /// Greets as this says.
    pub fn new(config: ServerConfig) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(config))))
    }

    /// Greets as this says from now on.
    pub fn set(&self, config: ServerConfig) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// How it greets now.
    pub fn now(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for ListenerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ListenerTls")
    }
}
