//! Programs the redirect of a pod.
