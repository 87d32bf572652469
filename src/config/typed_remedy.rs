//! Remedies as they are typed where the configuration was read.

use super::remedy::{Remedy, is_installed};
use super::source::Source;

impl Remedy {
    /// With the commands that change variables where `source` has them, and the packages of client
    /// programs that are not installed.
    #[must_use]
    pub fn at(&self, source: &Source) -> Self {
        let is_exported = |name: &str| source.is_in_environment(name);
        let Some(place) = source.place() else {
            let resolved = self.resolved(&is_exported, source.named_file());
            return resolved.naming_packages(is_installed);
        };
        let resolved = match &place.file {
            // The file has precedence over what else sets the environment.
            Some(_) => self.resolved(&|_| false, None),
            None if place.is_of_daemon() => self.resolved(&is_exported, None),
            None => self.resolved(&is_exported, source.named_file()),
        };
        let typed = resolved.typed_at(place, source.file().is_some());
        // The programs of a container are not those of its host.
        if place.is_in_container() {
            typed
        } else {
            typed.naming_packages(is_installed)
        }
    }
}
