//! The report: a page of its own, and one table in the README.

use std::fs;

use crate::file::{self, Footprint};
use crate::preloads::NONE;
use crate::sockets::Sockets;
use crate::start::Start;
use crate::table::{figure, number, table};
use crate::{Bench, Result};

const PAGE: &str = "docs/performance.md";
const README: &str = "README.md";
/// What is between them is ours to replace.
const BEGIN: &str = "<!-- bench -->\n";
const END: &str = "<!-- /bench -->\n";

/// All that was measured.
pub struct Results {
    /// By preload.
    pub footprints: Vec<Footprint>,
    /// Of a program that does nothing.
    pub start: Start,
    /// Of one with threads.
    pub threaded: Start,
    /// A table.
    pub wrappers: String,
    /// By kind of socket.
    pub sockets: Sockets,
    /// A table.
    pub calls: String,
    /// A table.
    pub established: String,
    /// A table.
    pub connections: String,
    /// A table.
    pub wire: String,
}

/// Writes both, or, if it was only a try, prints the page.
pub fn write(bench: &Bench, results: &Results) -> Result<()> {
    let page = page(bench, results)?;
    if bench.quick {
        print!("{page}\n{}", summary(bench, results));
        return Ok(());
    }
    fs::write(PAGE, page)?;
    let readme = fs::read_to_string(README)?;
    let parts = readme.split_once(BEGIN).and_then(|(a, rest)| Some((a, rest.split_once(END)?.1)));
    let Some((before, after)) = parts else { return Err(format!("no {BEGIN:?} in {README}").into()) };
    fs::write(README, format!("{before}{BEGIN}{}{END}{after}", summary(bench, results)))?;
    eprintln!("written: {PAGE}, and the table in {README}");
    Ok(())
}

/// The README's table.
fn summary(bench: &Bench, results: &Results) -> String {
    let header = [
        "preload",
        "process start, minimal C = 1",
        "page faults added",
        "TCP socket, ns added",
        "private dirty memory added, kB",
        "file, bytes",
    ];
    let rows = bench.preloads.iter().enumerate().filter(|&(i, _)| i != NONE).map(|(i, preload)| {
        vec![
            preload.name.clone(),
            figure(results.start.ratios[i], 2),
            number(results.start.faults[i], 1),
            figure(results.sockets.tcp(i), 0),
            number(results.footprints[i].added.dirty, 1),
            results.footprints[i].file.size.to_string(),
        ]
    });
    table(&header, rows)
}

fn page(bench: &Bench, results: &Results) -> Result<String> {
    let Results { footprints, start, threaded, wrappers, sockets, calls, established, connections, wire } =
        results;
    let versions = fs::read_to_string(bench.directory.join("versions"))?;
    Ok(format!(
        "\
# Performance

Written by `scripts/bench`; not to be edited. All preloads of a table were measured in one run, in turns, each round
in a new order, on one processor. Times are medians. An interval after a figure is its 95 % bootstrap interval, over
the rounds, unless the table says that it is the quartiles. Ratios travel to other machines, times do not.
[performance-attach.md](performance-attach.md) has what `ka attach` costs.

{versions}
The preloads:

- *empty library*: nothing at all, linked with RELRO, without start files: what the loader does for any library.
- *minimal C*: the yardstick, a hook for `socket` that makes the four calls and nothing else, `cc -O2 -shared` with
  the default options of the linker. It reads no settings and looks up the next function on first use, which takes the
  loader's lock in whatever signal handler makes the first call; it is what a process start can cost at least.
- *libdontdie*, *libkeepalive*: as Debian has them, set to the same 60/15/9.
- *kashim*: the release build, with its defaults, which are 60/15/9.

## Process start

From `posix_spawn` to the return of `wait4`. The ratio is (with - without) / (minimal C - without), of blocks of 40
rounds, each of which counts with its lower quartile: what else the machine does only ever adds to a time.

kashim: {} of minimal C for `/bin/true`, {} for the program with threads.

`/bin/true`:

{}
A C program that starts four threads and waits for them:

{}
## Wrappers

What is put before a command, as Debian has it; `ka-run` is the installed one, which executes the command itself.

{wrappers}
## Memory and size

Of `/bin/cat`, waiting for input, the mean of many: addresses are random, and so is how many pages are touched. Resident
is what of the file is mapped in, touched or not: the kernel maps what surrounds a page along with it.

{}
## Sockets

The socket is made, and closed. A connection is `socket`, `connect`, `accept` and the closing of both ends, over
loopback in one process. Without a preload in ns, the others as ns added; the fastest of twenty batches in each process,
the median of the processes. The last rule is the one that matches, and it sets what is set anyway.

{}
## System calls

Counted by strace. Each figure is what the hook adds to one call.

{calls}
## An established connection

Both ends in one process, on loopback. The hooks are not in the way of what is read and written, so the ratio should be
1, within what the same thing twice shows.

{established}
## Scale

In a network namespace of its own: {connections}
Keepalive on a connection that is silent and whose path is healthy sends a probe every max(idle, interval) seconds, and
gets an answer: two segments without data. This is what one end adds that has keepalive on; if both have, it is twice that.

{wire}",
        figure(start.kashim(), 2),
        figure(threaded.kashim(), 2),
        start.table(bench),
        threaded.table(bench),
        file::show(bench, footprints),
        sockets.table(),
    ))
}
