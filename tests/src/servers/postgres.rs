//! PostgreSQL.

use std::sync::OnceLock;

use crate::lab::Place;
use crate::{Preload, Program, Result, Running, Scratch, free_port};

/// A data directory.
#[derive(Debug)]
pub struct PostgresData(Scratch);

impl PostgresData {
    /// A new one; takes some seconds.
    pub fn install() -> Result<Self> {
        let directory = Scratch::new()?;
        directory.give_to("postgres")?;
        Program::new("initdb")
            .arg("-D")
            .arg(directory.join("data"))
            .args(["-U", "postgres", "-A", "trust", "--no-sync", "--no-instructions"])
            .directory(directory.path())
            .user("postgres")?
            .succeed()?;
        Ok(Self(directory))
    }

    /// A server on it. Only one at a time.
    pub fn start(&self, preload: Preload) -> Result<Postgres> {
        self.start_at(&Place::local(), preload)
    }

    /// A server on it, somewhere else. It trusts every host in the lab.
    pub fn start_at(&self, place: &Place, preload: Preload) -> Result<Postgres> {
        let trust = format!("host all all {}/8 trust\n", place.address);
        let hosts = self.0.write("pg_hba.conf", trust)?;
        let port = free_port()?;
        let server = Program::new("postgres")
            .arg("-D")
            .arg(self.0.join("data"))
            .args(["-p", &port.to_string(), "-c", &format!("listen_addresses={}", place.address)])
            .args(["-c", &format!("hba_file={}", hosts.display()), "-c", "fsync=off", "-k"])
            .arg(self.0.path())
            .directory(self.0.path())
            .user("postgres")?
            .at(place)
            .preload(preload)
            .start()?;
        let mut postgres = Postgres { server, port, place: place.clone() };
        // It listens some time before it answers.
        postgres.server.until("the server to be ready", |server| {
            Ok(server.stderr().contains("ready to accept connections").then_some(()))
        })?;
        Ok(postgres)
    }
}

/// A PostgreSQL server.
#[derive(Debug)]
pub struct Postgres {
    /// The server itself.
    pub server: Running,
    /// Its port.
    pub port: u16,
    place: Place,
}

impl Postgres {
    /// The one that all tests of this binary share.
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<(PostgresData, Postgres)>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| {
            let data = PostgresData::install()?;
            let server = data.start(Preload::No)?;
            Ok((data, server))
        });
        shared.as_ref().map(|(_, server)| server).map_err(Clone::clone)
    }

    /// How libpq is told to connect to it over TCP.
    pub fn conninfo(&self) -> String {
        format!("host={} port={} user=postgres dbname=postgres", self.place.address, self.port)
    }

    /// `psql` that prints bare values.
    pub fn psql(&self) -> Program {
        Program::new("psql")
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d"])
            .arg(self.conninfo())
    }

    /// Runs statements on the server's side in a connection of their own, and returns what they print.
    pub fn query(&self, sql: &str) -> Result<String> {
        Ok(String::from_utf8(self.psql().at(&self.place).arg("-c").arg(sql).succeed()?)?)
    }
}
