//! rtnetlink: the flags of interfaces, and a hint that interfaces or addresses have changed.

use std::collections::BTreeMap;
use std::io;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket as _, AsyncSocketExt as _, Socket, SocketAddr, TokioSocket};

// linux/rtnetlink.h, linux/netlink.h
const RTMGRP_LINK: u32 = 0x1;
const RTMGRP_IPV4_IFADDR: u32 = 0x10;
const RTMGRP_IPV6_IFADDR: u32 = 0x100;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_HEADER: usize = 16;
const IFINFOMSG: usize = 16;
// linux/if.h
const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
const IFF_MULTICAST: u32 = 0x1000;

/// What the kernel says of an interface, as far as it matters here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) up: bool,
    pub(crate) loopback: bool,
    pub(crate) multicast: bool,
}

/// Wakes up when an interface or an address comes or goes.
pub(crate) struct Changes(TokioSocket);

impl Changes {
    pub(crate) fn watch() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind(&SocketAddr::new(0, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))?;
        Ok(Self(socket))
    }

    /// Waits for a change. What has changed is asked of the system anew, so the message itself does not matter. An
    /// error means that messages were lost; the socket is of no use any more.
    pub(crate) async fn next(&self) -> io::Result<()> {
        self.0.recv_from_full().await.map(drop)
    }
}

/// The flags of all interfaces of this network namespace, by index.
pub(crate) fn flags() -> io::Result<BTreeMap<u32, Flags>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&dump_request(), 0)?;
    let mut flags = BTreeMap::new();
    loop {
        let (messages, _) = socket.recv_from_full()?;
        if collect(&messages, &mut flags)? {
            return Ok(flags);
        }
    }
}

fn dump_request() -> [u8; NLMSG_HEADER + IFINFOMSG] {
    let mut request = [0; NLMSG_HEADER + IFINFOMSG];
    request[..4].copy_from_slice(&((NLMSG_HEADER + IFINFOMSG) as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&RTM_GETLINK.to_ne_bytes());
    request[6..8].copy_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    request
}

/// Takes the links out of a datagram; true when the dump is complete.
fn collect(mut messages: &[u8], flags: &mut BTreeMap<u32, Flags>) -> io::Result<bool> {
    let word = |bytes: &[u8], at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let half = |bytes: &[u8], at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    while let (Some(length), Some(kind)) = (word(messages, 0), half(messages, 4)) {
        let length = length as usize;
        let Some(message) = messages.get(..length).filter(|_| length >= NLMSG_HEADER) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let code = word(message, NLMSG_HEADER).unwrap_or_default().cast_signed();
                return Err(io::Error::from_raw_os_error(code.saturating_neg()));
            }
            RTM_NEWLINK => {
                // struct ifinfomsg: family, padding, type, index, flags, change mask.
                if let (Some(index), Some(bits)) = (word(message, NLMSG_HEADER + 4), word(message, NLMSG_HEADER + 8)) {
                    let is = |flag| bits & flag != 0;
                    let found = Flags { up: is(IFF_UP), loopback: is(IFF_LOOPBACK), multicast: is(IFF_MULTICAST) };
                    flags.insert(index, found);
                }
            }
            _ => {}
        }
        messages = messages.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_loopback_is_up_and_says_so() {
        let loopbacks: Vec<_> = flags().unwrap().into_values().filter(|flags| flags.loopback).collect();
        assert_eq!(loopbacks.len(), 1);
        assert!(loopbacks[0].up);
    }

    #[test]
    fn damaged_messages_end_in_an_error_or_nothing() {
        let mut message = dump_request().to_vec();
        message[4..6].copy_from_slice(&RTM_NEWLINK.to_ne_bytes());
        message[20..24].copy_from_slice(&7u32.to_ne_bytes());
        message[24..28].copy_from_slice(&(IFF_UP | IFF_MULTICAST).to_ne_bytes());
        let mut flags = BTreeMap::new();
        assert!(!collect(&message, &mut flags).unwrap());
        assert_eq!(flags[&7], Flags { up: true, loopback: false, multicast: true });
        for length in 0..message.len() {
            let _ = collect(&message[..length], &mut BTreeMap::new());
        }
        message[..4].copy_from_slice(&3u32.to_ne_bytes());
        assert!(collect(&message, &mut BTreeMap::new()).is_err());
    }
}
