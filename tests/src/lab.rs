//! The firewall lab: a client, a router and a server, each in a network namespace of its own.
//!
//! ```text
//!   client 10.77.1.2 ---- 10.77.1.1 router 10.77.2.1 ---- 10.77.2.2 server
//! ```
//!
//! The router forwards only what belongs to a connection that it knows, learns connections by their SYN alone, and
//! forgets one on which it has seen no packet for some seconds. Whatever runs is a real program on a real kernel; only
//! the times are scaled down.
//!
//! ```ignore
//! let lab = Lab::new(Firewall::Nat, Duration::from_secs(6))?;
//! let server = Postgres::start_at(&lab.server_place(), Preload::No)?;
//! let client = server.psql().within(lab.client()).preload(preload).start()?;
//! ```
//!
//! A lab is gone when its value and the processes in it are; nothing of it is visible outside.

mod delay;
mod evidence;
mod namespace;
mod sniffer;
mod ways;

pub use delay::Delay;
pub use evidence::Evidence;
pub use namespace::{Namespace, Place, processes_in_labs};
pub use sniffer::{Packet, Sniffer};
pub use ways::{Seen, Way, watch};

use std::fs;
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use crate::{Listener, Need, Program, Result};

/// What the router does with a packet of a connection that it does not know (any more), and whether it translates
/// addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firewall {
    /// Drops it in silence.
    Drop,
    /// Drops it in silence; the server sees all connections come from the router.
    Nat,
    /// Answers it with a RST.
    Reset,
}

impl Firewall {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Drop, Self::Nat, Self::Reset];

    /// A short name, for a test's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Nat => "nat",
            Self::Reset => "reset",
        }
    }
}

/// The address of the client.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 2);
/// The address of the server.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 2);

/// A lab.
#[derive(Debug)]
pub struct Lab {
    firewall: Firewall,
    timeout: Duration,
    client: Namespace,
    router: Namespace,
    server: Namespace,
}

impl Lab {
    /// What a test in a lab needs, besides its own programs.
    pub const NEEDS: [Need; 4] = [
        Need::Root,
        Need::Program("ip"),
        Need::Program("nft"),
        Need::Kernel("connection tracking and its list in /proc", tracks_connections),
    ];

    /// [`Self::NEEDS`] and these.
    pub fn needs(more: &[Need]) -> Vec<Need> {
        [&Self::NEEDS[..], more].concat()
    }

    /// A new one, whose firewall forgets a connection that was silent for this long, in whole seconds.
    pub fn new(firewall: Firewall, timeout: Duration) -> Result<Self> {
        let (client, router, server) = (Namespace::new()?, Namespace::new()?, Namespace::new()?);
        let lab = Self { firewall, timeout, client, router, server };
        // Each interface is named for what is behind it.
        ip(
            &lab.router,
            &[
                &format!("link add client type veth peer name router netns {}", lab.client.path()),
                &format!("link add server type veth peer name router netns {}", lab.server.path()),
                "address add 10.77.1.1/24 dev client",
                "address add 10.77.2.1/24 dev server",
                "link set lo up",
                "link set client up",
                "link set server up",
            ],
        )?;
        for (host, address, router) in
            [(&lab.client, CLIENT, "10.77.1.1"), (&lab.server, SERVER, "10.77.2.1")]
        {
            ip(
                host,
                &[
                    &format!("address add {address}/24 dev router"),
                    "link set lo up",
                    "link set router up",
                    &format!("route add default via {router}"),
                ],
            )?;
        }
        lab.set_up_firewall()?;
        Ok(lab)
    }

    fn set_up_firewall(&self) -> Result {
        let late = match self.firewall {
            Firewall::Drop | Firewall::Nat => "drop",
            Firewall::Reset => "reject with tcp reset",
        };
        let nat = match self.firewall {
            Firewall::Nat => {
                "chain nat { type nat hook postrouting priority srcnat; oifname \"server\" masquerade; }"
            }
            Firewall::Drop | Firewall::Reset => "",
        };
        // With NAT, what comes late from the server is addressed to the router itself: hence the chain `input`.
        self.nft(&format!(
            "table inet firewall {{
                counter late {{ }}
                counter lost {{ }}
                chain outage {{ type filter hook prerouting priority raw; }}
                chain forward {{
                    type filter hook forward priority filter; policy drop;
                    ct state established,related accept
                    iifname \"client\" ct state new tcp flags & (fin|syn|rst|ack) == syn accept
                    meta l4proto tcp counter name late {late}
                }}
                chain input {{
                    type filter hook input priority filter; policy drop;
                    meta l4proto tcp counter name late
                }}
                {nat}
            }}"
        ))?;
        // After the rules, which load the module that has these.
        let seconds = self.timeout.as_secs().to_string();
        for (name, value) in [
            ("ipv4/ip_forward", "1"),
            ("netfilter/nf_conntrack_tcp_loose", "0"),
            ("netfilter/nf_conntrack_tcp_timeout_established", &seconds),
        ] {
            self.router.enter(|| Ok(fs::write(format!("/proc/sys/net/{name}"), value)?))?;
        }
        Ok(())
    }

    /// What kind of firewall it has.
    pub fn firewall(&self) -> Firewall {
        self.firewall
    }

    /// When the firewall forgets a silent connection.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The client's namespace.
    pub fn client(&self) -> &Namespace {
        &self.client
    }

    /// The router's namespace; its interfaces are `client` and `server`, theirs is `router`.
    pub fn router(&self) -> &Namespace {
        &self.router
    }

    /// The server's namespace.
    pub fn server(&self) -> &Namespace {
        &self.server
    }

    /// Where a server of the harness is to be started.
    pub fn server_place(&self) -> Place {
        Place { address: SERVER, namespace: Some(self.server.clone()) }
    }

    /// A listening socket of the test itself on the server.
    pub fn listen(&self) -> Result<Listener> {
        self.server.enter(|| Listener::bind_to(SERVER))
    }

    /// Changes the rules of the router, in nft's own language. The table is `inet firewall`; of its chains, `outage`
    /// (prerouting, before connections are tracked) is empty.
    pub fn nft(&self, rules: &str) -> Result {
        feed(Program::new("nft").args(["-f", "-"]).within(&self.router), rules)
    }

    /// How many packets came too late: the firewall did not know their connection.
    pub fn late(&self) -> Result<u64> {
        self.counter("late")
    }

    /// How many packets the outages have swallowed.
    pub fn lost(&self) -> Result<u64> {
        self.counter("lost")
    }

    /// The packets that a named counter of the table has seen.
    pub fn counter(&self, name: &str) -> Result<u64> {
        let list = ["list", "counter", "inet", "firewall", name];
        let text = String::from_utf8(Program::new("nft").args(list).within(&self.router).succeed()?)?;
        let mut words = text.split_whitespace().skip_while(|&word| word != "packets").skip(1);
        Ok(words.next().ok_or("no such counter")?.parse()?)
    }

    /// Whether the firewall knows the connection from this port of the client.
    pub fn knows(&self, client_port: u16) -> Result<bool> {
        // The first port in a line is that of whoever made the connection.
        let mark = format!("sport={client_port}");
        self.router.enter(|| {
            let known = fs::read_to_string(CONNECTIONS)?;
            Ok(known
                .lines()
                .any(|line| line.split_whitespace().find(|word| word.starts_with("sport=")) == Some(&mark)))
        })
    }

    /// Begins an outage that the router itself ends, to the millisecond: until then it loses every packet, and says
    /// nothing.
    pub fn cut_for(&self, duration: Duration) -> Result {
        self.lose_from(&[CLIENT, SERVER], duration)
    }

    /// The same, for what the client sends.
    pub fn cut_client_for(&self, duration: Duration) -> Result {
        self.lose_from(&[CLIENT], duration)
    }

    fn lose_from(&self, senders: &[Ipv4Addr], duration: Duration) -> Result {
        let one = |sender: &Ipv4Addr| format!("{sender} timeout {}ms", duration.as_millis());
        let senders: Vec<_> = senders.iter().map(one).collect();
        self.nft(&format!(
            "add set inet firewall away {{ type ipv4_addr; flags timeout; }}
             add rule inet firewall outage ip saddr @away counter name lost drop
             add element inet firewall away {{ {} }}",
            senders.join(", ")
        ))
    }

    /// Loses so many packets of a hundred, in each direction.
    pub fn lose(&self, percent: u32) -> Result {
        self.nft(&format!(
            "add rule inet firewall outage iifname {{ client, server }} numgen random mod 100 < {percent} counter name lost drop"
        ))
    }

    /// Begins an outage: the router loses every packet, and says nothing.
    pub fn cut(&self) -> Result {
        self.nft("add rule inet firewall outage counter name lost drop")
    }

    /// Pulls the server's cable: the peer has vanished without a word, and the router finds no way to it.
    pub fn unplug_server(&self) -> Result {
        ip(&self.server, &["link set router down"])
    }
}

/// The connections that the router knows.
const CONNECTIONS: &str = "/proc/thread-self/net/nf_conntrack";

fn tracks_connections() -> bool {
    static TRACKS: OnceLock<bool> = OnceLock::new();
    let list = || {
        let namespace = Namespace::new()?;
        // The kernel may load the module when a rule asks for it.
        let rule =
            "table inet test {\nchain forward {\ntype filter hook forward priority 0\nct state new\n}\n}\n";
        feed(Program::new("nft").args(["-f", "-"]).within(&namespace), rule)?;
        namespace.enter(|| Ok(fs::exists(CONNECTIONS)?))
    };
    // An error is for the test to meet: it must not be ignored for that.
    *TRACKS.get_or_init(|| list().unwrap_or(true))
}

/// Runs lines of `ip` inside a namespace.
pub fn ip(namespace: &Namespace, lines: &[&str]) -> Result {
    feed(Program::new("ip").args(["-batch", "-"]).within(namespace), &lines.join("\n"))
}

/// Runs a program with this on its standard input.
fn feed(program: Program, input: &str) -> Result {
    let mut running = program.stdin(Stdio::piped()).start()?;
    running.write(input)?;
    running.output()?.success()?;
    Ok(())
}
