//! Server programs, first without the library and then with it: what the kernel has for the connections that they
//! accept, and for those that they make to the servers behind them.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

use kashim_tests::servers::{MariaDbData, Nginx, PostgresData, Redis, Ssh};
use kashim_tests::{
    Keepalive, Listener, Need, PATIENCE, Preload, Program, Result, Running, Socket, Trial, free_port,
    is_root, java_classes, maps_library, program_file, read_line, read_request, trial,
};

use super::{Case, switched_on_by_itself, touched_by_us};

pub fn trials() -> Vec<Trial> {
    use Need::Program as Prog;
    let java = [Prog("java"), Prog("javac")];
    vec![
        trial!(mariadbd, &[Prog("mariadbd"), Prog("mariadb-install-db"), Prog("mysql")]),
        trial!(postgres, &[Prog("postgres"), Prog("initdb"), Prog("psql")]),
        trial!(sshd, &[Prog("ssh"), Prog("sshd"), Prog("ssh-keygen")]),
        trial!(nginx, &[Prog("nginx")]),
        trial("redis_server", &[Prog("redis-server")], || {
            redis(&[(Preload::No, REDIS), (Preload::OURS, REDIS)])
        }),
        trial("redis_server_forced", &[Prog("redis-server")], || {
            redis(&[(Preload::FORCED, Preload::ours())])
        }),
        trial("node_net", &[Prog("node")], || {
            echo(|| Ok(Program::new("node").arg(program_file("server.js")).arg("net")))
        }),
        trial!(node_http, &[Prog("node")]),
        trial("java_server_socket", &java, || java_server("socket")),
        trial("java_server_socket_channel", &java, || java_server("channel")),
        trial("python_blocking", &[Prog("python3")], || {
            echo(|| Ok(Program::new("python3").arg(program_file("server.py")).arg("blocking")))
        }),
        trial("python_asyncio", &[Prog("python3")], || {
            echo(|| Ok(Program::new("python3").arg(program_file("server.py")).arg("asyncio")))
        }),
        trial!(activated_by_a_parent, &[Prog("python3")]),
        trial!(activated_by_systemd, &[Prog("systemd-socket-activate"), Prog("python3")]),
    ]
}

const REDIS: Keepalive = Keepalive { on: true, idle: 300, interval: 100, count: 3, user_timeout: 0 };

/// The socket that a server on this port has for a client.
fn accepted(port: u16, client: u16) -> impl Fn(&Socket) -> bool {
    move |socket| socket.local_port() == port && socket.peer_port() == client
}

fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// The port from which a client, which has one connection to this port, has connected.
fn port_of(client: &mut Running, port: u16) -> Result<u16> {
    Ok(client.socket(|socket| socket.peer_port() == port)?.local_port())
}

// Real servers.

fn mariadbd() -> Result {
    let data = MariaDbData::install()?;
    for (preload, keepalive) in switched_on_by_itself() {
        let mut mariadb = data.start(preload)?;
        let mut client = mariadb.mysql().stdin(Stdio::piped()).start()?;
        client.write("SELECT 40 + 2;\n")?;
        client.wait_for_output("42\n")?;
        let from = port_of(&mut client, mariadb.port)?;
        mariadb.server.expect(accepted(mariadb.port, from), keepalive)?;
    }
    Ok(())
}

fn postgres() -> Result {
    let data = PostgresData::install()?;
    for (preload, keepalive) in switched_on_by_itself() {
        let mut postgres = data.start(preload)?;
        let mut client = postgres.psql().stdin(Stdio::piped()).start()?;
        client.write("SELECT 40 + 2;\n")?;
        client.wait_for_output("42\n")?;
        let from = port_of(&mut client, postgres.port)?;
        let socket = postgres.server.expect(accepted(postgres.port, from), keepalive)?;
        assert_ne!(socket.pid, postgres.server.pid(), "a connection is a process of its own");
    }
    Ok(())
}

fn sshd() -> Result {
    for (preload, keepalive) in switched_on_by_itself() {
        let mut sshd = Ssh::start(preload)?;
        let mut ssh = sshd
            .client("echo $$ \"<$LD_PRELOAD>\" && read -r line && echo \"$line\"")
            .stdin(Stdio::piped())
            .start()?;
        let said = ssh.wait_for_output(">\n")?;
        let from = port_of(&mut ssh, sshd.port)?;
        sshd.server.expect(accepted(sshd.port, from), keepalive)?;
        // sshd gives a session an environment of its own.
        let (shell, preloaded) = said.trim().split_once(' ').ok_or("no process number")?;
        assert_eq!(preloaded, "<>");
        assert!(!maps_library(shell.parse()?)?, "the session's shell has the library");
        ssh.write("done\n")?;
        assert!(ssh.output()?.success()?.ends_with(b"done\n"));
    }
    Ok(())
}

fn nginx() -> Result {
    for (preload, keepalive) in touched_by_us() {
        let upstream = Listener::bind()?;
        let mut nginx = Nginx::start(upstream.port(), preload)?;
        let mut client = connect(nginx.port)?;
        write!(client, "GET /page HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut behind = upstream.accept()?;
        assert!(read_request(&mut behind)?.starts_with("GET /page "));
        let from = client.local_addr()?.port();
        let front = nginx.server.expect(accepted(nginx.port, from), keepalive)?;
        let back = nginx.server.expect(|socket| socket.peer_port() == upstream.port(), keepalive)?;
        assert_eq!(front.pid, back.pid);
        assert_ne!(front.pid, nginx.server.pid(), "connections are the worker's");
        if is_root() {
            let worker = fs::metadata(format!("/proc/{}", front.pid))?.uid();
            assert_ne!(worker, 0, "the worker has another user");
        }
        write!(behind, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\npage\n")?;
        drop(behind);
        assert!(read_request(&mut client)?.starts_with("HTTP/1.1 200 OK\r\n"));
        assert_eq!(read_line(&mut client)?, "page");
    }
    Ok(())
}

fn redis(cases: &[Case]) -> Result {
    for &(preload, keepalive) in cases {
        let mut redis = Redis::start(preload)?;
        let mut client = connect(redis.port)?;
        client.write_all(b"PING\r\n")?;
        assert_eq!(read_line(&mut client)?, "+PONG");
        redis.server.expect(accepted(redis.port, client.local_addr()?.port()), keepalive)?;
    }
    Ok(())
}

// Servers that come with the tests. They print their port and send back every line.

/// The port that a server prints.
fn printed_port(server: &mut Running) -> Result<u16> {
    let output = server.wait_for_output("\n")?;
    Ok(output.trim().strip_prefix("port ").ok_or("no port")?.parse()?)
}

/// Has the server send back a line, and looks at the socket that it does it on.
fn expect_echo(server: &mut Running, port: u16, keepalive: Keepalive) -> Result {
    let mut client = connect(port)?;
    client.write_all(b"hello\n")?;
    assert_eq!(read_line(&mut client)?, "hello");
    server.expect(accepted(port, client.local_addr()?.port()), keepalive)?;
    Ok(())
}

fn echo(server: impl Fn() -> Result<Program>) -> Result {
    for (preload, keepalive) in touched_by_us() {
        let mut server = server()?.preload(preload).start()?;
        let port = printed_port(&mut server)?;
        expect_echo(&mut server, port, keepalive)?;
    }
    Ok(())
}

fn node_http() -> Result {
    for (preload, keepalive) in touched_by_us() {
        let mut node =
            Program::new("node").arg(program_file("server.js")).arg("http").preload(preload).start()?;
        let port = printed_port(&mut node)?;
        let mut client = connect(port)?;
        write!(client, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        assert!(read_request(&mut client)?.contains("\r\nConnection: keep-alive\r\n"));
        assert_eq!(read_line(&mut client)?, "answer");
        node.expect(accepted(port, client.local_addr()?.port()), keepalive)?;
    }
    Ok(())
}

fn java_server(how: &str) -> Result {
    let classes = java_classes(&program_file("Server.java"))?;
    echo(|| Ok(Program::new("java").args(["-XX:+UseSerialGC", "-cp"]).arg(&classes).args(["Server", how])))
}

// Socket activation: the listening socket comes from a parent that has never heard of the library.

fn activated_by_a_parent() -> Result {
    for (preload, keepalive) in touched_by_us() {
        let mut server = Program::new("python3")
            .arg(program_file("activate.py"))
            .args(preload.variables()?)
            .args(["--", "python3"])
            .arg(program_file("server.py"))
            .arg("inherited")
            .preloads_others(preload)
            .start()?;
        let port = printed_port(&mut server)?;
        expect_echo(&mut server, port, keepalive)?;
        expect_listener_untouched(&mut server, port)?;
    }
    Ok(())
}

fn activated_by_systemd() -> Result {
    for (preload, keepalive) in touched_by_us() {
        let port = free_port()?;
        let mut server = Program::new("systemd-socket-activate")
            .arg(format!("--listen=127.0.0.1:{port}"))
            .args(preload.variables()?.iter().map(|variable| format!("--setenv={variable}")))
            .arg("python3")
            .arg(program_file("server.py"))
            .arg("inherited")
            .preloads_others(preload)
            .start()?;
        // It starts the server at the first connection.
        server.wait_for_port(port)?;
        expect_echo(&mut server, port, keepalive)?;
        expect_listener_untouched(&mut server, port)?;
    }
    Ok(())
}

/// The accepted socket cannot have its options from the listener.
fn expect_listener_untouched(server: &mut Running, port: u16) -> Result {
    server.expect(|socket| socket.listening && socket.local_port() == port, Keepalive::untouched())?;
    Ok(())
}
