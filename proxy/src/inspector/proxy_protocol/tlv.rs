//! Extensions of a PROXY header.

use fairlead_xds::envoy::config::core::v3::{
    ProxyProtocolPassThroughTlVs, proxy_protocol_pass_through_tl_vs::PassTlVsMatchType,
};

use crate::compile::At;

/// An extension: a type, a length, a value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tlv {
    /// What the value means.
    pub kind: u8,
    /// Of at most 65,535 bytes.
    pub value: Box<[u8]>,
}

/// Which extensions pass from the downstream header to the upstream one
/// (`envoy.config.core.v3.ProxyProtocolPassThroughTLVs`).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum PassThrough {
    /// None.
    #[default]
    Nothing,
    /// Those of these types.
    These(Box<[u8]>),
    /// All.
    All,
}

impl PassThrough {
    /// What the message, if there is one, asks for.
    pub fn compile(at: &At<'_>, message: Option<&ProxyProtocolPassThroughTlVs>) -> Option<Self> {
        let Some(ProxyProtocolPassThroughTlVs {
            match_type,
            tlv_type,
        }) = message
        else {
            return Some(Self::Nothing);
        };
        let kinds = at.each("tlv_type", tlv_type, |at, kind| kind_of(at, *kind));
        match PassTlVsMatchType::try_from(*match_type) {
            _ if kinds.len() != tlv_type.len() => None,
            Ok(PassTlVsMatchType::IncludeAll) => Some(Self::All),
            Ok(PassTlVsMatchType::Include) => Some(Self::These(kinds.into())),
            Err(_) => at
                .field("match_type")
                .fault(format!("{match_type} is no match type")),
        }
    }

    /// Whether an extension of this type passes.
    pub fn passes(&self, kind: u8) -> bool {
        match self {
            Self::Nothing => false,
            Self::These(kinds) => kinds.contains(&kind),
            Self::All => true,
        }
    }
}

/// The type of an extension.
pub(super) fn kind_of(at: &At<'_>, kind: u32) -> Option<u8> {
    match u8::try_from(kind) {
        Ok(kind) => Some(kind),
        Err(_) => at.fault(format!("{kind} is no type of an extension; 0 to 255 is")),
    }
}
