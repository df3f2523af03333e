//! What both sides say of a peer: where a master listens, as people write it, and why it cannot be reached.

use std::error::Error;

use tonic::{Code, Status};

/// What is wrong with the address of a master.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// `https://`.
    #[error("the master speaks plain HTTP/2; write http://")]
    Https,
    /// No address at all.
    #[error("not the address of a master, such as http://10.0.0.1:7411")]
    Other,
    /// Only a host.
    #[error("not the address of a master, such as http://10.0.0.1:7411: the port is missing")]
    NoPort,
    /// What stands behind the last colon.
    #[error("not the address of a master, such as http://10.0.0.1:7411: {0:?} is not a port")]
    Port(String),
}

/// The address of a master, `http://HOST:PORT`; the scheme may be left out.
pub fn master_url(text: &str) -> Result<String, AddressError> {
    let authority = match text.split_once("://") {
        Some(("http", rest)) => rest.strip_suffix('/').unwrap_or(rest),
        Some(("https", _)) => return Err(AddressError::Https),
        Some(_) => return Err(AddressError::Other),
        None => text,
    };
    let (host, port) = authority.rsplit_once(':').ok_or(AddressError::NoPort)?;
    if host.is_empty()
        || host.contains(['/', '@', ' '])
        || (host.contains(':') && !(host.starts_with('[') && host.ends_with(']')))
    {
        return Err(AddressError::Other);
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(format!("http://{authority}")),
        _ => Err(AddressError::Port(port.to_owned())),
    }
}

/// The causes of an error of the transport, each said once: the libraries below wrap some of them in others
/// of the same text.
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if said.last() != Some(&text) {
            said.push(text);
        }
        next = error.source();
    }
    said.join(": ")
}

/// What a peer of another version says of it; none when the error is about something else.
pub fn other_version(status: &Status) -> Option<String> {
    match status.code() {
        Code::FailedPrecondition => Some(status.message().to_owned()),
        // Either a version so different that its package has another name, or no master at all.
        Code::Unimplemented => Some("it does not serve regexctl.v1".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_masters_are_checked() {
        assert_eq!(master_url("http://m:7411"), Ok("http://m:7411".to_owned()));
        assert_eq!(master_url("http://m:7411/"), Ok("http://m:7411".to_owned()));
        assert_eq!(master_url("m:7411"), Ok("http://m:7411".to_owned()));
        assert_eq!(master_url("[::1]:7411"), Ok("http://[::1]:7411".to_owned()));
        for wrong in [
            "",
            "m",
            "http://m",
            "https://m:1",
            "ftp://m:1",
            "m:0",
            "m:65536",
            ":1",
            "a/b:1",
            "::1:1",
        ] {
            assert!(master_url(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_cause_is_said_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] Wrapper);
        #[derive(Debug, thiserror::Error)]
        #[error("inner")]
        struct Wrapper(#[source] Inner);
        #[derive(Debug, thiserror::Error)]
        #[error("inner")]
        struct Inner(#[source] std::fmt::Error);
        let error = Outer(Wrapper(Inner(std::fmt::Error)));
        let last = std::fmt::Error.to_string();
        assert_eq!(causes(&error), format!("outer: inner: {last}"));
    }
}
