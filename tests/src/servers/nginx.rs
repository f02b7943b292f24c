//! nginx.

use crate::lab::{Namespace, Place};
use crate::{Preload, Program, Result, Running, Scratch, free_port, is_root};

/// An nginx that passes every request on to an upstream server, on a connection that it keeps if the server does. As root its worker runs as www-data.
#[derive(Debug)]
pub struct Nginx {
    /// The server itself.
    pub server: Running,
    /// Its port.
    pub port: u16,
    _files: Scratch,
}

impl Nginx {
    /// Starts one in front of this port of 127.0.0.1.
    pub fn start(upstream: u16, preload: Preload) -> Result<Self> {
        Self::start_at(&Place::local(), &format!("127.0.0.1:{upstream}"), preload)
    }

    /// Starts one on 127.0.0.1 of a namespace, in front of this address and port.
    pub fn start_in(namespace: &Namespace, upstream: &str, preload: Preload) -> Result<Self> {
        let place = Place { namespace: Some(namespace.clone()), ..Place::local() };
        Self::start_at(&place, upstream, preload)
    }

    fn start_at(place: &Place, upstream: &str, preload: Preload) -> Result<Self> {
        let files = Scratch::new()?;
        let port = free_port()?;
        let user = if is_root() { "user www-data;" } else { "" };
        let config = files.write(
            "nginx.conf",
            format!(
                "{user} daemon off; pid nginx.pid; worker_processes 1; error_log stderr;\n\
                 events {{}}\n\
                 http {{\n\
                 access_log off; client_body_temp_path body; proxy_temp_path proxy;\n\
                 fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n\
                 upstream behind {{ server {upstream}; keepalive 1; }}\n\
                 proxy_http_version 1.1; proxy_set_header Connection '';\n\
                 server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://behind; }} }}\n\
                 }}\n"
            ),
        )?;
        let mut server = Program::new("nginx")
            .arg("-p")
            .arg(files.path())
            .arg("-c")
            .arg(config)
            .args(["-e", "stderr"])
            .at(place)
            .preload(preload)
            .start()?;
        server.wait_for_port(port)?;
        Ok(Self { server, port, _files: files })
    }
}
