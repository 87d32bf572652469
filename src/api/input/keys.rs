//! Provider keys; contract 5.2.

use super::declaration::input;
use super::presence::{Defaulted, Required};
use super::types::{KeyText, Provider};

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
