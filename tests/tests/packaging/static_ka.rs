//! `ka` as it is installed is linked statically: it runs where the library does, whatever C library is there or none.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use goblin::elf::Elf;
use kashim_tests::lab::{Namespace, ip};
use kashim_tests::{
    DEBIAN_11, Listener, Need, Output, Preload, Program, Result, Scratch, Trial, built_tree, compile, ka,
    read_line, trial,
};

pub fn trials() -> Vec<Trial> {
    use Need::{Program as Prog, Root};
    let root = [Root, Prog("unshare"), Prog("chroot")];
    let debian = [&root[..], &[Prog("debootstrap")]].concat();
    let musl = [&root[..], &[Prog("musl-gcc")]].concat();
    let names = [&debian[..], &[Prog("ip")]].concat();
    vec![
        trial!(needs_nothing),
        trial("debian_11", &debian, || works_in(DEBIAN_11.root()?)),
        trial("musl_alone", &musl, || {
            let root = Scratch::new()?;
            fs::create_dir(root.join("lib"))?;
            root.copy_program(&musl_loader()?, "lib/ld-musl-x86_64.so.1")?;
            works_in(root.path())
        }),
        trial("nothing_else", &root, || works_in(Scratch::new()?.path())),
        trial!(names_from_hosts, &names),
        trial!(names_from_dns, &names),
        trial!(an_unknown_name, &names),
    ]
}

fn client() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/shell/client.c")
}

fn musl_loader() -> Result<PathBuf> {
    let program = compile("musl-gcc", &client(), &[])?;
    let bytes = fs::read(program)?;
    Ok(Elf::parse(&bytes)?.interpreter.ok_or("no loader")?.into())
}

fn installed_ka() -> Result<PathBuf> {
    Ok(built_tree()?.join("bin/ka"))
}

fn needs_nothing() -> Result {
    let bytes = fs::read(installed_ka()?)?;
    let elf = Elf::parse(&bytes)?;
    assert_eq!(elf.interpreter, None);
    assert_eq!(elf.libraries, Vec::<&str>::new());
    // Its address is as random as that of others.
    assert_eq!(elf.header.e_type, goblin::elf::header::ET_DYN);
    assert!(bytes.len() <= 3_000_000, "{} bytes", bytes.len());
    Ok(())
}

/// `ka` in a root directory, where it is copied to, with /proc.
struct Rooted<'root> {
    root: &'root Path,
    ka: String,
}

impl<'root> Rooted<'root> {
    fn new(root: &'root Path) -> Result<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("ka-{}.{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Program::new("cp").arg(installed_ka()?).arg(root.join(&name)).succeed()?;
        fs::create_dir_all(root.join("proc"))?;
        Ok(Self { root, ka: format!("/{name}") })
    }

    fn run(&self, arguments: &[&str]) -> Program {
        let mount = "mount -t proc proc \"$1/proc\" && exec chroot \"$@\"";
        Program::new("unshare")
            .args(["--mount", "sh", "-c", mount, "sh"])
            .arg(self.root)
            .arg(&self.ka)
            .args(arguments)
    }
}

impl Drop for Rooted<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.root.join(self.ka.trim_start_matches('/')));
    }
}

fn works_in(root: &Path) -> Result {
    let rooted = Rooted::new(root)?;
    let explained = Program::new(ka()?).args(["explain", "300/30/5"]).succeed()?;
    assert!(rooted.run(&["explain", "300/30/5"]).succeed()? == explained);
    // It sees a process outside, with what the library has done there.
    let server = Listener::bind()?;
    let program = Program::new(compile("cc", &client(), &[])?).arg(server.port().to_string());
    let program = program.preload(Preload::OURS).start()?;
    let mut connection = server.accept()?;
    assert_eq!(read_line(&mut connection)?, "ready");
    let seen = rooted.run(&["status", "--json", &program.pid().to_string()]).run()?;
    let seen: serde_json::Value = serde_json::from_slice(&seen.stdout)?;
    let connections = seen["connections"].as_array().ok_or_else(|| seen.to_string())?;
    let [connection] = &connections[..] else { return Err(seen.to_string().into()) };
    assert!(connection.to_string().contains(&format!(":{}", server.port())), "{connection}");
    Ok(())
}

/// A network with nothing but loopback, and a Debian 11 whose name service has a module that must not be loaded: it is
/// made for glibc 2.31.
struct Names {
    namespace: Namespace,
    listener: TcpListener,
}

const NAME: &str = "db.kashim.test";

impl Names {
    fn new() -> Result<Self> {
        let namespace = Namespace::new()?;
        ip(&namespace, &["link set lo up"])?;
        let listener = namespace.enter(|| Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))))??;
        Ok(Self { namespace, listener })
    }

    /// Looks up the name in a root with these files in /etc.
    fn probe(&self, files: &[(&str, &str)]) -> Result<Output> {
        let root = DEBIAN_11.root()?;
        let etc = Scratch::new()?;
        for (name, content) in files {
            etc.write(name, content)?;
        }
        etc.write("nsswitch.conf", "hosts: kashimtest files dns\n")?;
        // In Debian 11, by its own compiler.
        let source = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/static_ka/nss.c"))?;
        etc.write("nss.c", source)?;
        let rooted = Rooted::new(root)?;
        let script = "set -e
            mount --bind \"$1\" \"$2/etc\"
            mount -t tmpfs tmpfs \"$2/usr/local/lib\"
            export LD_LIBRARY_PATH=/usr/local/lib
            chroot \"$2\" gcc -shared -fPIC -o /usr/local/lib/libnss_kashimtest.so.2 /etc/nss.c
            LC_ALL=C chroot \"$2\" getent hosts nobody.kashim.test 2>&1 | grep -q '^module loaded$'
            shift
            exec chroot \"$@\"";
        let port = self.listener.local_addr()?.port();
        Program::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(etc.path())
            .arg(root)
            .arg(&rooted.ka)
            .args(["probe", "--max", "2", "--connections", "2", &format!("{NAME}:{port}")])
            .within(&self.namespace)
            .run()
    }

    fn found(&self, files: &[(&str, &str)]) -> Result {
        let output = self.probe(files)?;
        assert_eq!(output.stderr, "");
        let said = String::from_utf8(output.success()?)?;
        assert!(said.contains(&format!("{NAME} (127.0.0.1:")), "{said}");
        Ok(())
    }
}

fn names_from_hosts() -> Result {
    Names::new()?.found(&[("hosts", &format!("127.0.0.1 {NAME}\n"))])
}

fn names_from_dns() -> Result {
    let names = Names::new()?;
    let server = names.namespace.enter(|| Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 53))))??;
    server.set_read_timeout(Some(Duration::from_millis(50)))?;
    let over = Arc::new(AtomicBool::new(false));
    let answering = thread::spawn({
        let over = Arc::clone(&over);
        move || {
            while !over.load(Ordering::Relaxed) {
                let mut query = [0; 512];
                if let Ok((length, from)) = server.recv_from(&mut query) {
                    answer(&server, &query[..length], from);
                }
            }
        }
    });
    let found = names.found(&[("resolv.conf", "nameserver 127.0.0.1\n"), ("hosts", "")]);
    over.store(true, Ordering::Relaxed);
    answering.join().map_err(|_| "the name server failed")?;
    found
}

/// Says 127.0.0.1 to a question for an IPv4 address, and that there is nothing else.
fn answer(server: &UdpSocket, query: &[u8], to: SocketAddr) {
    const HEADER: usize = 12;
    let question_end = HEADER + query[HEADER..].iter().position(|&byte| byte == 0).unwrap_or(0) + 5;
    let wants_ipv4 = query[question_end - 4..question_end - 2] == [0, 1];
    // A response, recursion desired and available; one question, one answer or none.
    let mut reply = [&query[..2], &[0x81, 0x80, 0, 1, 0, u8::from(wants_ipv4), 0, 0, 0, 0]].concat();
    reply.extend_from_slice(&query[HEADER..question_end]);
    if wants_ipv4 {
        // The name in the question, type A, class IN, a minute to live, four bytes.
        reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    let _ = server.send_to(&reply, to);
}

fn an_unknown_name() -> Result {
    let output = Names::new()?.probe(&[("hosts", "")])?;
    let said = "no address found in /etc/hosts and DNS (ka is statically linked and asks nothing else)";
    assert!(output.stderr.contains(said), "{}", output.stderr);
    assert!(output.stderr.ends_with("; give its address\n"), "{}", output.stderr);
    assert_eq!(output.status.code(), Some(125));
    Ok(())
}
