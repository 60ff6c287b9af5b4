//! The filter that answers each connection with the same bytes, and closes it.

use fairlead_xds::envoy::{
    config::core::v3::{DataSource, data_source::Specifier},
    extensions::filters::network::direct_response::v3::Config as Message,
};

use crate::compile::At;

/// `envoy.filters.network.direct_response`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DirectResponse {
    /// What each connection is sent; may be empty.
    pub response: Box<[u8]>,
}

impl DirectResponse {
    /// The filter that the message asks for.
    pub fn compile(at: &At<'_>, message: &Message) -> Option<Self> {
        let Message { response } = message;
        let response = match response {
            Some(source) => inline(&at.field("response"), source)?,
            None => Box::default(),
        };
        Some(Self { response })
    }
}

/// What the message itself holds: files and environment are not read here.
fn inline(at: &At<'_>, source: &DataSource) -> Option<Box<[u8]>> {
    let DataSource {
        // It is of files alone.
        watched_directory: _,
        specifier,
    } = source;
    let not_here = |name: &str| {
        at.field(name)
            .fault("is not supported: give the response as inline_string or inline_bytes")
    };
    match at.required("specifier", specifier.as_ref())? {
        Specifier::InlineString(text) => Some(text.as_bytes().into()),
        Specifier::InlineBytes(bytes) => Some(bytes.as_slice().into()),
        Specifier::Filename(_) => not_here("filename"),
        Specifier::EnvironmentVariable(_) => not_here("environment_variable"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{Fault, Findings};

    #[track_caller]
    fn check(response: Option<DataSource>, expected: Result<&[u8], &str>) {
        let findings = Findings::default();
        let filter = DirectResponse::compile(&findings.at("x"), &Message { response });
        let fault = findings.faults().first().map(Fault::to_string);
        let response = filter.map(|filter| filter.response);
        assert_eq!(response.as_deref(), expected.ok());
        assert_eq!(fault.as_deref(), expected.err());
    }

    fn source(specifier: Specifier) -> Option<DataSource> {
        Some(DataSource {
            watched_directory: None,
            specifier: Some(specifier),
        })
    }

    #[test]
    fn the_response_is_in_the_message() {
        check(None, Ok(b""));
        check(source(Specifier::InlineString("hi".to_owned())), Ok(b"hi"));
        check(source(Specifier::InlineBytes(vec![0, 255])), Ok(&[0, 255]));
        let not_here = "is not supported: give the response as inline_string or inline_bytes";
        let file = source(Specifier::Filename("/x".to_owned()));
        check(file, Err(&format!("x.response.filename: {not_here}")));
        let variable = source(Specifier::EnvironmentVariable("X".to_owned()));
        let fault = format!("x.response.environment_variable: {not_here}");
        check(variable, Err(&fault));
        let missing = Err("x.response.specifier: is missing");
        check(Some(DataSource::default()), missing);
    }
}
