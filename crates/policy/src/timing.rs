//! When the kernel probes and when it gives up: tcp_keepalive_timer in Linux's net/ipv4/tcp_timer.c.

use crate::keepalive::{Defaults, Field, Values};
use crate::middleboxes::{self, Verdict};

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
            Some(timeout) => timeout.saturating_sub(self.idle).div_ceil(self.interval.max(1)).max(1),
        }
    }

    /// Seconds from what was heard last to the end, if a peer has gone without a word.
    pub fn dead_after(&self) -> u32 {
        self.idle.saturating_add(self.probes().saturating_mul(self.interval))
    }

    /// Whether it survives that the path is out for so many seconds: a probe has to be sent after the outage and before
    /// the end.
    pub fn survives(&self, outage: u32) -> Survives {
        let last = self.probes().saturating_sub(1).saturating_mul(self.interval);
        if last >= outage {
            Survives::Always
        } else if self.period().saturating_add(last) > outage {
            Survives::Sometimes
        } else {
            Survives::Never
        }
    }

    /// Whether a silent connection outlives a box that forgets it after `timeout` seconds.
    pub fn outlives(&self, timeout: u32) -> Verdict {
        middleboxes::verdict(self.idle, self.interval, timeout)
    }
}
