//! The values for a socket, as asked for and as the kernel should show them.

use core::num::{NonZeroU16, NonZeroU32};

use crate::parse::MAX_USER_TIMEOUT;

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

/// One of the numbers that a socket carries beside the switch SO_KEEPALIVE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// TCP_KEEPIDLE, seconds.
    Idle,
    /// TCP_KEEPINTVL, seconds.
    Interval,
    /// TCP_KEEPCNT.
    Count,
    /// TCP_USER_TIMEOUT, milliseconds; 0 while nobody has set it.
    UserTimeout,
}

impl Field {
    /// In the order in which they are set.
    pub const ALL: [Field; 4] = [Field::Idle, Field::Interval, Field::Count, Field::UserTimeout];
    /// Those whose defaults are the network namespace's.
    pub const KEEPALIVE: [Field; 3] = [Field::Idle, Field::Interval, Field::Count];
}

/// Something for each [`Field`], in the order of [`Field::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerField<T>(pub [T; 4]);

impl<T: Copy> PerField<T> {
    /// The one for `field`.
    pub fn of(&self, field: Field) -> T {
        self.0[field as usize]
    }

    /// Changes the one for `field`.
    pub fn put(&mut self, field: Field, value: T) {
        self.0[field as usize] = value;
    }
}

/// What a socket shows as long as nobody has set a value: the network namespace's own values.
pub type Defaults = PerField<u32>;

impl Defaults {
    /// What Linux comes with (tcp(7): tcp_keepalive_time, tcp_keepalive_intvl, tcp_keepalive_probes).
    pub const LINUX: Defaults = PerField([7200, 75, 9, 0]);
}

/// What the kernel should show for a socket. `None`: left to the kernel.
pub type Desired = PerField<Option<NonZeroU32>>;

impl Desired {
    /// Everything is left to the kernel.
    pub const NOTHING: Desired = PerField([None; 4]);

    /// Whether the field should show this value.
    pub fn is(&self, field: Field, value: u32) -> bool {
        self.of(field).is_some_and(|wanted| wanted.get() == value)
    }

    /// The field by which a socket of ours is told from one that nobody has touched: the first of idle, interval and
    /// count that we set to something else than the default.
    pub fn marker(&self, defaults: &Defaults) -> Option<Field> {
        let differs = |&f: &Field| self.of(f).is_some_and(|ours| ours.get() != defaults.of(f));
        Field::KEEPALIVE.iter().copied().find(differs)
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

    /// Whether some value follows from one of the kernel's own.
    pub fn needs_kernel_defaults(&self) -> bool {
        let system = self.idle.is_none() || self.interval == Interval::System || self.count.is_none();
        (self.user_timeout == UserTimeout::Auto && system)
            || (self.interval == Interval::Unset && self.idle.is_none())
    }

    /// What the kernel should show, where its own values are `kernel`.
    #[inline(never)]
    pub fn resolve(&self, kernel: &Defaults) -> Desired {
        // Where it is left to the kernel: what the kernel has, and what we set.
        let in_force = |value: Option<NonZeroU16>, field| match value {
            Some(n) => n.get().into(),
            None => kernel.of(field),
        };
        let idle = in_force(self.idle, Field::Idle);
        let interval = match self.interval {
            Interval::System => None,
            Interval::Unset => NonZeroU16::new(DEFAULT_INTERVAL.min(idle) as u16),
            Interval::Seconds(n) => Some(n),
        };
        let user_timeout = match self.user_timeout {
            UserTimeout::Off => 0,
            UserTimeout::Seconds(s) => s,
            UserTimeout::Auto => {
                let probing =
                    in_force(interval, Field::Interval).saturating_mul(in_force(self.count, Field::Count));
                idle.saturating_add(probing)
            }
        };
        PerField([
            self.idle.map(NonZeroU32::from),
            interval.map(NonZeroU32::from),
            self.count.map(NonZeroU32::from),
            NonZeroU32::new(user_timeout.min(MAX_USER_TIMEOUT) * 1000),
        ])
    }
}
