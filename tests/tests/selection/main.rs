//! Which pods the chart's MutatingWebhookConfigurations lead to which installation: by the rendered
//! selectors alone, and on a real API server with two revisions side by side.
//!
//! What the chart renders lies in `golden/`, so that the rules can be tested without Helm.
//! `UPDATE_GOLDEN=1 cargo xtask test cluster` rewrites it.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod api_server;
mod check_inject;
mod matrix;
mod rendered;
