//! Wake-on-LAN: the magic packet, sent by ourselves.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use super::{PowerError, Reply};
use crate::model::{MacAddr, Network};

/// How often the packet is sent: nobody acknowledges it.
const REPEATS: usize = 3;

/// Sends the packet into the nodes' subnet, from the master's address, so that it leaves by the right interface.
pub(super) fn wake(network: &Network, mac: MacAddr, port: u16) -> Result<Reply, PowerError> {
    let send = || {
        let socket = UdpSocket::bind(SocketAddrV4::new(network.master.get(), 0))?;
        socket.set_broadcast(true)?;
        let packet = magic(mac);
        let to = SocketAddrV4::new(network.subnet.broadcast(), port);
        for _ in 0..REPEATS {
            socket.send_to(&packet, to)?;
        }
        socket.send_to(&packet, SocketAddrV4::new(Ipv4Addr::BROADCAST, port))
    };
    match send() {
        Ok(_) => Ok(Reply::Sent),
        Err(source) => Err(PowerError::Send {
            from: network.master.to_string(),
            source,
        }),
    }
}

/// Six times 255, then sixteen times the address.
fn magic(mac: MacAddr) -> Vec<u8> {
    let mut packet = vec![0xff; 6];
    for _ in 0..16 {
        packet.extend_from_slice(&mac.bytes());
    }
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packet_is_as_the_cards_expect_it() {
        let packet = magic("52:54:00:12:34:56".parse().unwrap());
        assert_eq!(packet.len(), 102);
        assert_eq!(packet[..6], [0xff; 6]);
        assert!(
            packet[6..]
                .chunks(6)
                .all(|part| part == [0x52, 0x54, 0, 0x12, 0x34, 0x56])
        );
    }
}
