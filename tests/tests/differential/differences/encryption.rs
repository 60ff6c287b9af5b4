//! TLS.

use super::Known;

pub(super) const KNOWN: &[Known] = &[];
