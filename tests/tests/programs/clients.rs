//! Client programs, each against a real server or a test that plays one, first without the library and then with it:
//! what the kernel has for the program's own socket while the connection is open.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use kashim_tests::servers::{Git, GitTransport, MariaDb, Postgres, Redis, Rsync, Ssh, git_head};
use kashim_tests::{
    Keepalive, Listener, Need, Preload, Program, Result, Scratch, Socket, Trial, free_port, java_classes,
    program_file, read_line, read_request, trial,
};

use super::{Case, switched_on_by_itself, touched_by_us};

pub fn trials() -> Vec<Trial> {
    use Need::{Program as Prog, Python};
    let mysql = [Prog("mariadbd"), Prog("mariadb-install-db"), Prog("mysql"), Prog("mysqldump")];
    let postgres = [Prog("postgres"), Prog("initdb"), Prog("psql")];
    let ssh = [Prog("ssh"), Prog("sshd"), Prog("ssh-keygen")];
    let git = [Prog("git"), Prog("python3")];
    let redis = [Prog("redis-cli"), Prog("redis-server")];
    let java = [Prog("java"), Prog("javac")];
    vec![
        trial!(mysqldump, &mysql),
        trial("mysql", &mysql, mysql_client),
        trial!(psql, &postgres),
        trial!(psycopg2, &[&postgres[..], &[Prog("python3"), Python("psycopg2")]].concat()),
        trial("ssh", &ssh, ssh_session),
        trial("git_daemon", &git, || git_clone(GitTransport::Daemon)),
        trial("git_http", &git, || git_clone(GitTransport::Http)),
        trial!(rsync, &[Prog("rsync")]),
        trial("redis_cli", &redis, || redis_cli(&[(Preload::No, REDIS), (Preload::OURS, REDIS)])),
        trial("redis_cli_forced", &redis, || redis_cli(&[(Preload::FORCED, Preload::ours())])),
        // Its count is nobody's but ours.
        trial("curl", &[Prog("curl"), Prog("strace")], || curl(&curl_without_and_with()?)),
        trial("curl_forced", &[Prog("curl")], || curl(&[(Preload::FORCED, Preload::ours())])),
        trial("wget", &[Prog("wget")], || {
            download(|url| Program::new("wget").args(["-q", "-O", "-", url]), &touched_by_us())
        }),
        trial("node_net", &[Prog("node")], || {
            hello(|port| Program::new("node").arg(program_file("client.js")).args(["net", port]))
        }),
        trial("node_agent", &[Prog("node")], || {
            node_agent(&[(Preload::No, NODE_AGENT), (Preload::OURS, NODE_AGENT)])
        }),
        trial("node_agent_forced", &[Prog("node")], || node_agent(&[(Preload::FORCED, Preload::ours())])),
        trial!(node_fetch, &[Prog("node")]),
        trial("java_socket", &java, || java_client("socket")),
        trial("java_channel", &java, || java_client("channel")),
        trial("python_blocking", &[Prog("python3")], || python("blocking")),
        trial("python_nonblocking", &[Prog("python3")], || python("nonblocking")),
        trial("python_asyncio", &[Prog("python3")], || python("asyncio")),
        trial("perl", &[Prog("perl")], || {
            hello(|port| Program::new("perl").arg(program_file("client.pl")).arg(port))
        }),
        trial("bash_dev_tcp", &[Prog("bash")], bash),
        trial!(socat, &[Prog("socat")]),
    ]
}

const CURL: Keepalive = Keepalive { on: true, idle: 60, interval: 60, count: 9, user_timeout: 0 };
const REDIS: Keepalive = Keepalive { on: true, idle: 15, interval: 5, count: 3, user_timeout: 0 };
const NODE_AGENT: Keepalive = Keepalive { on: true, idle: 1, interval: 1, count: 10, user_timeout: 0 };
const NODE_FETCH: Keepalive = Keepalive { on: true, idle: 60, interval: 1, count: 10, user_timeout: 0 };

fn to(port: u16) -> impl Fn(&Socket) -> bool {
    move |socket| socket.peer_port() == port
}

// Databases: another connection holds a lock, so the client's statement takes as long as we like.

/// Varied types, and some 2 MB of blobs.
const MYSQL_DATA: &str = "
    DROP DATABASE IF EXISTS data;
    CREATE DATABASE data CHARACTER SET utf8mb4;
    USE data;
    CREATE TABLE kinds (
        id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, small TINYINT, exact DECIMAL(30,10), real_one DOUBLE,
        flags BIT(13), day DATE, moment DATETIME(6), stamp TIMESTAMP NULL, hour TIME, year_only YEAR,
        choice ENUM('one', 'two', 'it''s'), some SET('a', 'b', 'c'), words VARCHAR(200), document JSON,
        raw VARBINARY(300), generated INT AS (small * 2) STORED, UNIQUE (words));
    INSERT INTO kinds (small, exact, real_one, flags, day, moment, stamp, hour, year_only, choice, some, words,
        document, raw) VALUES
        (-128, -12345678901234567890.0123456789, 1e-300, b'1010101010101', '1000-01-01',
         '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07', '-838:59:59', 1901, 'it''s', 'a,c',
         'Grüße, 世界, 🐬, tab\\t, newline\\n, quote'' \"\\\\', '{\"a\": [1, null, \"ü\"]}', UNHEX('00FF0A0D1A275C22')),
        (127, 0, -0.1, b'0', NULL, NULL, NULL, NULL, NULL, NULL, '', '', NULL, '');
    CREATE TABLE blobs (id INT PRIMARY KEY, content LONGBLOB NOT NULL);
    INSERT INTO blobs SELECT number.seq,
        (SELECT GROUP_CONCAT(UNHEX(SHA2(CONCAT(number.seq, '/', part.seq), 512)) SEPARATOR '')
         FROM seq_1_to_128 AS part)
        FROM seq_1_to_250 AS number;
    CREATE VIEW positive AS SELECT id, words FROM kinds WHERE small > 0;
    CREATE TRIGGER shorten BEFORE INSERT ON kinds FOR EACH ROW SET NEW.words = LEFT(NEW.words, 100);
    CREATE PROCEDURE answer() SELECT 42;
";

fn mysqldump() -> Result {
    let mariadb = MariaDb::shared()?;
    mariadb.query(&format!("SET SESSION group_concat_max_len = 1000000;{MYSQL_DATA}"))?;
    let dump = |preload| {
        mariadb
            .client("mysqldump")
            .args(["--skip-dump-date", "--routines", "--triggers", "--databases", "data"])
            .preload(preload)
    };
    let mut dumps = Vec::new();
    for (preload, keepalive) in switched_on_by_itself() {
        let mut holder = mariadb.mysql().stdin(Stdio::piped()).start()?;
        holder.write("LOCK TABLES data.kinds WRITE; SELECT 'locked';\n")?;
        holder.wait_for_output("locked")?;
        let mut mysqldump = dump(preload).start()?;
        mysqldump.until("mysqldump to meet the lock", |_| {
            let waiting = "SELECT COUNT(*) FROM information_schema.processlist \
                           WHERE state = 'Waiting for table metadata lock' AND info LIKE 'LOCK TABLES%'";
            Ok((mariadb.query(waiting)? == "1\n").then_some(()))
        })?;
        mysqldump.expect(to(mariadb.port), keepalive)?;
        drop(holder);
        dumps.push(mysqldump.output()?.success()?);
    }
    assert!(dumps[0].len() > 2_000_000, "the dump has only {} bytes", dumps[0].len());
    assert!(dumps[0] == dumps[1], "the dump under the library differs");
    // And back in, under the library: what is then dumped is the same again.
    let scratch = Scratch::new()?;
    let file = scratch.write("dump", &dumps[1])?;
    mariadb.query("DROP DATABASE data")?;
    mariadb.client("mysql").stdin(fs::File::open(file)?).preload(Preload::OURS).succeed()?;
    assert!(dump(Preload::No).succeed()? == dumps[0], "the restored database differs");
    Ok(())
}

fn mysql_client() -> Result {
    let mariadb = MariaDb::shared()?;
    for (preload, keepalive) in switched_on_by_itself() {
        let mut holder = mariadb.mysql().stdin(Stdio::piped()).start()?;
        holder.write("SELECT GET_LOCK('gate', 60);\n")?;
        holder.wait_for_output("1\n")?;
        let mut mysql =
            mariadb.mysql().args(["-e", "SELECT GET_LOCK('gate', 60) + 41"]).preload(preload).start()?;
        mysql.until("mysql to meet the lock", |_| {
            let waiting = "SELECT COUNT(*) FROM information_schema.processlist WHERE state = 'User lock'";
            Ok((mariadb.query(waiting)? == "1\n").then_some(()))
        })?;
        mysql.expect(to(mariadb.port), keepalive)?;
        drop(holder);
        assert_eq!(mysql.output()?.success()?, b"42\n");
    }
    Ok(())
}

/// Runs a client whose statement waits for an advisory lock.
fn behind_postgres_lock(
    postgres: &Postgres,
    key: u32,
    client: impl Fn(&str) -> Program,
    answer: &str,
) -> Result {
    for (preload, keepalive) in switched_on_by_itself() {
        let mut holder = postgres.psql().stdin(Stdio::piped()).start()?;
        holder.write(&format!("SELECT 'locked' FROM pg_advisory_lock({key});\n"))?;
        holder.wait_for_output("locked")?;
        let mut client =
            client(&format!("SELECT 42 FROM pg_advisory_lock({key})")).preload(preload).start()?;
        client.until("the client to meet the lock", |_| {
            let waiting = format!(
                "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = {key} AND NOT granted"
            );
            Ok((postgres.query(&waiting)? == "1\n").then_some(()))
        })?;
        client.expect(to(postgres.port), keepalive)?;
        drop(holder);
        assert_eq!(String::from_utf8(client.output()?.success()?)?, answer);
    }
    Ok(())
}

fn psql() -> Result {
    let postgres = Postgres::shared()?;
    behind_postgres_lock(postgres, 1, |sql| postgres.psql().args(["-c", sql]), "42\n")?;
    // Some 2 MB of real data come out the same.
    postgres.query(
        "CREATE TABLE kinds AS SELECT i, i / 7.0 AS number, now() - i * interval '1 hour' AS moment,
            repeat('Grüße 世界 🐘', i % 20) AS words, decode(repeat(md5(i::text), 10), 'hex') AS raw,
            ARRAY[i, NULL, -i] AS list, json_build_object('i', i) AS document
         FROM generate_series(1, 4000) AS i",
    )?;
    let copy = |preload| postgres.psql().args(["-c", "COPY kinds TO STDOUT"]).preload(preload).succeed();
    let plain = copy(Preload::No)?;
    assert!(plain.len() > 2_000_000, "only {} bytes", plain.len());
    assert!(plain == copy(Preload::OURS)?, "the copy under the library differs");
    Ok(())
}

fn psycopg2() -> Result {
    let postgres = Postgres::shared()?;
    let client = |sql: &str| {
        Program::new("python3").arg(program_file("psycopg2_client.py")).arg(postgres.conninfo()).arg(sql)
    };
    behind_postgres_lock(postgres, 2, client, "42\n")
}

// Clients with servers of their own.

fn ssh_session() -> Result {
    let sshd = Ssh::start(Preload::No)?;
    for (preload, keepalive) in switched_on_by_itself() {
        let mut ssh = sshd
            .client("read -r line && echo \"got $line\" && cat && exit 7")
            .stdin(Stdio::piped())
            .preload(preload)
            .start()?;
        ssh.write("hello\n")?;
        ssh.wait_for_output("got hello\n")?;
        ssh.expect(to(sshd.port), keepalive)?;
        ssh.write("more\n")?;
        let output = ssh.output()?;
        assert_eq!(output.stdout, b"got hello\nmore\n");
        assert_eq!(output.status.code(), Some(7), "the remote command's exit status");
    }
    Ok(())
}

fn git_clone(transport: GitTransport) -> Result {
    let cases = match transport {
        GitTransport::Daemon => switched_on_by_itself(),
        // libcurl again.
        GitTransport::Http => curl_without_and_with()?,
    };
    for (preload, keepalive) in cases {
        let server = Git::start(transport)?;
        let scratch = Scratch::new()?;
        let mut clone = server.clone_to(&scratch.join("clone")).preload(preload).start()?;
        server.gate.wait()?;
        clone.expect(to(server.port), keepalive)?;
        server.gate.open()?;
        clone.output()?.success()?;
        assert_eq!(git_head(&scratch.join("clone"))?, server.head()?);
    }
    Ok(())
}

fn rsync() -> Result {
    for (preload, keepalive) in touched_by_us() {
        let server = Rsync::start(Preload::No)?;
        let scratch = Scratch::new()?;
        let mut rsync = server.client(&scratch.join("copy")).preload(preload).start()?;
        server.gate.wait()?;
        rsync.expect(to(server.port), keepalive)?;
        server.gate.open()?;
        rsync.output()?.success()?;
        for file in ["small", "large"] {
            assert!(fs::read(scratch.join("copy").join(file))? == fs::read(server.data().join(file))?);
        }
    }
    Ok(())
}

fn redis_cli(cases: &[Case]) -> Result {
    let redis = Redis::start(Preload::No)?;
    for &(preload, keepalive) in cases {
        let mut subscriber = redis.client().args(["SUBSCRIBE", "news"]).preload(preload).start()?;
        subscriber.wait_for_output("subscribe")?;
        subscriber.expect(to(redis.port), keepalive)?;
        assert_eq!(redis.client().args(["PUBLISH", "news", "hello"]).succeed()?, b"1\n");
        subscriber.wait_for_output("hello")?;
    }
    Ok(())
}

// Downloads: the test is the server, and stops in the middle of the answer.

fn download(client: impl Fn(&str) -> Program, cases: &[Case]) -> Result {
    let body: Vec<u8> = (0..1_000_000_u32).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let (first, second) = body.split_at(body.len() / 2);
    for &(preload, keepalive) in cases {
        let listener = Listener::bind()?;
        let mut client = client(&listener.url()).preload(preload).start()?;
        let mut connection = listener.accept()?;
        assert!(read_request(&mut connection)?.starts_with("GET / HTTP/1.1\r\n"));
        write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())?;
        connection.write_all(first)?;
        client.until("half the answer", |client| {
            Ok((client.stdout().len() >= first.len() / 2).then_some(()))
        })?;
        client.expect(to(listener.port()), keepalive)?;
        connection.write_all(second)?;
        assert!(client.output()?.success()? == body, "what arrived differs");
    }
    Ok(())
}

/// Since 8.9 curl sets the count too, to the kernel's default: that it does is seen in its calls alone.
fn curl_without_and_with() -> Result<[Case; 2]> {
    let scratch = Scratch::new()?;
    let calls = scratch.join("calls");
    let refused = format!("http://127.0.0.1:{}/", free_port()?);
    Program::new("strace")
        .args(["-f", "-e", "trace=setsockopt", "-o"])
        .arg(&calls)
        .args(["curl", "-q", "-sS", &refused])
        .run()?;
    let calls = fs::read_to_string(&calls)?;
    assert!(calls.contains("TCP_KEEPIDLE"), "{calls}");
    let count = if calls.contains("TCP_KEEPCNT") { CURL.count } else { 5 };
    Ok([(Preload::No, CURL), (Preload::OURS, Keepalive { count, ..CURL })])
}

fn curl(cases: &[Case]) -> Result {
    download(|url| Program::new("curl").args(["-q", "-sS", url]), cases)
}

fn node_agent(cases: &[Case]) -> Result {
    for &(preload, keepalive) in cases {
        let listener = Listener::bind()?;
        let mut node = node_client("agent", &listener.port().to_string()).preload(preload).start()?;
        let mut connection = listener.accept()?;
        for (number, answer) in ["one\n", "two\n"].iter().enumerate() {
            read_request(&mut connection)?;
            if number == 1 {
                // The connection has been back in the agent's pool by now.
                node.expect(to(listener.port()), keepalive)?;
            }
            write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len())?;
        }
        assert_eq!(node.output()?.success()?, b"one\ntwo\n");
    }
    Ok(())
}

fn node_fetch() -> Result {
    // Since node 20 fetch sets its own; before that it set nothing.
    let version = String::from_utf8(Program::new("node").args(["-p", "process.version"]).succeed()?)?;
    let major: u32 = version.trim_start_matches('v').split('.').next().unwrap_or_default().parse()?;
    let cases =
        if major < 20 { touched_by_us() } else { [(Preload::No, NODE_FETCH), (Preload::OURS, NODE_FETCH)] };
    for (preload, keepalive) in cases {
        let listener = Listener::bind()?;
        let mut node = node_client("fetch", &listener.port().to_string()).preload(preload).start()?;
        let mut connection = listener.accept()?;
        read_request(&mut connection)?;
        node.expect(to(listener.port()), keepalive)?;
        write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\none\n")?;
        assert_eq!(node.output()?.success()?, b"one\n");
    }
    Ok(())
}

fn node_client(how: &str, port: &str) -> Program {
    Program::new("node").arg(program_file("client.js")).args([how, port])
}

// Programs that just talk: one line each way.

fn hello(client: impl Fn(&str) -> Program) -> Result {
    hello_checked(client, |_| Ok(()))
}

/// Has the client say hello, looks at its socket, which `check` may do too, and answers.
fn hello_checked(client: impl Fn(&str) -> Program, check: impl Fn(&Socket) -> Result) -> Result {
    for (preload, keepalive) in touched_by_us() {
        let listener = Listener::bind()?;
        let mut client = client(&listener.port().to_string()).preload(preload).start()?;
        let mut connection = listener.accept()?;
        assert_eq!(read_line(&mut connection)?, "hello");
        check(&client.expect(to(listener.port()), keepalive)?)?;
        connection.write_all(b"and hello to you\n")?;
        drop(connection);
        assert_eq!(String::from_utf8(client.output()?.success()?)?, "and hello to you\n");
    }
    Ok(())
}

fn python(how: &str) -> Result {
    hello(|port| Program::new("python3").arg(program_file("client.py")).args([how, port]))
}

fn java_client(how: &str) -> Result {
    let classes = java_classes(&program_file("Client.java"))?;
    hello_checked(
        |port| {
            Program::new("java").args(["-XX:+UseSerialGC", "-cp"]).arg(&classes).args(["Client", how, port])
        },
        |socket| {
            assert!(socket.ipv6, "java makes AF_INET6 sockets for everything: {socket:?}");
            Ok(())
        },
    )
}

fn bash() -> Result {
    hello(|port| {
        Program::new("bash").args([
            "-c",
            "exec 3<>/dev/tcp/127.0.0.1/$1; echo hello >&3; read -r line <&3; echo \"$line\"",
            "bash",
            port,
        ])
    })
}

fn socat() -> Result {
    // It takes what it is to say from a file, and stays for the answer.
    let scratch = Scratch::new()?;
    let file = scratch.write("hello", "hello\n")?;
    hello(|port| {
        let file = fs::File::open(&file).expect("just written");
        Program::new("socat").args(["-t", "30", "-", &format!("TCP:127.0.0.1:{port}")]).stdin(file)
    })
}
