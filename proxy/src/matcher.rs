//! What Envoy's matchers of single values accept
//! (<https://www.envoyproxy.io/docs/envoy/latest/api-v3/type/matcher/v3/string.proto>).

mod cidr;
mod string;

pub use self::{cidr::cidr_range, string::StringMatcher};
