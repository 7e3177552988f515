//! Sessions of other processes and other users.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use bytes::Bytes;
use peerdist_node::control::wire::ErrorCode;
use rustix::process::geteuid;

use super::{code, held, publish};
use crate::daemon::Home;
use crate::fixture::content;

/// A client in a few lines: `ask` makes a request on a connection of its own and leaves it open.
const CLIENT: &str = r#"
import http.client, json, os, signal, socket, sys

class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(sys.argv[1])

def ask(method, path, body=b"", token=""):
    connection = Unix("x")
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Peerdist-Session": token}
    connection.request(method, path, body, headers)
    return connection, connection.getresponse()

def session():
    connection, events = ask("POST", "/v1/sessions")
    return (connection, events), json.loads(events.readline())["token"]

def publish(token, identifier, body):
    opened = ask("POST", "/v1/streams", b'{"identifier":"%s"}' % identifier, token)[1]
    stream = json.loads(opened.read())["id"]
    ask("PUT", "/v1/streams/%d/data" % stream, body, token)[1].read()
    ask("POST", "/v1/streams/%d/complete" % stream, b"", token)[1].read()
    return opened.status

def say(*words):
    print(*words, flush=True)
"#;

/// A script that runs behind [`CLIENT`], if there is Python.
struct Script {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Script {
    fn start(home: &Home, text: &str, words: &[&str]) -> Option<Self> {
        let mut command = Command::new("python3");
        command.args(["-c", &format!("{CLIENT}\n{text}")]).arg(home.api_socket()).args(words);
        let mut child = match command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
            Ok(child) => child,
            Err(error) => {
                skip(&format!("python3 does not start: {error}"));
                return None;
            }
        };
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Some(Self { child, input, output })
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}

#[tokio::test]
async fn a_session_ends_with_its_process_though_a_child_keeps_the_connection() {
    let home = Home::new("");
    let _daemon = home.start();
    let witness = home.session().await;
    let text = r#"
anchor, token = session()
publish(token, b"6869", b"bytes")
if os.fork() == 0:
    sys.stdin.read()
    say("the child is there, and its connection", anchor[0].sock.fileno() >= 0)
    os._exit(0)
say("ready")
signal.pause()
"#;
    let Some(mut script) = Script::start(&home, text, &[]) else { return };
    assert_eq!(script.line(), "ready");
    assert_eq!(witness.publications().await.unwrap().len(), 1);
    assert_eq!(held(&home, "sessions").await, 2);
    script.child.kill().unwrap();
    script.child.wait().unwrap();
    while held(&home, "sessions").await != 1 {}
    assert!(witness.publications().await.unwrap().is_empty());
    // The end of its input tells the child to speak, and to end.
    drop(script.input.take());
    let mut said = String::new();
    script.output.read_to_string(&mut said).unwrap();
    assert_eq!(said, "the child is there, and its connection True\n");
}

#[tokio::test]
async fn each_user_has_publications_of_their_own() {
    if !geteuid().is_root() {
        return skip("only root can become another user");
    }
    let home = Home::new("");
    let _daemon = home.start();
    std::fs::set_permissions(home.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
    let own = home.session().await;
    let bytes = Bytes::from(content(1000));
    publish(&own, b"hi", &bytes).await;
    let text = r#"
os.setgroups([]), os.setgid(65534), os.setuid(65534)
anchor, token = session()
say(publish(token, b"6869", b"bytes"))
say(ask("GET", "/v1/publications", b"", token)[1].read().decode())
say(token)
sys.stdin.readline()
say(ask("DELETE", "/v1/publications/6869", b"", token)[1].status)
say(ask("DELETE", "/v1/publications/6869", b"", token)[1].status)
sys.stdin.read()
"#;
    let Some(mut script) = Script::start(&home, text, &[]) else { return };
    assert_eq!(script.line(), "201");
    assert_eq!(script.line(), r#"{"publications":[{"identifier":"6869","length":5}]}"#);
    assert_eq!(held(&home, "users").await, 2);
    assert_eq!(held(&home, "publications").await, 2);
    let lines = own.publications().await.unwrap();
    assert_eq!(lines.iter().map(|line| line.length).collect::<Vec<_>>(), [1000]);
    assert_eq!(code(own.publish(b"hi", 0, 2).await), ErrorCode::AlreadyExists);
    let token = script.line();
    assert_eq!(token.len(), 32);
    let mut thief = UnixStream::connect(home.api_socket()).unwrap();
    let request =
        format!("GET /v1/publications HTTP/1.1\r\nHost: x\r\nConnection: close\r\nPeerdist-Session: {token}\r\n\r\n");
    thief.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    thief.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "not even root has another user's session: {answer}");
    script.tell("go on");
    assert_eq!((script.line().as_str(), script.line().as_str()), ("204", "404"), "theirs is gone");
    assert_eq!(own.publications().await.unwrap(), lines, "ours is not");
}
