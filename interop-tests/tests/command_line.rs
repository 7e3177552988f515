//! `peerdist get` and `peerdist serve` as their users start them, on hosts of the lab: their words, what they print, and
//! their exit statuses.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use peerdist_interop_tests::isolated;
use peerdist_interop_tests::lab::{Host, Lab, Plan};
use peerdist_interop_tests::nodes::{ContentServer, Node, PEERDIST_HEADERS, content};
use peerdist_interop_tests::process::{Finished, PATIENCE};
use peerdist_interop_tests::programs;
use tempfile::TempDir;

/// A user without a daemon.
struct User {
    host: Host,
    home: TempDir,
}

impl User {
    fn on(host: &Host) -> Self {
        Self { host: host.clone(), home: TempDir::with_prefix("user-").expect("a temporary folder") }
    }

    fn peerdist(&self, words: &[&str]) -> Finished {
        let mut command = Command::new(programs::peerdist());
        command.args(words).current_dir(self.home.path()).env("HOME", self.home.path());
        for variable in ["XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"] {
            command.env_remove(variable);
        }
        for socket in ["PEERDIST_SOCKET", "PEERDIST_ADMIN_SOCKET"] {
            command.env(socket, self.home.path().join("no-daemon"));
        }
        self.host.run(&mut command, PATIENCE)
    }

    /// The standard error of a command that ended with this status.
    #[track_caller]
    fn fails(&self, words: &[&str], status: i32) -> String {
        let ran = self.peerdist(words);
        assert_eq!(ran.status.code(), Some(status), "{words:?}: {}{}", ran.stdout, ran.stderr);
        ran.stderr
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.home.path().join(name)).expect("the file is there")
    }
}

#[test]
fn get_without_a_daemon_asks_the_lan_and_keeps_a_cache() {
    isolated::run(|| {
        let lab = Lab::new(Plan::default());
        let file = content(3_000_000, 70);
        let server = ContentServer::folder(&lab.origin, &[("file", &file)]);
        let url = server.url("file");
        let first = Node::start(&lab.hosts[0]);
        first.get(&url, &file);

        let user = User::on(&lab.hosts[1]);
        let ran = user.peerdist(&["get", &url, "-o", "received", "--json"]).success();
        let report: serde_json::Value = serde_json::from_str(&ran.stdout).expect("exactly one JSON value");
        assert_eq!(report["bytes"], 3_000_000);
        assert_eq!(report["content_information"], "v2");
        assert_eq!(report["sources"]["origin"], 0, "{report}");
        assert!(report["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
        assert_eq!(report["sha256"].as_str().map(str::len), Some(64));
        assert!(user.read("received") == file);

        // The name comes from the URL; the bytes from the cache that the first run left.
        let ran = user.peerdist(&["get", &url, "--explain"]).success();
        assert!(user.read("file") == file);
        assert!(ran.stdout.contains("cache"), "{}", ran.stdout);
        let ran = user.peerdist(&["get", &url, "--explain", "--json", "-o", "received"]).success();
        let report: serde_json::Value = serde_json::from_str(&ran.stdout).expect("exactly one JSON value");
        assert_eq!(report["sources"]["cache"], 3_000_000, "{report}");
        assert!(report["explanation"]["segments"].is_array());
    });
}

#[test]
fn get_writes_to_standard_output_alone_when_asked_to() {
    isolated::run(|| {
        let lab = Lab::new(Plan::default());
        let text = "one line\n".repeat(20_000);
        let server = ContentServer::folder(&lab.origin, &[("file", text.as_bytes())]);
        let user = User::on(&lab.hosts[0]);
        let ran = user.peerdist(&["get", &server.url("file"), "-o", "-"]).success();
        // The user named a daemon, and there is none.
        let said: Vec<_> = ran.stderr.lines().collect();
        assert!(ran.stdout == text, "{}", ran.stderr);
        assert!(matches!(&said[..], [line] if line.ends_with(": going on without a daemon")), "{}", ran.stderr);
        user.fails(&["get", &server.url("file"), "-o", "-", "--json"], 2);
    });
}

#[test]
fn get_says_what_went_wrong_and_leaves_no_half_file() {
    isolated::run(|| {
        let lab = Lab::new(Plan::default());
        let file = content(1_000_000, 71);
        let server = ContentServer::folder(&lab.origin, &[("file", &file)]);
        let url = server.url("file");
        let user = User::on(&lab.hosts[0]);
        assert!(user.fails(&["get", &server.url("missing"), "-o", "received"], 3).contains("404"));
        let nobody = format!("http://{}/file", lab.origin.socket(1));
        assert!(user.fails(&["get", &nobody, "-o", "received"], 3).contains("refused"));
        assert!(user.fails(&["get", "ftp://server/file"], 2).contains("http"));
        user.fails(&["get", &server.url(""), "-o", "no/such/folder/received"], 1);
        assert!(user.fails(&["get", &url, "-o", "/dev/full"], 1).contains("No space left"));
        let left: Vec<_> = std::fs::read_dir(user.home.path()).expect("a folder").flatten().collect();
        assert!(left.iter().all(|entry| entry.file_name().to_string_lossy().starts_with('.')), "{left:?}");
        assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().ends_with(".part")), "{left:?}");
        // An existing file is replaced as a whole, or stays as it was.
        std::fs::write(user.home.path().join("received"), "as it was").expect("the disk has room");
        user.fails(&["get", &server.url("missing"), "-o", "received"], 3);
        assert_eq!(user.read("received"), b"as it was");
        user.peerdist(&["get", &url, "-o", "received"]).success();
        assert!(user.read("received") == file);
    });
}

#[test]
fn servers_with_the_same_secret_key_hand_out_the_same_content_information() {
    isolated::run(|| {
        let lab = Lab::new(Plan::default());
        let home = TempDir::with_prefix("serve-").expect("a temporary folder");
        let folder = home.path().join("files");
        std::fs::create_dir(&folder).expect("an empty folder");
        std::fs::write(folder.join("file"), content(500_000, 72)).expect("the disk has room");
        let key = home.path().join("key");
        std::fs::write(&key, [7; 32]).expect("the disk has room");
        std::fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("it is ours");
        let serve = |state: &str, secret: bool| {
            let mut command = Command::new(programs::peerdist());
            command.arg("serve").arg(&folder).args(["--listen", &lab.origin.socket(0).to_string(), "--state"]);
            command.arg(home.path().join(state));
            if secret {
                command.arg("--secret-key").arg(&key);
            }
            let mut process = lab.origin.spawn(&mut command);
            let base = process.wait_for_line("http://").trim().to_owned();
            (process, base)
        };
        let ask = |base: &str| {
            let answer = home.path().join("answer");
            let mut curl = Command::new(programs::find("curl"));
            curl.args(["--silent", "--fail", "--output"])
                .arg(&answer)
                .args(["--write-out", "%header{content-encoding}"]);
            curl.arg(format!("{base}file"));
            PEERDIST_HEADERS.iter().for_each(|header| _ = curl.args(["--header", header]));
            peerdist_interop_tests::process::wait_until("content information", PATIENCE, || {
                let ran = lab.hosts[0].run(&mut curl, PATIENCE).success();
                (ran.stdout == "peerdist").then(|| std::fs::read(&answer).expect("curl wrote it"))
            })
        };
        let servers = [serve("one", true), serve("two", true), serve("three", false)];
        let [one, two, three] = servers.each_ref().map(|(_, base)| ask(base));
        assert!(one == two, "the same file under the same secret");
        assert!(one != three, "another secret");
    });
}

#[test]
fn serve_says_what_is_wrong_with_its_words() {
    isolated::run(|| {
        let lab = Lab::new(Plan::default());
        let user = User::on(&lab.origin);
        assert!(user.fails(&["serve", "no-such-folder", "--listen", "127.0.0.1:0"], 1).contains("no-such-folder"));
        user.fails(&["serve", ".", "--listen", "nowhere"], 2);
        user.fails(&["serve", "."], 2);
        assert!(user.fails(&["serve", ".", "--listen", "192.0.2.1:80"], 1).contains("192.0.2.1:80"));
        let error = user.fails(&["serve", ".", "--listen", "127.0.0.1:0", "--secret-key", "missing"], 1);
        assert!(error.contains("missing"), "{error}");
        std::fs::write(user.home.path().join("key"), [7; 32]).expect("the disk has room");
        std::fs::set_permissions(user.home.path().join("key"), Permissions::from_mode(0o644)).expect("it is ours");
        let error = user.fails(&["serve", ".", "--listen", "127.0.0.1:0", "--secret-key", "key"], 7);
        assert!(error.contains("chmod 600"), "{error}");
    });
}
