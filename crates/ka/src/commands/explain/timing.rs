//! What the kernel makes of the values: tcp_keepalive_timer in Linux's net/ipv4/tcp_timer.c.

use kashim_policy::keepalive::{Defaults, Field, Values};

/// IP header, TCP header and the timestamps that Linux adds by default: a probe, and an answer to one.
pub const PROBE_IPV4: u32 = 20 + 20 + 12;
/// The same over IPv6.
pub const PROBE_IPV6: u32 = 40 + 20 + 12;

/// The values in force, all of them known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Seconds of silence before the first probe.
    pub idle: u32,
    /// Seconds between probes that are not answered.
    pub interval: u32,
    /// Unanswered probes until the end; not looked at if there is a user timeout.
    pub count: u32,
    /// Seconds.
    pub user_timeout: Option<u32>,
}

/// Whether a connection that carries no data survives an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survives {
    /// Whenever it begins.
    Always,
    /// If it does not begin just before a probe.
    Sometimes,
    /// Never, if it begins while nothing is sent.
    Never,
}

impl Timing {
    /// Where what is left to the kernel is `kernel`.
    pub fn new(values: &Values, kernel: &Defaults) -> Self {
        let target = values.resolve(kernel);
        let of = |field| target.of(field).map_or(kernel.of(field), |value| value.get());
        Self {
            idle: of(Field::Idle),
            interval: of(Field::Interval),
            count: of(Field::Count),
            user_timeout: target.of(Field::UserTimeout).map(|ms| ms.get() / 1000),
        }
    }

    /// Seconds from probe to probe while they are answered. After each, the timer is set to the interval, answered or
    /// not, and only when that has passed to what is left of the idle time.
    pub fn period(&self) -> u32 {
        self.idle.max(self.interval)
    }

    /// How many probes go unanswered before the end.
    pub fn probes(&self) -> u32 {
        match self.user_timeout {
            None => self.count,
            // The timer looks each time it fires, once a probe is out.
            Some(timeout) => timeout.saturating_sub(self.idle).div_ceil(self.interval).max(1),
        }
    }

    /// Seconds from what was heard last to the end, if a peer has gone without a word.
    pub fn dead_after(&self) -> u32 {
        self.idle.saturating_add(self.probes().saturating_mul(self.interval))
    }

    /// Whether it survives that the path is out for so many seconds: a probe has to be sent after the outage and before
    /// the end.
    pub fn survives(&self, outage: u32) -> Survives {
        let last = (self.probes() - 1).saturating_mul(self.interval);
        if last >= outage {
            Survives::Always
        } else if self.period().saturating_add(last) > outage {
            Survives::Sometimes
        } else {
            Survives::Never
        }
    }

    /// Probes an hour on a connection that carries nothing else, and bytes an hour for so large a probe and answer.
    pub fn per_hour(&self, probe: u32) -> (f64, u64) {
        let probes = 3600.0 / f64::from(self.period());
        (probes, (probes * 2.0 * f64::from(probe)).round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(idle: u32, interval: u32, count: u32, user_timeout: Option<u32>) -> Timing {
        Timing { idle, interval, count, user_timeout }
    }

    #[test]
    fn the_end_without_a_user_timeout() {
        assert_eq!(timing(60, 15, 9, None).dead_after(), 195);
        assert_eq!(timing(300, 30, 5, None).dead_after(), 450);
    }

    /// As measured: 2/1/3 ends after 5 s, and with a user timeout of 10 s after 10 s.
    #[test]
    fn the_end_as_measured() {
        assert_eq!(timing(2, 1, 3, None).dead_after(), 5);
        assert_eq!(timing(2, 1, 3, Some(10)).dead_after(), 10);
        // It is looked at when a probe is out, and not before.
        assert_eq!(timing(60, 15, 9, Some(5)).dead_after(), 75);
        assert_eq!(timing(60, 15, 9, Some(61)).dead_after(), 75);
        assert_eq!(timing(60, 15, 9, Some(76)).dead_after(), 90);
    }

    #[test]
    fn outages() {
        let two_minutes = |t: Timing| t.survives(120);
        assert_eq!(two_minutes(timing(60, 15, 9, None)), Survives::Always);
        assert_eq!(two_minutes(timing(60, 15, 8, None)), Survives::Sometimes);
        assert_eq!(two_minutes(timing(20, 5, 9, None)), Survives::Never);
        assert_eq!(two_minutes(timing(300, 1, 1, None)), Survives::Sometimes);
        assert_eq!(two_minutes(timing(60, 15, 9, Some(60))), Survives::Never);
        assert_eq!(two_minutes(timing(60, 15, 1, Some(600))), Survives::Always);
    }

    #[test]
    fn traffic() {
        assert_eq!(timing(60, 15, 9, None).per_hour(PROBE_IPV4), (60.0, 6240));
        assert_eq!(timing(2, 75, 9, None).per_hour(PROBE_IPV6).0, 48.0);
    }
}
