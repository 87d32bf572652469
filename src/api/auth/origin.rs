//! Where a request comes from.

use std::net::IpAddr;

use crate::api::allowance::Allowance;
use crate::api::error::{ApiError, RateLimit};

/// Where a request comes from, for credentials that others have to be asked about.
#[derive(Debug, Clone, Copy)]
pub(in crate::api) struct Origin {
    /// The client's address.
    pub address: IpAddr,
    /// Set once the address has used up its wrong credentials: then neither the database nor the
    /// auth server is asked about a token that was not good before.
    pub exhausted: Option<Allowance>,
}

impl Origin {
    /// An error if nobody may be asked.
    pub fn may_ask(&self) -> Result<(), ApiError> {
        match self.exhausted {
            None => Ok(()),
            Some(allowance) => Err(ApiError::RateLimited {
                limit: RateLimit::AuthFailures,
                allowance,
            }),
        }
    }
}
