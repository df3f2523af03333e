//! Telling systemd that the worker is attached: the protocol of sd_notify(3), one datagram.
//!
//! A unit of `Type=notify` counts as started from then on, so that what is ordered after it runs
//! on a node that works. Started in another way, there is nobody to tell, and nothing happens.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The variable that names the socket.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Says it. Again does no harm.
pub(super) fn ready() {
    if let Some(socket) = env::var_os(SOCKET)
        && let Err(error) = send(&socket, b"READY=1\nSTATUS=attached to the master\n")
    {
        tracing::warn!("cannot tell systemd that the worker is attached: {error}");
    }
}

fn send(socket: &OsStr, message: &[u8]) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(message, &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(address: &SocketAddr, name: &OsStr) -> Vec<u8> {
        let systemd = UnixDatagram::bind_addr(address).expect("a free name");
        send(name, b"READY=1\n").expect("somebody listens");
        let mut bytes = [0; 64];
        let length = systemd.recv(&mut bytes).expect("it was sent");
        bytes[..length].to_vec()
    }

    #[test]
    fn systemd_is_told_by_either_kind_of_socket() {
        let name = format!("regexctl-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let told = received(&address, OsStr::new(&format!("@{name}")));
        assert_eq!(told, b"READY=1\n");
        let path = env::temp_dir().join(&name);
        let address = SocketAddr::from_pathname(&path).expect("a path");
        assert_eq!(received(&address, path.as_os_str()), b"READY=1\n");
        std::fs::remove_file(&path).expect("it is ours");
    }

    #[test]
    fn nobody_who_listens_is_an_error_and_no_panic() {
        assert!(send(OsStr::new("/nowhere/notify"), b"READY=1\n").is_err());
    }
}
