//! Provider keys; contract 5.2.

use super::presence::{Defaulted, Required};
use super::reader::input;
use super::types::{KeyText, Provider};
use crate::domain::{ProviderKey, ProviderKeyError};

input! {
    /// A key to store.
    #[derive(Debug)]
    pub(crate) struct SaveKey in SecretBody {
        /// The key. White space around it is removed.
        api_key: Required<KeyText>,
        /// The provider that issued the key.
        provider: Defaulted<Provider>,
    }
}

impl SaveKey {
    /// The key, if it has the form of one (contract 5.2, step 3).
    pub fn into_key(self) -> Result<ProviderKey, ProviderKeyError> {
        let Self {
            api_key,
            provider: Provider,
        } = self;
        ProviderKey::new(api_key.expose())
    }
}
