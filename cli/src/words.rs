//! Errors in words: each cause once, and of the API server what it says itself.

use std::error::Error;

use anyhow::Chain;
use kube::Error as KubeError;

/// The error with its causes, in one line.
pub(crate) fn of_all(error: &anyhow::Error) -> String {
    join(error.chain())
}

/// As above, of one of the client.
pub(crate) fn of(error: &KubeError) -> String {
    join(Chain::new(error))
}

fn join<'a>(chain: impl Iterator<Item = &'a (dyn Error + 'static)>) -> String {
    let mut text = String::new();
    for cause in chain {
        let (said, is_last) = match cause.downcast_ref::<KubeError>() {
            // Its own form has the whole answer in it, as a debugger shows it.
            Some(KubeError::Api(status)) if !status.message.is_empty() => {
                (status.message.clone(), true)
            }
            Some(KubeError::Service(_)) => ("the API server cannot be asked".to_owned(), false),
            _ => (cause.to_string(), false),
        };
        // Some say their cause themselves.
        if !text.ends_with(&said) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&said);
        }
        if is_last {
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use kube::core::Status;

    use super::*;

    #[test]
    fn the_api_servers_answer_is_its_message() {
        let status = Status::failure("pods \"client\" not found", "NotFound").with_code(404);
        let error = KubeError::Api(status.boxed());
        assert_eq!(of(&error), "pods \"client\" not found");
        let error = anyhow::Error::from(error).context("pod client in namespace demo");
        assert_eq!(
            of_all(&error),
            "pod client in namespace demo: pods \"client\" not found"
        );
    }

    #[test]
    fn a_server_that_does_not_answer_is_told_once_with_the_cause() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = KubeError::Service(Box::new(refused));
        assert_eq!(
            of(&error),
            "the API server cannot be asked: connection refused"
        );
    }

    #[derive(Debug, thiserror::Error)]
    #[error("read a: {source}")]
    struct Doubled {
        source: io::Error,
    }

    #[test]
    fn a_cause_that_is_said_already_is_not_repeated() {
        let source = io::Error::from(io::ErrorKind::NotFound);
        let error = anyhow::Error::from(Doubled { source }).context("no kubeconfig");
        assert_eq!(of_all(&error), "no kubeconfig: read a: entity not found");
    }
}
