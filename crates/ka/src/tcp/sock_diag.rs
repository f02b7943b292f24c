//! The TCP sockets of a network namespace, as the kernel tells them to everybody (sock_diag(7)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netlink_packet_core::{NetlinkBuffer, NlasIterator};
use rustix::io::{Errno, Result};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

use super::state::State;
use super::tcp_info::TcpInfo;

/// The timer that runs on a socket. The kernel tells of one alone, and another one hides that of keepalive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// None: keepalive is off, or the socket does not get that far in its state.
    None,
    /// Keepalive: the next probe, and how many went unanswered.
    Keepalive {
        /// Milliseconds until then.
        next: u32,
        /// How many.
        unanswered: u8,
    },
    /// Data is on its way, or waits for the peer to make room.
    Busy,
    /// The socket's namespace cannot be asked.
    Unknown {
        /// How many probes went unanswered.
        unanswered: u8,
    },
}

/// A TCP socket.
#[derive(Clone, Copy, Debug)]
pub struct Sock {
    /// Whether it is AF_INET6.
    pub ipv6: bool,
    /// Whether it is a path of an MPTCP connection.
    pub subflow: bool,
    /// Its state.
    pub state: State,
    /// What runs.
    pub timer: Timer,
    /// Milliseconds since anything came from the peer.
    pub last_received: Option<u32>,
    /// An IPv4-mapped address is shown as IPv4.
    pub local: SocketAddr,
    /// All zeroes if there is none.
    pub peer: SocketAddr,
    /// Who made it.
    pub uid: Option<u32>,
    /// The cgroup (v2) that it was made in, by its inode; since Linux 5.9.
    pub cgroup: Option<u64>,
    /// As in the links of /proc/PID/fd; 0 if no process holds it.
    pub inode: u32,
}

impl Sock {
    /// Whether it waits for connections.
    pub fn listens(&self) -> bool {
        self.state == State::LISTEN
    }
}

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const IPPROTO_TCP: u8 = 6;
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_ULP_INFO: u16 = 19;
const INET_DIAG_CGROUP_ID: u16 = 21;
const INET_ULP_INFO_NAME: u16 = 1;
/// The size of struct inet_diag_msg, behind which the attributes stand.
const DIAG_MSG: usize = 72;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// How often a list is asked for anew that was not of one moment.
const ATTEMPTS: usize = 8;
/// The kernel puts as many sockets into a message as fit into the buffer, up to 32 KiB.
const BUFFER: usize = 32 * 1024;

/// All sockets of the namespace that the calling thread is in, but those in TIME-WAIT and without an address.
pub fn dump() -> Result<Vec<Sock>> {
    let netlink = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    let mut socks = Vec::new();
    let mut buffer = vec![0; BUFFER];
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        socks.extend(whole(|| {
            send(&netlink, &request(family), SendFlags::empty())?;
            let mut list = List::default();
            while !list.complete {
                let (length, _) = recv(&netlink, &mut buffer[..], RecvFlags::empty())?;
                list.add(buffer.get(..length).unwrap_or_default())?;
            }
            Ok(list)
        })?);
    }
    Ok(socks)
}

/// Asks until the list is of one moment: it changed while the kernel wrote an interrupted one, which may lack sockets
/// or have some twice (NLM_F_DUMP_INTR, netlink(7)). After so many attempts the last one has to do.
fn whole(mut ask: impl FnMut() -> Result<List>) -> Result<Vec<Sock>> {
    let mut list = ask()?;
    for _ in 1..ATTEMPTS {
        if !list.interrupted {
            break;
        }
        list = ask()?;
    }
    Ok(list.socks)
}

/// An answer of the kernel's, datagram by datagram.
#[derive(Debug, Default)]
struct List {
    socks: Vec<Sock>,
    complete: bool,
    interrupted: bool,
}

/// struct nlmsghdr and struct inet_diag_req_v2.
fn request(family: AddressFamily) -> [u8; 72] {
    let states = (0..13).map(State).filter(|s| s.is_shown()).fold(0, |bits, s| bits | 1u32 << s.0);
    let mut bytes = [0; 72];
    let length = bytes.len() as u32;
    let mut put = |at: usize, value: &[u8]| {
        bytes.iter_mut().skip(at).zip(value).for_each(|(place, &byte)| *place = byte);
    };
    put(0, &length.to_ne_bytes());
    put(4, &SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    put(6, &NLM_F_REQUEST_DUMP.to_ne_bytes());
    put(16, &[family.as_raw() as u8, IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1)]);
    put(20, &states.to_ne_bytes());
    bytes
}

impl List {
    /// Reads the messages of one datagram.
    fn add(&mut self, mut bytes: &[u8]) -> Result<()> {
        while let Ok(message) = NetlinkBuffer::new_checked(bytes) {
            self.interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
            match message.message_type() {
                NLMSG_DONE => {
                    self.complete = true;
                    break;
                }
                NLMSG_ERROR => {
                    let errno = array(message.payload(), 0)
                        .map_or(0, |bytes| i32::from_ne_bytes(bytes).wrapping_neg());
                    return Err(Errno::from_raw_os_error(errno));
                }
                SOCK_DIAG_BY_FAMILY => self.socks.extend(parse(message.payload())),
                _ => {}
            }
            let next = (message.length() as usize).next_multiple_of(4);
            bytes = bytes.get(next..).unwrap_or_default();
        }
        Ok(())
    }
}

/// struct inet_diag_msg and its attributes. Nothing that the kernel leaves out, or adds one day, is an error.
fn parse(bytes: &[u8]) -> Option<Sock> {
    let &[family, state, timer, retransmits, ..] = bytes else { return None };
    let ipv6 = i32::from(family) == i32::from(AddressFamily::INET6.as_raw());
    let mut sock = Sock {
        ipv6,
        subflow: false,
        state: State(state),
        timer: match timer {
            0 => Timer::None,
            2 => Timer::Keepalive { next: number(bytes, 52)?, unanswered: retransmits },
            _ => Timer::Busy,
        },
        last_received: None,
        local: address(ipv6, bytes, 8, 4)?,
        peer: address(ipv6, bytes, 24, 6)?,
        uid: number(bytes, 64),
        cgroup: None,
        inode: number(bytes, 68)?,
    };
    for attribute in NlasIterator::new(bytes.get(DIAG_MSG..)?).flatten() {
        match attribute.kind() {
            INET_DIAG_INFO if !sock.listens() && sock.state != State::SYN_SENT => {
                sock.last_received = Some(TcpInfo::parse(attribute.value()).last_received());
            }
            INET_DIAG_CGROUP_ID => sock.cgroup = array(attribute.value(), 0).map(u64::from_ne_bytes),
            INET_DIAG_ULP_INFO => sock.subflow = is_mptcp(attribute.value()),
            _ => {}
        }
    }
    Some(sock)
}

/// Whether the protocol on top of TCP is MPTCP.
fn is_mptcp(ulp_info: &[u8]) -> bool {
    NlasIterator::new(ulp_info)
        .flatten()
        .any(|part| part.kind() == INET_ULP_INFO_NAME && part.value().starts_with(b"mptcp"))
}

fn address(ipv6: bool, bytes: &[u8], at: usize, port_at: usize) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(array(bytes, port_at)?);
    let ip = if ipv6 {
        IpAddr::V6(Ipv6Addr::from(array::<16>(bytes, at)?)).to_canonical()
    } else {
        IpAddr::V4(Ipv4Addr::from(array::<4>(bytes, at)?))
    };
    Some(SocketAddr::new(ip, port))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_ne_bytes)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::{
        ATTEMPTS, DIAG_MSG, List, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, SOCK_DIAG_BY_FAMILY, whole,
    };
    use rustix::io::Errno;

    /// A message: struct nlmsghdr, then the payload.
    fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let length = (16 + payload.len()) as u32;
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].concat());
        bytes.extend([0; 8]);
        bytes.extend(payload);
        bytes
    }

    /// A listener with this inode.
    fn socket(inode: u32) -> [u8; DIAG_MSG] {
        let mut bytes = [0; DIAG_MSG];
        (bytes[0], bytes[1]) = (libc::AF_INET as u8, 10);
        bytes[68..].copy_from_slice(&inode.to_ne_bytes());
        bytes
    }

    fn list(flags: u16, inode: u32) -> List {
        let mut list = List::default();
        list.add(&message(SOCK_DIAG_BY_FAMILY, 0, &socket(inode))).unwrap();
        assert!(!list.complete);
        list.add(&message(NLMSG_DONE, flags, &[0; 4])).unwrap();
        assert!(list.complete);
        list
    }

    #[test]
    fn an_interrupted_list_is_asked_for_again() {
        let asked_for = |interrupted: usize| {
            let mut asked = 0;
            let socks = whole(|| {
                asked += 1;
                Ok(list(if asked <= interrupted { NLM_F_DUMP_INTR } else { 0 }, asked as u32))
            });
            (asked, socks.unwrap().iter().map(|sock| sock.inode).collect::<Vec<_>>())
        };
        assert_eq!(asked_for(0), (1, vec![1]));
        assert_eq!(asked_for(2), (3, vec![3]));
        assert_eq!(asked_for(usize::MAX), (ATTEMPTS, vec![ATTEMPTS as u32]));
    }

    #[test]
    fn an_error_is_told() {
        let error = (-libc::ENOENT).to_ne_bytes();
        let refused = List::default().add(&message(NLMSG_ERROR, 0, &error));
        assert_eq!(refused, Err(Errno::NOENT));
    }
}
