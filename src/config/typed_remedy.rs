//! Remedies as they are typed where the configuration was read.

use super::remedy::{Remedy, is_installed};
use super::source::Source;

impl Remedy {
    /// With the commands that change variables where `source` has them, and the packages of client
    /// programs that are not installed.
    #[must_use]
    pub fn at(&self, source: &Source) -> Self {
        let is_exported = |name: &str| source.is_in_environment(name);
        let resolved = match source.place() {
            None => self.resolved(&is_exported, source.named_file()),
            // The file has precedence over what else sets the environment.
            Some(place) if place.file.is_some() => self.resolved(&|_| false, None).typed_at(place),
            Some(place) => self.resolved(&is_exported, None).typed_at(place),
        };
        resolved.naming_packages(is_installed)
    }
}
