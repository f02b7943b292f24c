//! /proc/net/tcp (proc_net(5)), in which everybody can read what the kernel says.

use std::fs;

/// An established connection to a port.
#[derive(Debug)]
pub struct Entry {
    /// The port of the end that connected.
    pub local: u16,
    /// The port that it connected to.
    pub remote: u16,
    /// Its timer.
    pub timer: Timer,
}

/// A timer.
#[derive(Debug)]
pub struct Timer {
    /// Which; 0 is none.
    pub kind: u32,
    /// When it fires, in hundredths of a second from now.
    pub hundredths: u32,
    /// As it stands there.
    pub text: String,
}

impl Timer {
    /// The kind of the keepalive timer.
    pub const KEEPALIVE: u32 = 2;
}

/// The state of an established connection.
const ESTABLISHED: &str = "01";

impl Entry {
    /// The end that connected to this port, once it is established.
    pub fn to_port(port: u16) -> Option<Self> {
        fs::read_to_string("/proc/net/tcp")
            .ok()?
            .lines()
            .skip(1)
            .filter_map(Self::read)
            .find(|e| e.remote == port)
    }

    fn read(line: &str) -> Option<Self> {
        let mut columns = line.split_whitespace().skip(1);
        let mut port = || u16::from_str_radix(columns.next()?.split_once(':')?.1, 16).ok();
        let (local, remote) = (port()?, port()?);
        if columns.next()? != ESTABLISHED {
            return None;
        }
        let text = columns.nth(1)?;
        let (kind, when) = text.split_once(':')?;
        let number = |text| u32::from_str_radix(text, 16).ok();
        Some(Self {
            local,
            remote,
            timer: Timer { kind: number(kind)?, hundredths: number(when)?, text: text.to_owned() },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line() {
        let line =
            "   1: 0100007F:ECA8 0100007F:9C41 01 00000000:00000000 02:00001770 00000000     0        0 1 2";
        let entry = Entry::read(line).expect("an entry");
        assert_eq!((entry.local, entry.remote, entry.timer.kind), (0xeca8, 0x9c41, Timer::KEEPALIVE));
        assert_eq!(entry.timer.hundredths, 6000);
        assert!(Entry::read(&line.replace(" 01 ", " 0A ")).is_none());
    }
}
