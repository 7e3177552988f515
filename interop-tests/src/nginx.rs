//! nginx on a host: a web server that others wrote.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::lab::Host;
use crate::process::Process;
use crate::programs;

/// nginx with a folder to serve.
#[derive(Debug)]
pub struct Nginx {
    home: TempDir,
    base: String,
    _process: Process,
}

impl Nginx {
    /// Serves a folder with these files.
    ///
    /// # Panics
    /// If nginx does not start.
    pub fn start(host: &Host, files: &[(&str, &[u8])]) -> Self {
        const PORT: u16 = 8081;
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path();
        std::fs::create_dir(path.join("files")).expect("a folder in it");
        let address = host.socket(PORT);
        let here = path.display();
        std::fs::write(path.join("nginx.conf"), configuration(&here.to_string(), &address.to_string()))
            .expect("it fits");
        let mut nginx = Command::new(programs::find("nginx"));
        let mut process = host.spawn(nginx.arg("-p").arg(path).arg("-c").arg(path.join("nginx.conf")));
        process.wait_listening(PORT);
        let nginx = Self { base: format!("http://{address}/"), home, _process: process };
        files.iter().for_each(|(name, bytes)| nginx.replace(name, bytes));
        nginx
    }

    /// The URL of its folder, with a slash at the end.
    pub fn base(&self) -> String {
        self.base.clone()
    }

    /// The URL of a file.
    pub fn url(&self, name: &str) -> String {
        format!("{}{name}", self.base)
    }

    /// Puts a file in place of another, at once.
    ///
    /// # Panics
    /// If the disk has no room.
    pub fn replace(&self, name: &str, bytes: &[u8]) {
        let folder: &Path = self.home.path();
        std::fs::write(folder.join("new"), bytes).expect("it fits");
        std::fs::rename(folder.join("new"), folder.join("files").join(name)).expect("the same file system");
    }

    /// The requests that it has answered: for each the line, the status and the number of bytes sent.
    pub fn requests(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.home.path().join("requests")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

fn configuration(home: &str, address: &str) -> String {
    format!(
        "daemon off; worker_processes 1; user root; pid {home}/pid; error_log stderr;
         events {{ worker_connections 256; }}
         http {{
             types {{ text/plain txt; }}
             default_type application/octet-stream;
             gzip on; gzip_proxied any; gzip_types text/plain; gzip_min_length 1;
             log_format plain '$request $status $body_bytes_sent';
             access_log {home}/requests plain; client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
             fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
             server {{ listen {address}; root {home}/files; }}
         }}"
    )
}
