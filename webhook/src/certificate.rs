//! Own authority and serving certificate, and the `caBundle` that lets the API server verify it.
//!
//! The authority lives in a Secret that the chart makes empty and the first replica fills; a
//! replica that comes second uses what it finds. Each replica issues its own short-lived serving
//! certificate in memory. The `caBundle` of the MutatingWebhookConfiguration is written by
//! server-side apply of that field alone, and only when it differs.
//!
//! - [`authority`]: pure: keys and certificates
//! - [`contents`]: pure: an authority in a Secret's data
//! - [`bundle`]: pure: what a MutatingWebhookConfiguration trusts, and the patch that makes it
//! - [`keeper`]: watches both objects and keeps them true

mod authority;
mod bundle;
mod contents;
mod keeper;

pub use self::keeper::{Keeper, Names};
