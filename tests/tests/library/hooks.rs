//! The hooks, one call at a time: what the kernel has for a socket, and what the program gets to see, with the library
//! and without it.

use std::path::Path;
use std::process::Stdio;

use kashim_tests::{
    Need, Preload, Result, Steps, Trial, both, both_with, compile, each, fixture, library, trial,
};

pub fn trials() -> Vec<Trial> {
    const CC: Need = Need::Program("cc");
    let mptcp = Need::Kernel("MPTCP", || made("inet stream mptcp"));
    let mut trials = vec![
        trial("tcp_sockets_are_set_up", &[CC], || tcp_sockets_are_set_up(&["0", "tcp"])),
        trial("mptcp_sockets_are_set_up", &[CC, mptcp], || tcp_sockets_are_set_up(&["mptcp"])),
        trial("connections_of_every_kind", &[CC], || each(CONNECTIONS, |script| both(script))),
        trial("connections_by_mptcp", &[CC, mptcp], || each(MPTCP_CONNECTIONS, |script| both(script))),
        trial!(sockets_that_came_another_way, &[CC]),
        trial("connections_that_take_time", &[CC], || each(SLOW_CONNECTIONS, |script| both(script))),
        trial("accepted_sockets", &[CC], || each(ACCEPTED, |script| both(script))),
        trial("the_programs_own_settings_win", &[CC], || each(OWN_SETTINGS, |script| both(script))),
        trial("force_wins", &[CC], || each(FORCED, |script| both_with(Preload::FORCED, &[], script))),
        trial("force_wins_with_mptcp", &[CC, mptcp], || {
            each(FORCED_MPTCP, |script| both_with(Preload::FORCED, &[], script))
        }),
        trial("errors_are_the_kernels", &[CC], || each(ERRORS, |script| both(script))),
        trial("errors_are_the_kernels_when_forced", &[CC], || {
            each(ERRORS, |script| both_with(Preload::FORCED, &[], script))
        }),
        trial("a_filter_that_refuses_options", &[CC], || each(REFUSED, |script| both(script))),
        trial("namespaces_with_other_defaults", &[CC, Need::Root], || {
            each(NAMESPACES, |&(settings, script)| both_with(Preload::With(settings), &[], script))
        }),
        trial!(the_chain_is_kept, &[CC]),
        trial!(as_another_process_sees_it, &[CC]),
    ];
    trials.extend(OTHER_SOCKETS.iter().map(|&(name, need, script)| {
        let mut needs = vec![CC];
        needs.extend(need);
        trial(format!("untouched_{name}"), &needs, move || each(&[script], |script| both(script)))
    }));
    trials
}

/// Whether the kernel makes such a socket.
fn made(socket: &str) -> bool {
    Steps::new(Preload::No, &format!("s=socket {socket}")).and_then(|steps| steps.run()).is_ok()
}

fn tcp_sockets_are_set_up(protocols: &[&str]) -> Result {
    let mut script = String::new();
    for domain in ["inet", "inet6"] {
        for flags in ["", "+cloexec", "+nonblock", "+cloexec+nonblock"] {
            for protocol in protocols {
                script +=
                    &format!("s=socket {domain} stream{flags} {protocol}; show s -> off | ours; close s;");
            }
        }
    }
    both(&script)
}

/// Sockets that are no TCP, in every state that a hook sees.
const OTHER_SOCKETS: &[(&str, Option<Need>, &str)] = &[
    (
        "udp",
        None,
        "s=socket inet dgram 0; show s -> off, not TCP; connect s 127.0.0.1:9; show s -> off, not TCP
        t=socket inet6 dgram+cloexec+nonblock udp; connect t [::1]:9; show t -> off, not TCP
        connect t unspec; show t -> off, not TCP; r=rawsocket inet dgram 0; connect r 127.0.0.1:9; show r -> off, not TCP",
    ),
    (
        "udplite",
        Some(Need::Kernel("UDP-Lite", || made("inet dgram udplite"))),
        "s=socket inet dgram udplite; show s -> off, not TCP; connect s 127.0.0.1:9; show s -> off, not TCP",
    ),
    (
        "raw",
        Some(Need::Root),
        "s=socket inet raw tcp; show s -> off, not TCP; connect s 127.0.0.1:9; show s -> off, not TCP
        t=socket inet6 raw icmp6; connect t [::1]:9; show t -> off, not TCP",
    ),
    (
        "icmp",
        Some(Need::Root),
        "namespace 7200 75 9; s=socket inet dgram icmp; show s -> off, not TCP; connect s 127.0.0.1:9; show s -> off, not TCP",
    ),
    (
        "unix",
        None,
        "l=listener unix; s=socket unix stream 0; show s -> off, not TCP; connect s @l; show s -> off, not TCP
        a=accept l full; show a -> off, not TCP; n=socket unix stream+nonblock 0; connect n @l; b=accept4 l cloexec
        show b -> off, not TCP; d=socket unix dgram 0; bind d unix; e=socket unix dgram+cloexec 0; connect e @d
        show e -> off, not TCP; q=socket unix seqpacket 0; bind q unix; listen q; p=socket unix seqpacket 0
        connect p @q; c=accept q; show c -> off, not TCP",
    ),
    (
        "sctp",
        Some(Need::Kernel("SCTP", || made("inet stream sctp"))),
        "l=listener 127.0.0.1:0 sctp; s=socket inet stream sctp; show s -> off, not TCP; connect s @l
        show s -> off, not TCP; a=accept l; show a -> off, not TCP",
    ),
    ("netlink", None, "s=socket netlink raw 0; show s -> off, not TCP"),
    (
        "vsock",
        Some(Need::Kernel("vsock", || made("vsock stream 0"))),
        "s=socket vsock stream 0; show s -> off, not TCP; t=socket vsock stream+nonblock 0; show t -> off, not TCP",
    ),
    ("packet", Some(Need::Root), "s=socket packet raw 0; show s -> off, not TCP"),
    // What a test of the type by its bits would take for SOCK_STREAM.
    ("descriptors_that_are_no_sockets", None, "r,w=pipe; connect w 127.0.0.1:9 -> -1 ENOTSOCK"),
];

const CONNECTIONS: &[&str] = &[
    "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; show c -> off | ours",
    "l=listener [::1]:0; c=socket inet6 stream+cloexec tcp; connect c @l; show c -> off | ours",
    // The address of the time before RFC 2553, without the scope at its end.
    "l=listener [::1]:0; c=rawsocket inet6 stream 0; connect c @l 24; show c -> off | ours",
    "l=listener 127.0.0.1:0; c=socket inet6 stream 0; connect c [::ffff:127.0.0.1]:@l; show c -> off | ours",
    "l=listener 127.0.0.1:0; c=socket inet stream+nonblock 0; connect c @l -> -1 EINPROGRESS
     wait c -> connected; connect c @l -> 0; show c -> off | ours; connect c @l -> -1 EISCONN; show c -> off | ours",
    // The data that goes with the SYN connects without `connect`.
    "l=listener 127.0.0.1:0; c=socket inet stream 0; fastopen c @l -> 1; wait c -> connected; show c -> off | ours",
    "l=listener [::1]:0; c=socket inet6 stream+nonblock 0; fastopen c @l -> -1 EINPROGRESS; show c -> off | ours",
    // What was set up stays so over everything that shares the socket.
    "l=listener 127.0.0.1:0; c=socket inet stream 0; d=dup c; connect d @l; close c; show d -> off | ours",
    "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; fork; show c -> off | ours",
    "l=listener 127.0.0.1:0; thread; c=socket inet stream 0; connect c @l; show c -> off | ours",
    // A socket can be connected a second time.
    "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; connect c unspec; connect c @l; show c -> off | ours",
    // A number that is used again is not taken for the socket that had it.
    "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; close c; c=socket unix stream 0; show c -> off, not TCP
     close c; c=rawsocket inet stream 0; show c -> off; connect c @l; show c -> off | ours",
    "l=listener 127.0.0.1:0; c=socket inet stream tcp; bind c 127.0.0.1:0; connect c @l; show c -> off | ours",
];

const MPTCP_CONNECTIONS: &[&str] = &[
    "l=listener 127.0.0.1:0 mptcp; c=socket inet stream mptcp; connect c @l; show c -> off | ours
     a=accept l; show a -> off | ours",
    "l=listener [::1]:0 mptcp; c=socket inet6 stream+nonblock mptcp; connect c @l -> -1 EINPROGRESS
     wait c -> connected; show c -> off | ours; a=accept4 l nonblock full; show a -> off | ours",
    // To a peer that knows only TCP.
    "l=listener 127.0.0.1:0; c=socket inet stream mptcp; connect c @l; show c -> off | ours",
    "l=listener 127.0.0.1:0 mptcp; c=rawsocket inet stream mptcp; connect c @l; show c -> off | ours",
];

/// A TCP socket that no `socket` hook has seen is set up when it is connected.
fn sockets_that_came_another_way() -> Result {
    let makers = [
        "c=rawsocket inet stream 0",
        "c=rawsocket inet6 stream+nonblock tcp",
        "c=passed inet stream 0",
        "c=passed inet6 stream 0",
        "c=socket inet stream 0; exec",
        "c=socket inet6 stream+nonblock tcp; exec",
        "c=rawsocket inet stream 0; d=dup c; close c; c=dup d; fork",
    ];
    each(&makers, |make| {
        let (listener, to) =
            if make.contains("inet6") { ("[::1]:0", "@l") } else { ("0.0.0.0:0", "127.0.0.1:@l") };
        let result = if make.contains("nonblock") { "-1 EINPROGRESS" } else { "0" };
        both(&format!(
            "l=listener {listener}; {make}; show c -> off; connect c {to} -> {result}; wait c -> connected; show c -> off | ours"
        ))
    })?;
    each(
        &[
            // An attempt that failed at once arms no timer, so there is nothing to do yet.
            "c=rawsocket inet stream 0; connect c 127.0.0.1:1 -> -1 ECONNREFUSED; show c -> off",
            // Fast open passes no hook.
            "l=listener 127.0.0.1:0; c=rawsocket inet stream 0; fastopen c @l -> 1; show c -> off",
            // Only what nobody has set is set.
            "l=listener 127.0.0.1:0; c=rawsocket inet stream 0; rawset c interval 33; connect c @l
             show c -> off 7200/33/9 | on 77/33/5",
            "l=listener 127.0.0.1:0; c=rawsocket inet stream 0; rawset c idle 33; connect c @l; show c -> off 33/75/9",
            "l=listener 127.0.0.1:0; c=rawsocket inet stream 0; rawset c timeout 9000; connect c @l
             show c -> off 7200/75/9, user timeout 9000 | on 77/11/5, user timeout 9000",
            // Set up by a process that has the library, and passed on to one that has it, too.
            "l=listener 127.0.0.1:0; c=socket inet stream 0; set c interval 44; fork; connect c @l
             show c -> off 7200/44/9 | on 77/44/5",
        ],
        |script| both(script),
    )
}

const SLOW_CONNECTIONS: &[&str] = &[
    // A listener whose queue is full does not answer.
    "l=rawsocket inet stream 0; bind l 127.0.0.1:0; listen l 0; a=rawsocket inet stream 0; rawconnect a @l
     b=rawsocket inet stream+nonblock 0; rawconnect b @l -> -1 EINPROGRESS
     c=rawsocket inet stream 0; alarm 50; connect c @l -> -1 EINTR; show c -> off | ours
     d=rawsocket inet stream+nonblock 0; connect d @l -> -1 EINPROGRESS; show d -> off | ours
     connect d @l -> -1 EALREADY; rawset d idle 7200; connect d @l -> -1 EALREADY
     show d -> off | on 7200/11/5
     e=socket inet stream+nonblock 0; connect e @l -> -1 EINPROGRESS; show e -> off | ours
     f=socket inet6 stream 0; alarm 50; connect f [::ffff:127.0.0.1]:@l -> -1 EINTR; show f -> off | ours
     x=accept l; y=accept l; wait c -> connected; show c -> off | ours",
];

const ACCEPTED: &[&str] = &[
    // From a listener that the library set up, from which the socket inherits.
    "l=socket inet stream 0; bind l 127.0.0.1:0; listen l; show l -> off | ours; c=rawsocket inet stream 0
     rawconnect c @l; a=accept l; show a -> off | ours; show c -> off",
    // From one that it has never seen: every way to ask for the peer's address, or not.
    "l=listener 127.0.0.1:0; c=rawsocket inet stream 0; rawconnect c @l; a=accept l; show a -> off | ours",
    "l=listener 127.0.0.1:0; c=rawsocket inet stream 0; rawconnect c @l; a=accept l full; show a -> off | ours",
    "l=listener 127.0.0.1:0; c=rawsocket inet stream 0; rawconnect c @l; a=accept l room=0; show a -> off | ours",
    "l=listener 127.0.0.1:0; c=rawsocket inet stream 0; rawconnect c @l; a=accept l room=1; show a -> off | ours",
    "l=listener 127.0.0.1:0; c=rawsocket inet stream 0; rawconnect c @l; a=accept4 l 0 room=7; show a -> off | ours",
    "l=listener [::1]:0; c=rawsocket inet6 stream 0; rawconnect c @l; a=accept l room=16; show a -> off | ours",
    "l=listener [::1]:0; c=rawsocket inet6 stream 0; rawconnect c @l; a=accept4 l cloexec+nonblock full; show a -> off | ours",
    "l=listener [::]:0; c=rawsocket inet stream 0; rawconnect c 127.0.0.1:@l; a=accept4 l nonblock; show a -> off | ours",
    "l=listener 127.0.0.1:0; c=rawsocket inet stream 0; rawconnect c @l; a=accept l onlylength; show a -> off | ours",
    // An address that cannot be written to: the connection is gone, the next one is not.
    "l=listener 127.0.0.1:0; c=rawsocket inet stream 0; rawconnect c @l; d=rawsocket inet stream 0; rawconnect d @l
     a=accept l wild -> -1 EFAULT; b=accept l; show b -> off | ours",
    "l=listener 127.0.0.1:0; c=rawsocket inet stream 0; rawconnect c @l; a=accept4 l 0 nolength -> -1 EFAULT",
    // Inherited from a socket-activating parent, with connections waiting already.
    "l=listener 127.0.0.1:0; c=rawsocket inet stream 0; rawconnect c @l; d=rawsocket inet stream 0; rawconnect d @l
     exec; a=accept l; show a -> off | ours; b=accept4 l cloexec; show b -> off | ours; show l -> off",
    // Waiting since before the listener was set.
    "l=listener 127.0.0.1:0; c=rawsocket inet stream 0; rawconnect c @l; rawset l keepalive 1; rawset l idle 77
     a=accept l; show a -> off | ours; d=rawsocket inet stream 0; rawconnect d @l; b=accept l
     show b -> on 77/75/9",
    // The program has set the listener, before or after.
    "l=socket inet stream 0; set l keepalive 1; set l idle 20; bind l 127.0.0.1:0; listen l; c=rawsocket inet stream 0
     rawconnect c @l; a=accept l; show a -> on 20/75/9 | on 20/11/5",
    "l=listener 127.0.0.1:0; rawset l idle 20; c=rawsocket inet stream 0; rawconnect c @l; a=accept l; show a -> off 20/75/9",
    "l=socket inet stream 0; set l keepalive 0; bind l 127.0.0.1:0; listen l; c=rawsocket inet stream 0; rawconnect c @l
     a=accept l; show a -> off 7200/75/9 | off 77/11/5",
];

const OWN_SETTINGS: &[&str] = &[
    "c=socket inet stream 0; set c keepalive 1; show c -> system | ours",
    "c=socket inet stream 0; set c keepalive 0; show c -> off | off 77/11/5; l=listener 127.0.0.1:0; connect c @l
     show c -> off | off 77/11/5; set c keepalive 1; show c -> system | ours",
    "c=socket inet stream 0; set c idle 20; l=listener 127.0.0.1:0; connect c @l; show c -> off 20/75/9 | on 20/11/5",
    "c=socket inet stream 0; set c interval 20; l=listener 127.0.0.1:0; connect c @l; show c -> off 7200/20/9 | on 77/20/5",
    "c=socket inet stream 0; set c count 20; l=listener 127.0.0.1:0; connect c @l; show c -> off 7200/75/20 | on 77/11/20",
    "c=socket inet stream 0; set c timeout 2000; l=listener 127.0.0.1:0; connect c @l
     show c -> off 7200/75/9, user timeout 2000 | on 77/11/5, user timeout 2000",
    "l=listener 127.0.0.1:0; c=socket inet6 stream 0; connect c [::ffff:127.0.0.1]:@l; set c keepalive 1; set c idle 1
     set c interval 2; set c count 3; show c -> on 1/2/3",
    "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; set c idle 7200; show c -> off | on 7200/11/5",
    "l=listener 127.0.0.1:0; c=rawsocket inet stream 0; rawconnect c @l; a=accept l; set a idle 10; set a count 1
     show a -> off 10/75/1 | on 10/11/1",
];

const FORCED: &[&str] = &[
    "c=socket inet stream 0; set c keepalive 1; show c -> system | ours",
    "c=socket inet stream 0; set c keepalive 0; show c -> off | ours",
    "c=socket inet stream 0; set c idle 20; show c -> off 20/75/9 | ours",
    "c=socket inet6 stream 0; set c interval 20; show c -> off 7200/20/9 | ours",
    "c=socket inet6 stream+nonblock 0; set c count 20; show c -> off 7200/75/20 | ours",
    // No user timeout was asked for, so the program may have its own.
    "c=socket inet stream 0; set c timeout 2000; show c -> off 7200/75/9, user timeout 2000 | on 77/11/5, user timeout 2000",
    "c=socket inet stream 0; set c nodelay 1; set c reuseaddr 1; show c -> off | ours",
    "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; set c keepalive 1; set c idle 1; set c interval 2
         set c count 3; show c -> on 1/2/3 | ours; set c keepalive 0; show c -> off 1/2/3 | ours",
    "l=socket inet stream 0; set l idle 20; bind l 127.0.0.1:0; listen l; c=rawsocket inet stream 0; rawconnect c @l
         a=accept l; set a idle 300; show a -> off 300/75/9 | ours",
    // Set where no hook sees it, then connected or accepted.
    "l=listener 127.0.0.1:0; c=rawsocket inet stream 0; rawset c idle 33; connect c @l; show c -> off 33/75/9 | ours",
    "l=listener 127.0.0.1:0; c=rawsocket inet stream 0; rawset c count 3; connect c @l; show c -> off 7200/75/3 | ours",
    "l=listener 127.0.0.1:0; rawset l idle 33; rawset l count 3; c=rawsocket inet stream 0; rawconnect c @l; a=accept l
         show a -> off 33/75/3 | ours",
    // Not TCP: the program has its way.
    "s=socket inet dgram 0; set s keepalive 1; show s -> on, not TCP; set s keepalive 0; show s -> off, not TCP",
    "s=socket unix stream 0; set s keepalive 1; show s -> on, not TCP",
];

const FORCED_MPTCP: &[&str] =
    &["c=socket inet stream mptcp; set c count 20; set c keepalive 0; show c -> off 7200/75/20 | ours"];

/// With the sentinel that stands in errno, every success also says that it was left alone.
const ERRORS: &[&str] = &[
    "s=socket 77 stream 0 -> -1 EAFNOSUPPORT; s=socket inet 9 0 -> -1 ESOCKTNOSUPPORT; s=socket inet stream udp -> -1 EPROTONOSUPPORT
     s=socket inet stream 4000 -> -1 EINVAL; s=socket inet -1 0 -> -1 EINVAL; s=socket unix stream 5 -> -1 EPROTONOSUPPORT
     s=socket inet seqpacket 0 -> -1 ESOCKTNOSUPPORT",
    "limit nofile 3; s=socket inet stream 0 -> -1 EMFILE; s=socket inet6 stream+cloexec tcp -> -1 EMFILE",
    "connect -1 127.0.0.1:9 -> -1 EBADF; connect 99 127.0.0.1:9 -> -1 EBADF; connect 1 127.0.0.1:9 -> -1 ENOTSOCK",
    "s=socket inet stream 0; connect s null -> -1 EFAULT; connect s wild -> -1 EFAULT; connect s null 0 -> -1 EINVAL
     connect s 127.0.0.1:1 -> -1 ECONNREFUSED; connect s 127.0.0.1:9 2 -> -1 EINVAL; connect s 127.0.0.1:9 0 -> -1 EINVAL
     connect s 127.0.0.1:9 -1 -> -1 EINVAL; connect s 127.0.0.1:9 200 -> -1 EINVAL; connect s [::1]:9 -> -1 EAFNOSUPPORT
     connect s 127.0.0.1:9 15 -> -1 EINVAL; connect s 255.255.255.255:9 -> -1 ENETUNREACH",
    "s=socket inet6 stream 0; connect s 127.0.0.1:9 -> -1 EINVAL; connect s [::1]:9 23 -> -1 EINVAL
     connect s [::1]:1 -> -1 ECONNREFUSED; connect s wild -> -1 EFAULT",
    "s=socket unix stream 0; connect s 127.0.0.1:9 -> -1 EINVAL; u=listener unix; connect s @u; connect s @u -> -1 EISCONN",
    "l=listener 127.0.0.1:0; s=socket inet stream 0; connect s @l; connect s @l -> -1 EISCONN; connect l @l -> -1 EISCONN",
    // AF_UNSPEC takes a socket back to where it was.
    "s=socket inet stream 0; connect s unspec; s=socket inet dgram 0; connect s unspec",
    "a=accept -1 -> -1 EBADF; a=accept 99 full -> -1 EBADF; a=accept 1 -> -1 ENOTSOCK; a=accept4 99 0 -> -1 EBADF
     s=socket inet stream 0; a=accept s -> -1 EINVAL; a=accept4 s 0 full -> -1 EINVAL; l=listener 127.0.0.1:0; nonblock l
     a=accept l -> -1 EAGAIN; a=accept4 l cloexec full -> -1 EAGAIN; a=accept4 l 1 -> -1 EINVAL
     u=socket inet dgram 0; a=accept u -> -1 EOPNOTSUPP",
    "l=listener 127.0.0.1:0; c=rawsocket inet stream 0; rawconnect c @l; limit nofile 5; a=accept l -> -1 EMFILE
     a=accept4 l cloexec -> -1 EMFILE; close c; a=accept l full",
    "l=listener 127.0.0.1:0; alarm 50; a=accept l -> -1 EINTR; alarm 50; a=accept4 l 0 full -> -1 EINTR",
    "set -1 keepalive 1 -> -1 EBADF; set 99 idle 1 -> -1 EBADF; set 1 keepalive 1 -> -1 ENOTSOCK; r,w=pipe
     set r timeout 5 -> -1 ENOTSOCK",
    "s=socket inet stream 0; set s keepalive null -> -1 EFAULT; set s keepalive wild -> -1 EFAULT; set s keepalive 1 1 -> -1 EINVAL
     set s keepalive 1 0 -> -1 EINVAL; set s keepalive 1 -1 -> -1 EINVAL; set s nosuch 1 -> -1 ENOPROTOOPT",
    "s=socket inet6 stream 0; set s idle 0 -> -1 EINVAL; set s idle 32768 -> -1 EINVAL; set s idle -1 -> -1 EINVAL
     set s idle null -> -1 EFAULT; set s idle wild -> -1 EFAULT; set s idle 5 3 -> -1 EINVAL; set s interval 0 -> -1 EINVAL
     set s interval 32768 -> -1 EINVAL; set s count 0 -> -1 EINVAL; set s count 128 -> -1 EINVAL; set s count wild -> -1 EFAULT
     set s timeout -1 -> -1 EINVAL; set s timeout null -> -1 EFAULT; show s -> off | ours",
    "s=socket inet dgram 0; set s idle 5 -> -1 ENOPROTOOPT; set s keepalive null -> -1 EFAULT; show s -> off, not TCP",
    "s=socket unix stream 0; set s idle 5 -> -1 EOPNOTSUPP; set s keepalive 1 2 -> -1 EINVAL; show s -> off, not TCP",
];

/// A sandbox without setsockopt or getsockopt: the program works as it does without the library.
const REFUSED: &[&str] = &[
    "l=listener 127.0.0.1:0; refuse setsockopt; c=socket inet stream 0; connect c @l; a=accept l full; show c -> off; show a -> off
     r=rawsocket inet stream 0; connect r @l; b=accept4 l 0; show r -> off; set c keepalive 1 -> -1 EPERM",
    "l=listener 127.0.0.1:0; refuse getsockopt; c=socket inet stream 0; connect c @l; a=accept l full; set c keepalive 1
     r=rawsocket inet stream 0; connect r @l; b=accept4 l cloexec",
    "l=listener 127.0.0.1:0; r=rawsocket inet stream 0; refuse socket; c=socket inet stream 0 -> -1 EPERM; rawset r idle 33
     connect r @l; show r -> off 33/75/9",
];

type Settings = &'static [(&'static str, &'static str)];

/// Network namespaces whose keepalive defaults are not those that Linux comes with.
const NAMESPACES: &[(Settings, &str)] = {
    const PLAIN: Settings = &[];
    const SYSTEM: Settings = &[("KA_IDLE", "system"), ("KA_INTERVAL", "system"), ("KA_COUNT", "system")];
    &[
        // A socket with the namespace's values is nobody's.
        (
            PLAIN,
            "namespace 300 75 9; l=listener 127.0.0.1:0; c=rawsocket inet stream 0; connect c @l; show c -> off 300/75/9 | on 60/15/9
             d=socket inet stream 0; connect d @l; show d -> off 300/75/9 | on 60/15/9",
        ),
        (
            PLAIN,
            "namespace 300 20 3; l=listener 127.0.0.1:0; c=rawsocket inet stream 0; rawset c interval 33; connect c @l
             show c -> off 300/33/3 | on 60/33/9; a=accept l; show a -> off 300/20/3 | on 60/15/9",
        ),
        // One with others is the program's.
        (
            PLAIN,
            "namespace 300 75 9; l=listener 127.0.0.1:0; c=rawsocket inet stream 0; rawset c idle 400; connect c @l
             show c -> off 400/75/9; a=accept l; show a -> off 300/75/9 | on 60/15/9",
        ),
        // Where the namespace has our value by itself, the next field tells.
        (
            PLAIN,
            "namespace 60 75 9; l=listener 127.0.0.1:0; c=rawsocket inet stream 0; rawconnect c @l; a=accept l; show a -> off 60/75/9 | on 60/15/9
             d=rawsocket inet stream 0; connect d @l; show d -> off 60/75/9 | on 60/15/9
             e=socket inet stream 0; connect e @l; show e -> off 60/75/9 | on 60/15/9",
        ),
        // What the program asks for is its own, also where it is the kernel's.
        (
            PLAIN,
            "l=listener 127.0.0.1:0; c=socket inet stream 0; set c keepalive 1; set c idle 7200; set c interval 7200; connect c @l
             show c -> on 7200/7200/9; d=socket inet stream 0; set d keepalive 0; set d idle 7200; connect d @l
             show d -> off | off 7200/15/9; e=socket inet stream 0; set e keepalive 1; set e idle 7200; set e interval 75
             connect e @l; show e -> system; f=socket inet stream 0; set f idle 7200; set f interval 75; fork; connect f @l
             show f -> off | on 7200/75/9; z=socket inet stream 0; set z keepalive 1; set z idle 7200; set z interval 75
             bind z 127.0.0.1:0; listen z; g=rawsocket inet stream 0; rawconnect g @z; a=accept z; show a -> system
             h=rawsocket inet stream 0; set h idle 7200; connect h @l; show h -> off | on 7200/15/9",
        ),
        // A value that only we set: past the hooks, the program has put one back.
        (
            PLAIN,
            "l=listener 127.0.0.1:0; c=socket inet stream 0; rawset c idle 7200; rawset c keepalive 0; connect c @l
             show c -> off 7200/75/9 | off 7200/15/9",
        ),
        // With the value that Linux comes with, the next field is the marker.
        (
            &[("KA_IDLE", "7200")],
            "l=listener 127.0.0.1:0; c=rawsocket inet stream 0; connect c @l; show c -> off 7200/75/9 | on 7200/15/9
             d=rawsocket inet stream 0; rawset d interval 33; connect d @l; show d -> off 7200/33/9; e=socket inet stream 0
             set e keepalive 0; connect e @l; show e -> off 7200/75/9 | off 7200/15/9",
        ),
        (
            &[("KA_IDLE", "2h"), ("KA_INTERVAL", "75"), ("KA_COUNT", "4")],
            "l=listener 127.0.0.1:0; c=rawsocket inet stream 0; connect c @l; show c -> off 7200/75/9 | on 7200/75/4
             d=rawsocket inet stream 0; rawset d count 5; connect d @l; show d -> off 7200/75/5",
        ),
        // Nothing differs from the kernel's: no socket can be told from one that was set up.
        (
            &[("KA_IDLE", "7200"), ("KA_INTERVAL", "75"), ("KA_COUNT", "9")],
            "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; show c -> off 7200/75/9 | on 7200/75/9
             d=rawsocket inet stream 0; connect d @l; show d -> off 7200/75/9; set c keepalive 0; connect c @l -> -1 EISCONN
             show c -> off 7200/75/9",
        ),
        (
            SYSTEM,
            "namespace 300 20 3; l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; show c -> off 300/20/3 | on 300/20/3
             d=rawsocket inet stream 0; connect d @l; show d -> off 300/20/3",
        ),
        (
            &[("KA_IDLE", "system")],
            "namespace 300 20 3; l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; show c -> off 300/20/3 | on 300/15/9
             d=rawsocket inet stream 0; connect d @l; show d -> off 300/20/3 | on 300/15/9",
        ),
        // An interval that nobody set is never longer than the idle time, also if that is the kernel's.
        (
            &[("KA_IDLE", "system")],
            "namespace 10 20 3; l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; show c -> off 10/20/3 | on 10/10/9
             d=rawsocket inet stream 0; connect d @l; show d -> off 10/20/3 | on 10/10/9",
        ),
        (
            &[("KA_INTERVAL", "system"), ("KA_COUNT", "4")],
            "namespace 300 20 3; l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; show c -> off 300/20/3 | on 60/20/4
             d=rawsocket inet stream 0; connect d @l; show d -> off 300/20/3 | on 60/20/4",
        ),
        (
            &[("KA_IDLE", "system"), ("KA_INTERVAL", "system"), ("KA_COUNT", "system"), ("KA_USER_TIMEOUT", "auto")],
            "namespace 300 20 3; c=socket inet stream 0; show c -> off 300/20/3 | on 300/20/3, user timeout 360000",
        ),
        // Forced, where the program's own value is the one that Linux comes with, and not the namespace's.
        (
            &[("KA_FORCE", "1")],
            "namespace 300 75 9; l=listener 127.0.0.1:0; c=rawsocket inet stream 0; rawset c idle 7200; connect c @l
             show c -> off 7200/75/9 | on 60/15/9; d=socket inet stream 0; set d idle 300; set d count 2; show d -> off 300/75/2 | on 60/15/9",
        ),
    ]
};

/// Counting libraries before and after ours: the program's calls pass through both, those that we add only through the
/// one after us.
fn the_chain_is_kept() -> Result {
    let counter =
        |name: &str| compile("cc", &fixture("count.c"), &["-shared", "-fPIC", &format!("-DCOUNTS={name}")]);
    let (before, after) = (counter("before")?, counter("after")?);
    let script = "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; a=accept l; u=socket inet dgram 0
        b=accept4 99 0 -> -1 EBADF; set c nodelay 1; r=rawsocket inet stream 0; connect r @l; b=accept4 l 0
        counts before -> socket 2, connect 2, accept 3, setsockopt 1, getsockopt 0
        counts after -> socket 2, connect 2, accept 3, setsockopt 1, getsockopt 0 \
        | socket 2, connect 2, accept 3, setsockopt 17, getsockopt 10; show c -> off | ours; show r -> off | ours";
    for preload in [Preload::No, Preload::OURS] {
        let ours: &[&Path] = if preload == Preload::No { &[] } else { &[library()?] };
        let mut chain: Vec<&Path> = vec![&before];
        chain.extend(ours);
        chain.push(&after);
        let chain: Vec<_> = chain.iter().map(|path| path.display().to_string()).collect();
        let mut variables = preload.variables()?;
        variables.push(format!("LD_PRELOAD={}", chain.join(":")));
        let env: Vec<_> = ["env".to_owned()].into_iter().chain(variables).collect();
        Steps::new(preload, script)?.under(env).run()?;
    }
    Ok(())
}

/// What the scripts read in their own process is what the harness finds from outside.
fn as_another_process_sees_it() -> Result {
    for (preload, keepalive) in
        [(Preload::No, kashim_tests::Keepalive::untouched()), (Preload::OURS, Preload::ours())]
    {
        let steps =
            Steps::new(preload, "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; hold")?;
        let mut program = steps.command()?.stdin(Stdio::piped()).start()?;
        program.wait_for_output("connect c @l: 0\n")?;
        program.expect(|socket| socket.peer.is_some(), keepalive)?;
    }
    Ok(())
}
