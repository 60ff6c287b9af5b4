//! The serving certificate, and the `caBundle` that lets the API server verify it.
//!
//! By default the authority is our own. It lives in a Secret that the chart makes empty and the first
//! replica fills; a replica that comes second uses what it finds. Each replica issues its own
//! short-lived serving certificate in memory. Where somebody else issues the certificate, such as
//! cert-manager, the replicas serve what they find in its Secret. The `caBundle` of the
//! MutatingWebhookConfiguration is written by server-side apply of that field alone, and only when
//! something is missing in it; in [`rotation`] stands why no call fails when any of this changes.
//!
//! - [`pem`]: pure: the certificates of a bundle
//! - [`authority`]: pure: keys and certificates of our own
//! - [`contents`]: pure: an authority in a Secret's data
//! - [`brought`]: pure: a certificate of somebody else in a Secret's data
//! - [`bundle`]: pure: what a MutatingWebhookConfiguration trusts, and the patch that makes it
//! - [`rotation`]: pure: when an authority and a certificate change
//! - [`keeper`]: watches both objects and keeps them true

mod authority;
mod brought;
mod bundle;
mod contents;
mod keeper;
mod pem;
mod rotation;

pub use self::keeper::{Keeper, Names, Origin};
