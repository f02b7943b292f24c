//! What the subcommands share of the command line: reading arguments and variables, errors and exit statuses.

pub mod environment;
pub mod error;
pub mod exit;
pub mod host_port;
pub mod log;
pub mod middlebox;
pub mod peers;
pub mod selector;
pub mod settings;
pub mod values;
