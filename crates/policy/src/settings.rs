//! All the settings of a process, read from its environment.

use crate::keepalive::{Defaults, Desired, Interval, UserTimeout, Values};
use crate::rules::{Action, Rules};
use crate::setting_error::SettingError;
use crate::variables::{Environment, Global, Variable};

/// What the hooks need to know about every socket.
///
/// Field order matters: without rules only the first page is touched.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Settings {
    /// For every connection that no rule is for.
    pub global: Values,
    /// What the kernel should show then. Right only if nothing leans on the kernel's own values.
    target: Desired,
    /// Our values win over the program's own.
    pub force: bool,
    /// Some value follows from one of the kernel's own, see [`Values::needs_kernel_defaults`].
    pub needs_kernel_defaults: bool,
    /// For single destinations.
    pub rules: Rules,
}

impl Settings {
    /// What the kernel should show for a connection that no rule is for, where its own values are `kernel`.
    pub fn desired(&self, kernel: &Defaults) -> Desired {
        if self.needs_kernel_defaults { self.global.resolve(kernel) } else { self.target }
    }

    /// Whether something holds for the global settings, or for those of a rule: all that a socket is ever set to.
    #[inline(never)]
    pub fn any_target(&self, kernel: &Defaults, holds: &mut dyn FnMut(&Desired) -> bool) -> bool {
        holds(&self.desired(kernel))
            || self.rules.as_slice().iter().any(|rule| match &rule.action {
                Action::Values(values) => holds(&values.resolve(kernel)),
                Action::Off => false,
            })
    }

    /// All zeroes in memory: a place to read settings into, and nothing that may be used before.
    pub const EMPTY: Settings = Settings {
        global: Values {
            idle: None,
            interval: Interval::System,
            count: None,
            user_timeout: UserTimeout::Off,
        },
        target: Desired::NOTHING,
        force: false,
        rules: Rules::NONE,
        needs_kernel_defaults: false,
    };

    /// Takes over what the variables say, and reads the rules, into `self`, which may hold anything. Each bad value is
    /// handed to `complain`.
    pub fn read(
        &mut self,
        environment: &Environment,
        global: &Global,
        complain: &mut dyn FnMut(&SettingError),
    ) {
        for (variable, problem) in global.errors() {
            let value = environment.get(variable).unwrap_or_default();
            let accepted = variable.accepted();
            complain(&SettingError { variable, rule: None, value, problem, accepted, global: global.values });
        }
        self.global = global.values;
        self.force = global.force;
        self.rules.clear();
        if let Some(text) = environment.get(Variable::Rules) {
            self.rules.read(text, &self.global, complain);
        }
        self.target = self.global.resolve(&Defaults::LINUX);
        self.needs_kernel_defaults = self.global.needs_kernel_defaults()
            || self.rules.as_slice().iter().any(|rule| match &rule.action {
                Action::Values(values) => values.needs_kernel_defaults(),
                Action::Off => false,
            });
    }
}
