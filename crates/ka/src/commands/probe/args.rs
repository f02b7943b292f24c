//! What `ka probe` is told.

use clap::Args;

/// The command line of `ka probe`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER)]
pub struct ProbeArgs {
    /// Where to connect to; without a port, to 443
    #[arg(value_name = "HOST[:PORT]")]
    pub target: String,
    /// The longest silence to try: 2 to 32767 seconds (300, 90s, 5m, 9h)
    #[arg(long, value_name = "DURATION", default_value = "20m")]
    pub max: String,
    /// How many connections to have open at once: 2 to 64
    #[arg(long, value_name = "N", default_value = "8")]
    pub connections: String,
    /// For programs: everything, as one JSON document when it is over
    #[arg(long)]
    pub json: bool,
}

const AFTER: &str = "\
Opens several connections, leaves each idle for a different time, and then tests each with keepalive probes. If one is \
gone, further rounds narrow the limit down between the longest silence that was outlived and the shortest that was not, \
and confirm it on other connections, since a single connection may merely have lost its packets. Nothing is sent but \
handshakes and probes; no root is needed. One more connection is tried, to port 1, where nothing listens: a proxy that \
accepts every connection accepts that one too. Ctrl-C ends the measurement and prints what is known so far.

Choose a service that tolerates idle clients: many servers close an idle connection after seconds, and then only the \
server's limit can be measured. On a machine of your own behind the path, `nc -lk 5000` or `socat TCP-LISTEN:5000,fork PIPE` is one.

What it cannot know: whether a proxy on the way answers in place of the server (the proxy's own limits look at data); \
whether a packet from the server would still come through, since only this side sends; and what a path does that \
treats another port differently.

Exit status: 0 if the path was measured (a limit, or none up to --max); 3 if something else ended the connections, the \
limit cannot be told, or the host cannot be reached; 2 for a bad command line; 125 if ka itself fails.";
