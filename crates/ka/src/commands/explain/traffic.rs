//! What keepalive costs the network.

use kashim_policy::timing::Timing;

/// IP header, TCP header and the timestamps that Linux adds by default: a probe, and an answer to one.
pub const PROBE_IPV4: u32 = 20 + 20 + 12;
/// The same over IPv6.
pub const PROBE_IPV6: u32 = 40 + 20 + 12;

/// Probes an hour on a connection that carries nothing else, and bytes an hour for so large a probe and answer.
pub fn per_hour(timing: &Timing, probe: u32) -> (f64, u64) {
    let probes = 3600.0 / f64::from(timing.period());
    (probes, (probes * 2.0 * f64::from(probe)).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic() {
        let timing = |idle, interval| Timing { idle, interval, count: 9, user_timeout: None };
        assert_eq!(per_hour(&timing(60, 15), PROBE_IPV4), (60.0, 6240));
        assert_eq!(per_hour(&timing(2, 75), PROBE_IPV6).0, 48.0);
    }
}
