//! Reading and writing addresses, side by side with the standard library.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use kashim_policy::ip;
use kashim_policy::line::Line;
use proptest::prelude::*;

fn same_v4(text: &[u8]) {
    let std = std::str::from_utf8(text).ok().and_then(|t| t.parse::<Ipv4Addr>().ok());
    assert_eq!(ip::v4(text).map(Ipv4Addr::from), std, "{:?}", String::from_utf8_lossy(text));
}

fn same_v6(text: &[u8]) {
    let std = std::str::from_utf8(text).ok().and_then(|t| t.parse::<Ipv6Addr>().ok());
    assert_eq!(ip::v6(text).map(Ipv6Addr::from), std, "{:?}", String::from_utf8_lossy(text));
}

fn written(ip: IpAddr, port: u16) -> String {
    let mut line = Line::EMPTY;
    line.address(ip, port);
    String::from_utf8(line.as_bytes().to_owned()).unwrap()
}

fn same_text(ip: IpAddr, port: u16) {
    // The standard library writes IPv4-mapped addresses as IPv6, we as the IPv4 addresses that they are.
    assert_eq!(written(ip, port), SocketAddr::new(ip.to_canonical(), port).to_string());
}

#[test]
fn addresses_that_somebody_got_wrong_once() {
    for text in [
        "",
        ".",
        "0.0.0.0",
        "255.255.255.255",
        "256.0.0.1",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.",
        ".1.2.3",
        "1..2.3",
        "01.2.3.4",
        "1.2.3.00",
        "0000.0.0.0",
        "1.2.3.4 ",
        " 1.2.3.4",
        "1.2.3.-4",
        "1.2.3.+4",
        "0x1.2.3.4",
        "1,2,3,4",
        "127.1",
        "2130706433",
        "1.2.3.4294967297",
        "१.2.3.4",
        "1.2.3.999",
    ] {
        same_v4(text.as_bytes());
        same_v6(text.as_bytes());
        same_v6(format!("::{text}").as_bytes());
        same_v6(format!("::ffff:{text}").as_bytes());
        same_v6(format!("1:2:3:4:5:6:{text}").as_bytes());
        same_v6(format!("{text}::1").as_bytes());
    }
    for text in [
        "::",
        ":",
        ":::",
        "::::",
        "1",
        "1:",
        ":1",
        "::1",
        "1::",
        "1::1",
        "1::1::1",
        "::1::",
        "1:2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "1:2:3:4:5:6:7::",
        "::2:3:4:5:6:7:8",
        "1::3:4:5:6:7:8",
        "1:2:3:4::5:6:7:8",
        "1:2:3:4:5:6:7:8::",
        "::1:2:3:4:5:6:7:8",
        "12345::",
        "::12345",
        "00001::",
        "fFfF::AbCd",
        "g::",
        "::g",
        "1:2:3:4:5:6:1.2.3.4",
        "1:2:3:4:5:6:7:1.2.3.4",
        "1:2:3:4:5:1.2.3.4",
        "::1.2.3.4:1",
        "1.2.3.4::",
        "::1:1.2.3.4",
        "1::2:3:4:5:6:1.2.3.4",
        "::2:3:4:5:6:7:1.2.3.4",
        "::ffff:1.2.3.4",
        "fe80::1%eth0",
        "[::1]",
        "::1 ",
        "1 ::",
        "::-1",
        "::+1",
        "::0x1",
        "1:::2",
        "::.1.2.3",
        "2001:db8::",
        "::ffff:01.2.3.4",
    ] {
        same_v6(text.as_bytes());
        same_v4(text.as_bytes());
    }
}

/// Every pattern of zero and other groups, for the place of the `::`.
#[test]
fn every_pattern_of_zeroes() {
    for pattern in 0..256u32 {
        for other in [1, 0xab, 0xffff] {
            let groups = std::array::from_fn(|i| if pattern >> i & 1 == 1 { other } else { 0u16 });
            let address = Ipv6Addr::from(groups);
            same_text(address.into(), 0);
            same_v6(address.to_string().as_bytes());
        }
    }
}

#[test]
fn mapped_addresses_are_written_as_ipv4() {
    assert_eq!(written("::ffff:10.0.0.1".parse().unwrap(), 3306), "10.0.0.1:3306");
    assert_eq!(written("::ffff:0:0:1".parse().unwrap(), 1), "[::ffff:0:0:1]:1");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn v4_like_text(text in "[0-9.]{0,16}|([0-9]{1,4}\\.){3}[0-9]{1,4}|\\PC{0,8}") {
        same_v4(text.as_bytes());
        same_v6(text.as_bytes());
    }

    #[test]
    fn v6_like_text(text in "[0-9a-fA-F:.]{0,40}|([0-9a-f]{0,5}:){1,9}([0-9a-f]{0,5}|[0-9]{1,3}(\\.[0-9]{1,3}){3})") {
        same_v6(text.as_bytes());
        same_v4(text.as_bytes());
    }

    /// Nearly right: a right one with one byte changed, left out or put in.
    #[test]
    fn nearly_v6(bits: u128, mask: u128, at: prop::sample::Index, what in 0..3, byte in "[:.0fg\\[% ]") {
        let mut text = Ipv6Addr::from_bits(bits & mask).to_string().into_bytes();
        let byte = byte.as_bytes()[0];
        let i = at.index(text.len());
        match what {
            0 => text[i] = byte,
            1 => _ = text.remove(i),
            _ => text.insert(i, byte),
        }
        same_v6(&text);
    }

    #[test]
    fn any_bytes(bytes: Vec<u8>) {
        same_v4(&bytes);
        same_v6(&bytes);
    }

    #[test]
    fn any_address(v4: u32, v6: u128, zeroes: u128, port: u16) {
        let addresses = [Ipv4Addr::from(v4).into(), Ipv6Addr::from(v6).into(), Ipv6Addr::from(v6 & zeroes).into(), Ipv4Addr::from(v4).to_ipv6_mapped().into()];
        for address in addresses {
            same_text(address, port);
            let text = address.to_string();
            same_v4(text.as_bytes());
            same_v6(text.as_bytes());
        }
    }
}
