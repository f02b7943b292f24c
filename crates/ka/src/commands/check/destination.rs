//! What is in force for a destination.

use std::net::SocketAddr;

use kashim_policy::describe;
use kashim_policy::rules::{Action, Service};
use kashim_policy::settings::Settings;

use crate::output::escape::escaped;
use crate::output::line::line;

/// What the library does to a connection that is made to this address, and which rule says so. `written` are the rules
/// as they were written, with their numbers, without the bad ones.
pub fn in_force(settings: &Settings, written: &[(u32, Vec<u8>)], address: SocketAddr) -> String {
    let service = Service { peer: address.ip(), port: address.port() };
    let Some(found) = settings.rules.find(&service) else {
        let values = line(|line| describe::values(line, &settings.global));
        let why = if settings.rules.is_empty() { "there are no rules" } else { "no rule matches" };
        return format!("{address}: {values} ({why})");
    };
    let values = match &found.action {
        Action::Off => "keepalive off".to_owned(),
        Action::Values(values) => line(|line| describe::values(line, values)),
    };
    let place = settings.rules.as_slice().iter().position(|rule| std::ptr::eq(rule, found));
    let Some((number, text)) = place.and_then(|place| written.get(place)) else {
        return format!("{address}: {values}");
    };
    format!("{address}: {values} (rule {number}, \"{}\")", escaped(text))
}
