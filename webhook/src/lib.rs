//! The sidecar injector: AdmissionReview in, JSON Patch out.
