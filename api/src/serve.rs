//! The server: not wired yet.

use std::error::Error;

use crate::settings::Settings;

/// What `daybook serve` was asked besides its settings.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServeOptions {
    /// Provision the demo world, once.
    pub demo: bool,
    /// Check everything and stop before serving.
    pub check: bool,
}

/// Serves until a signal ends it.
pub async fn run(_settings: Settings, _options: ServeOptions) -> Result<(), Box<dyn Error + Send + Sync>> {
    Err("this build has no server".into())
}

/// The OpenAPI document as JSON.
pub fn openapi() -> Result<String, Box<dyn Error + Send + Sync>> {
    Err("this build has no OpenAPI document".into())
}
