//! The values for a socket, as asked for and as the kernel should show them.

use core::num::NonZeroU16;

use crate::value::MAX_USER_TIMEOUT;

/// The interval that is used where nobody asked for one, in seconds, unless the idle time is shorter.
pub const DEFAULT_INTERVAL: u32 = 15;

/// TCP_KEEPINTVL as asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interval {
    /// Left to the kernel.
    #[default]
    System,
    /// Nobody asked: 15 s, or the idle in force if that is less.
    Unset,
    /// Seconds.
    Seconds(NonZeroU16),
}

/// TCP_USER_TIMEOUT as asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserTimeout {
    /// Not touched.
    #[default]
    Off,
    /// idle + interval * count, capped at [`MAX_USER_TIMEOUT`].
    Auto,
    /// Seconds, up to [`MAX_USER_TIMEOUT`].
    Seconds(u32),
}

/// What was asked for. `None` leaves a field to the kernel (the word `system`).
///
/// The default is all zeroes in memory, so that a static one costs no file space: [`Values::DEFAULT`] is what a user
/// gets who sets nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Values {
    /// TCP_KEEPIDLE in seconds, 1 to 32767.
    pub idle: Option<NonZeroU16>,
    /// TCP_KEEPINTVL, 1 to 32767 s.
    pub interval: Interval,
    /// TCP_KEEPCNT, 1 to 127.
    pub count: Option<NonZeroU16>,
    /// TCP_USER_TIMEOUT.
    pub user_timeout: UserTimeout,
}

/// One of the three keepalive values that a socket carries beside the switch SO_KEEPALIVE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// TCP_KEEPIDLE, seconds.
    Idle,
    /// TCP_KEEPINTVL, seconds.
    Interval,
    /// TCP_KEEPCNT.
    Count,
}

impl Field {
    /// In the order in which they are set.
    pub const ALL: [Field; 3] = [Field::Idle, Field::Interval, Field::Count];
}

/// Something for each [`Field`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerField<T> {
    /// For TCP_KEEPIDLE.
    pub idle: T,
    /// For TCP_KEEPINTVL.
    pub interval: T,
    /// For TCP_KEEPCNT.
    pub count: T,
}

impl<T: Copy> PerField<T> {
    /// The one for `field`.
    pub fn of(&self, field: Field) -> T {
        match field {
            Field::Idle => self.idle,
            Field::Interval => self.interval,
            Field::Count => self.count,
        }
    }

    /// The place of the one for `field`.
    pub fn place(&mut self, field: Field) -> &mut T {
        match field {
            Field::Idle => &mut self.idle,
            Field::Interval => &mut self.interval,
            Field::Count => &mut self.count,
        }
    }
}

/// The network namespace's defaults, which a socket shows as long as nobody has set a value.
pub type Defaults = PerField<u32>;

impl Defaults {
    /// What Linux comes with (tcp(7): tcp_keepalive_time, tcp_keepalive_intvl, tcp_keepalive_probes).
    pub const LINUX: Defaults = PerField { idle: 7200, interval: 75, count: 9 };
}

/// What the kernel should show for a socket. `None`: left to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Idle and interval in seconds, count.
    pub fields: PerField<Option<u32>>,
    /// TCP_USER_TIMEOUT in milliseconds.
    pub user_timeout: Option<u32>,
}

impl Target {
    /// The field by which a socket of ours is told from one that nobody has touched: the first that we set to
    /// something else than the namespace's default.
    pub fn marker(&self, defaults: &Defaults) -> Option<Field> {
        Field::ALL.into_iter().find(|&f| self.fields.of(f).is_some_and(|ours| ours != defaults.of(f)))
    }
}

impl Values {
    /// 60/15/9: below every documented idle timeout of the clouds, and sits out an outage of two minutes.
    pub const DEFAULT: Values = Values {
        idle: NonZeroU16::new(60),
        interval: Interval::Unset,
        count: NonZeroU16::new(9),
        user_timeout: UserTimeout::Off,
    };

    /// Which of the kernel's own values must be known before [`Values::resolve`] can tell everything.
    pub fn leans_on(&self) -> PerField<bool> {
        let auto = self.user_timeout == UserTimeout::Auto;
        PerField {
            idle: self.idle.is_none() && (auto || self.interval == Interval::Unset),
            interval: auto && self.interval == Interval::System,
            count: auto && self.count.is_none(),
        }
    }

    /// What the kernel should show, where its own values are `kernel`.
    pub fn resolve(&self, kernel: &Defaults) -> Target {
        let idle = self.idle.map(|n| u32::from(n.get()));
        let interval = match self.interval {
            Interval::System => None,
            Interval::Unset => Some(DEFAULT_INTERVAL.min(idle.unwrap_or(kernel.idle))),
            Interval::Seconds(n) => Some(u32::from(n.get())),
        };
        let count = self.count.map(|n| u32::from(n.get()));
        let fields = PerField { idle, interval, count };
        let user_timeout = match self.user_timeout {
            UserTimeout::Off => None,
            UserTimeout::Seconds(s) => Some(s),
            UserTimeout::Auto => {
                let in_force = |f: Field| fields.of(f).unwrap_or(kernel.of(f));
                let probing = in_force(Field::Interval).saturating_mul(in_force(Field::Count));
                Some(in_force(Field::Idle).saturating_add(probing))
            }
        };
        Target { fields, user_timeout: user_timeout.map(|s| s.min(MAX_USER_TIMEOUT) * 1000) }
    }
}
