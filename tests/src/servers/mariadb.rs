//! MariaDB.

use std::sync::OnceLock;

use crate::lab::Place;
use crate::{Preload, Program, Result, Running, Scratch, free_port};

/// A data directory.
#[derive(Debug)]
pub struct MariaDbData(Scratch);

impl MariaDbData {
    /// A new one; takes some seconds.
    pub fn install() -> Result<Self> {
        let directory = Scratch::new()?;
        directory.give_to("mysql")?;
        Program::new("mariadb-install-db")
            .arg("--no-defaults")
            .arg(format!("--datadir={}", directory.join("data").display()))
            .args(["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"])
            .args(["--innodb-log-file-size=8M", "--innodb-buffer-pool-size=16M"])
            .env("TMPDIR", directory.path())
            .user("mysql")?
            .succeed()?;
        Ok(Self(directory))
    }

    /// A server on it. Only one at a time.
    pub fn start(&self, preload: Preload) -> Result<MariaDb> {
        self.start_at(&Place::local(), preload)
    }

    /// A server on it, somewhere else. It lets every host in the lab in.
    pub fn start_at(&self, place: &Place, preload: Preload) -> Result<MariaDb> {
        let users = "CREATE USER IF NOT EXISTS root@'%';\nGRANT ALL ON *.* TO root@'%';\n";
        let users = self.0.write("users.sql", users)?;
        let port = free_port()?;
        let mut server = Program::new("mariadbd")
            .arg("--no-defaults")
            .arg(format!("--datadir={}", self.0.join("data").display()))
            .arg(format!("--socket={}", self.0.join("socket").display()))
            .arg(format!("--pid-file={}", self.0.join("pid").display()))
            .arg(format!("--tmpdir={}", self.0.path().display()))
            .arg(format!("--port={port}"))
            .arg(format!("--bind-address={}", place.address))
            .arg(format!("--init-file={}", users.display()))
            .args(["--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0"])
            .args(["--innodb-log-file-size=8M", "--innodb-buffer-pool-size=16M", "--innodb-fast-shutdown=2"])
            .user("mysql")?
            .at(place)
            .preload(preload)
            .start()?;
        server.wait_for_port(port)?;
        Ok(MariaDb { server, port, place: place.clone() })
    }
}

/// A MariaDB server.
#[derive(Debug)]
pub struct MariaDb {
    /// The server itself.
    pub server: Running,
    /// Its port.
    pub port: u16,
    place: Place,
}

impl MariaDb {
    /// The one that all tests of this binary share.
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<(MariaDbData, MariaDb)>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| {
            let data = MariaDbData::install()?;
            let server = data.start(Preload::No)?;
            Ok((data, server))
        });
        shared.as_ref().map(|(_, server)| server).map_err(Clone::clone)
    }

    /// A client program (`mysql`, `mysqldump`) that is to connect to it over TCP.
    pub fn client(&self, program: &str) -> Program {
        Program::new(program)
            .args(["--no-defaults", "--user=root", "--default-character-set=utf8mb4"])
            .arg(format!("--host={}", self.place.address))
            .arg(format!("--port={}", self.port))
    }

    /// `mysql` that prints bare values, each as soon as it has it.
    pub fn mysql(&self) -> Program {
        self.client("mysql").args(["--batch", "--skip-column-names", "--unbuffered"])
    }

    /// Runs statements on the server's side in a connection of their own, and returns what they print.
    pub fn query(&self, sql: &str) -> Result<String> {
        Ok(String::from_utf8(self.mysql().at(&self.place).arg("-e").arg(sql).succeed()?)?)
    }
}
