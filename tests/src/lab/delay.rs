//! A slow way between the client and the router's firewall: every packet takes so much time, and some take longer. The
//! kernel's own means (netem) is not everywhere, so the packets pass a TUN device of the router, and this process.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::ioctl::{Opcode, Setter, ioctl};

use super::{Lab, ip};
use crate::Result;

/// As long as it lives, packets are late.
#[derive(Debug)]
pub struct Delay {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Delay {
    /// Begins. Each packet takes `delay` in each direction, and up to `jitter` more, so that some overtake others.
    pub fn start(lab: &Lab, delay: Duration, jitter: Duration) -> Result<Self> {
        let device = lab.router.enter(open)?;
        ip(
            &lab.router,
            &[
                "link set delay up",
                "route add default dev delay table 100",
                "rule add iif client lookup 100",
                "rule add iif server lookup 100",
            ],
        )?;
        // What is between the device and the client is not yet, or no longer, the firewall's.
        lab.nft(
            "add chain inet firewall slow { type filter hook prerouting priority raw; }
             add rule inet firewall slow iifname client notrack
             add rule inet firewall slow iifname delay ip daddr 10.77.1.2 notrack
             insert rule inet firewall forward ct state untracked accept
             insert rule inet firewall forward iifname delay ct state new tcp flags & (fin|syn|rst|ack) == syn accept",
        )?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || relay(device, delay, jitter, &stopped));
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// `struct ifreq`, as TUNSETIFF reads it.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// Makes the device `delay` in the namespace of the caller, and opens it.
fn open() -> Result<File> {
    /// In linux/if_tun.h: _IOW('T', 202, int).
    const TUNSETIFF: Opcode = 0x4004_54ca;
    /// IFF_TUN | IFF_NO_PI.
    const FLAGS: u16 = 0x1001;
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits())?;
    let device = OpenOptions::new().read(true).write(true).custom_flags(nonblocking).open("/dev/net/tun")?;
    let mut request = Request { name: [0; 16], flags: FLAGS, rest: [0; 22] };
    request.name[..5].copy_from_slice(b"delay");
    // SAFETY: the request takes a `struct ifreq`, which has this layout, and keeps nothing of it.
    unsafe { ioctl(device.as_fd(), Setter::<TUNSETIFF, Request>::new(request)) }?;
    Ok(device)
}

fn relay(mut device: File, delay: Duration, jitter: Duration, stop: &AtomicBool) {
    let mut waiting: Vec<(Instant, Vec<u8>)> = Vec::new();
    let mut random = Random(1);
    let mut packet = [0; 65536];
    while !stop.load(Ordering::Relaxed) {
        loop {
            match device.read(&mut packet) {
                Ok(length) => {
                    let due = Instant::now() + delay + jitter.mul_f64(random.next());
                    waiting.push((due, packet[..length].to_vec()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("cannot read packets: {error}"),
            }
        }
        let now = Instant::now();
        let (due, later): (Vec<_>, _) = waiting.into_iter().partition(|(due, _)| *due <= now);
        waiting = later;
        for (_, packet) in due {
            // What the device does not take is lost, as packets are.
            let _ = device.write(&packet);
        }
        sleep(Duration::from_millis(1));
    }
}

/// Numbers between 0 and 1 that look random, always the same (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}
