//! What dnsmasq says of machines, read from its log.
//!
//! dnsmasq is told `log-dhcp`, so each question of a machine begins with lines about who asks
//! (vendor and user class), under the number of the transaction; the line with the message itself
//! follows. Lines may have whatever in front that a log puts there. What is not understood is not about a boot.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use crate::model::MacAddr;
use crate::status::{Client, Dhcp, Event, Words};

/// Transactions that are remembered at once; each takes milliseconds.
const MAX_TRANSACTIONS: usize = 1024;

/// Reads a log line by line.
#[derive(Debug, Default)]
pub struct DhcpLog {
    /// The newest last.
    transactions: VecDeque<(u32, Client)>,
}

impl DhcpLog {
    /// Reads a line.
    pub fn read(&mut self, line: &str) -> Option<Event> {
        if let Some((_, rest)) = line.split_once("sent ")
            && let Some((path, address)) = rest.rsplit_once(" to ")
            && path.starts_with('/')
        {
            return Some(sent(path, address.trim().parse().ok()?));
        }
        if let Some((front, class)) = line.split_once(" vendor class: ") {
            let is_firmware = class.starts_with("PXEClient") || class.starts_with("HTTPClient");
            let client = if is_firmware {
                Client::Firmware
            } else {
                Client::Other
            };
            self.note(number(front)?, client);
            return None;
        }
        if let Some((front, class)) = line.split_once(" user class: ") {
            if class.trim() == "iPXE" {
                self.note(number(front)?, Client::Ipxe);
            }
            return None;
        }
        self.message(line)
    }

    fn note(&mut self, transaction: u32, client: Client) {
        self.transactions.retain(|(other, _)| *other != transaction);
        if self.transactions.len() == MAX_TRANSACTIONS {
            self.transactions.pop_front();
        }
        self.transactions.push_back((transaction, client));
    }

    /// `[NUMBER] DHCPACK(br0) 10.77.0.11 52:54:00:00:00:01 s1`
    fn message(&self, line: &str) -> Option<Event> {
        let begin = line.find("DHCP").map(|at| &line[at + 4..]);
        let (front, said) = match begin {
            Some(said) => (&line[..line.len() - said.len() - 4], said),
            None => line.split_once("PXE")?,
        };
        let (message, rest) = said.split_once('(')?;
        let (_, rest) = rest.split_once(')')?;
        let mut fields = rest.split_whitespace().peekable();
        let address = fields
            .peek()
            .and_then(|field| field.parse::<Ipv4Addr>().ok());
        if address.is_some() {
            fields.next();
        }
        let mac: MacAddr = fields.next()?.parse().ok()?;
        let words = Words::new(&fields.collect::<Vec<_>>().join(" "));
        let said = match (message, address) {
            ("DISCOVER", _) if words.as_str().starts_with("no address available") => {
                Dhcp::NoAddress
            }
            // dnsmasq beside another server answers firmware with `PXE(...)`.
            ("DISCOVER" | "", _) => Dhcp::Discover,
            ("REQUEST", _) => Dhcp::Request,
            ("OFFER", Some(address)) => Dhcp::Offer(address),
            ("ACK", Some(address)) => Dhcp::Ack(address),
            ("NAK", _) => Dhcp::Refused(words),
            ("DECLINE", _) => Dhcp::Refused(Words::new("it found the address in use")),
            _ => return None,
        };
        let known = number(front).and_then(|number| {
            let mut all = self.transactions.iter();
            all.find(|(other, _)| *other == number)
                .map(|(_, client)| *client)
        });
        let client = match known {
            Some(client) => client,
            None if message.is_empty() => Client::Firmware,
            None => Client::Other,
        };
        Some(Event::Dhcp { mac, client, said })
    }
}

/// The number of the transaction at the end of what is in front.
fn number(front: &str) -> Option<u32> {
    front.split_whitespace().next_back()?.parse().ok()
}

/// A file that was sent over TFTP.
fn sent(path: &str, address: Ipv4Addr) -> Event {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let name_of = |prefix: &str, suffix: &str| {
        let text = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
        text.parse::<MacAddr>().ok()
    };
    if directory.ends_with("/artifact")
        && let Ok(digest) = name.parse()
    {
        return Event::Fetched { address, digest };
    }
    // `pxelinux.cfg/01-52-54-00-00-00-01`, `grub/node-52:54:00:00:00:01.cfg`
    let mac = name_of("01-", "").or_else(|| name_of("node-", ".cfg"));
    let file = if directory.ends_with("/pxelinux.cfg") {
        format!("pxelinux.cfg/{name}")
    } else {
        name.to_owned()
    };
    let file = Words::new(&file);
    Event::Tftp { address, file, mac }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);

    fn read(log: &str) -> Vec<Event> {
        let mut reader = DhcpLog::default();
        log.lines().filter_map(|line| reader.read(line)).collect()
    }

    fn dhcp(client: Client, said: Dhcp) -> Event {
        let mac = "52:54:00:00:00:01".parse().expect("an address");
        Event::Dhcp { mac, client, said }
    }

    /// As dnsmasq 2.90 writes it.
    #[test]
    fn a_boot_is_read() {
        let events = read(
            "\
dnsmasq-dhcp[12]: DHCP, IP range 10.77.0.100 -- 10.77.0.100, lease time 1h
dnsmasq-dhcp[12]: 4239075850 available DHCP range: 10.77.0.100 -- 10.77.0.100
dnsmasq-dhcp[12]: 4239075850 vendor class: PXEClient:Arch:00000:UNDI:002001
dnsmasq-dhcp[12]: 4239075850 DHCPDISCOVER(br0) 52:54:00:00:00:01 
dnsmasq-dhcp[12]: 4239075850 tags: known, br0
dnsmasq-dhcp[12]: 4239075850 DHCPOFFER(br0) 10.77.0.11 52:54:00:00:00:01 
dnsmasq-dhcp[12]: 4239075850 requested options: 1:netmask, 3:router, 6:dns-server, 12:hostname, 
dnsmasq-dhcp[12]: 4239075850 sent size:  1 option: 53 message-type  2
dnsmasq-dhcp[12]: 4239075850 DHCPACK(br0) 10.77.0.11 52:54:00:00:00:01 s1
dnsmasq-tftp[12]: error 8 User aborted the transfer received from 10.77.0.11
dnsmasq-tftp[12]: sent /srv/current/files/tftp/undionly.kpxe to 10.77.0.11
dnsmasq-dhcp[12]: 1526176892 vendor class: PXEClient:Arch:00007:UNDI:003016
dnsmasq-dhcp[12]: 1526176892 user class: iPXE
dnsmasq-dhcp[12]: 1526176892 DHCPREQUEST(br0) 10.77.0.11 52:54:00:00:00:01 
dnsmasq-dhcp[12]: 3698860158 vendor class: udhcp 1.35.0
dnsmasq-dhcp[12]: 3698860158 DHCPDISCOVER(br0) 52:54:00:00:00:01 no address available
dnsmasq-dhcp[12]: 3698860158 DHCPNAK(br0) 10.77.0.11 52:54:00:00:00:01 address in use
dnsmasq-tftp[12]: file /srv/tftp/pxelinux.cfg/C0A8 not found for 10.77.0.1
dnsmasq-tftp[12]: sent /srv/tftp/pxelinux.cfg/01-52-54-00-00-00-01 to 10.77.0.11
dnsmasq-tftp[12]: sent /srv/tftp/grub/node-52:54:00:00:00:01.cfg to 10.77.0.11
dnsmasq-tftp[12]: sent /srv/tftp/artifact/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 to 10.77.0.11
",
        );
        let mac = "52:54:00:00:00:01".parse().ok();
        assert_eq!(
            events,
            [
                dhcp(Client::Firmware, Dhcp::Discover),
                dhcp(Client::Firmware, Dhcp::Offer(IP)),
                dhcp(Client::Firmware, Dhcp::Ack(IP)),
                Event::Tftp {
                    address: IP,
                    file: Words::new("undionly.kpxe"),
                    mac: None
                },
                dhcp(Client::Ipxe, Dhcp::Request),
                dhcp(Client::Other, Dhcp::NoAddress),
                dhcp(Client::Other, Dhcp::Refused(Words::new("address in use"))),
                Event::Tftp {
                    address: IP,
                    file: Words::new("pxelinux.cfg/01-52-54-00-00-00-01"),
                    mac
                },
                Event::Tftp {
                    address: IP,
                    file: Words::new("node-52:54:00:00:00:01.cfg"),
                    mac
                },
                Event::Fetched {
                    address: IP,
                    digest: crate::store::Digest::of(b""),
                },
            ]
        );
    }

    #[test]
    fn the_journal_of_systemd_and_proxies_are_read_too() {
        assert_eq!(
            read("DHCPACK(eth1) 10.77.0.11 52:54:00:00:00:01 s1"),
            [dhcp(Client::Other, Dhcp::Ack(IP))]
        );
        assert_eq!(
            read("77 PXE(br0) 52:54:00:00:00:01 proxy"),
            [dhcp(Client::Firmware, Dhcp::Discover)]
        );
    }

    #[test]
    fn transactions_are_forgotten() {
        let mut log = DhcpLog::default();
        for number in 0..5000 {
            log.read(&format!("x: {number} vendor class: PXEClient"));
        }
        assert_eq!(log.transactions.len(), MAX_TRANSACTIONS);
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_passed_over(line in ".{0,200}", message in "[A-Z(). 0-9a-f:é]{0,40}") {
            let mut log = DhcpLog::default();
            log.read(&line);
            log.read(&format!("1 DHCP{message}"));
            log.read(&format!("sent /{message} to {line}"));
        }
    }
}
