//! The admin port, for operators in the pod: Envoy's paths, and Envoy's forms of the answers.

pub mod handler;
pub mod served;
