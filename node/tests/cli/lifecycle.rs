//! The daemon's start, reload and stop.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use peerdist_node::control::client::ClientError;
use peerdist_node::control::wire::ErrorCode;
use rustix::process::{Signal, geteuid};

use crate::daemon::{Home, exists};
use crate::run::{Ran, command};

#[test]
fn it_says_when_it_is_ready_and_takes_its_sockets_away() {
    let home = Home::new("");
    let daemon = home.start();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&home.admin_socket()), mode(&home.api_socket())), (0o600, 0o666));
    daemon.signal(Signal::TERM);
    assert!(home.notified().starts_with("STOPPING=1"));
    assert!(daemon.wait().success(), "{}", home.log());
    assert!(!exists(&home.admin_socket()) && !exists(&home.api_socket()));
}

#[test]
fn the_command_line_runs_it_too() {
    let home = Home::new("");
    let config = home.config();
    let mut daemon = command(["daemon".as_ref(), "--config".as_ref(), config.as_os_str()]);
    daemon.env("NOTIFY_SOCKET", home.path("notify")).stderr(std::process::Stdio::null());
    let mut child = daemon.spawn().unwrap();
    assert!(home.notified().starts_with("READY=1"));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::INT).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_killed_daemon_leaves_nothing_in_the_way_of_the_next() {
    let home = Home::new("");
    let daemon = home.start();
    daemon.signal(Signal::KILL);
    daemon.wait();
    assert!(exists(&home.admin_socket()));
    let next = home.start();
    assert!(home.peerdist(&["status"]).stdout().contains("version"));
    drop(next);
}

#[test]
fn a_second_daemon_leaves_the_first_alone() {
    let home = Home::new("");
    let first = home.start();
    // Another cache, the same sockets.
    let other = home.path("other.toml");
    let text = std::fs::read_to_string(home.config()).unwrap().replace("/cache\"", "/other-cache\"");
    std::fs::write(&other, text).unwrap();
    let refused = Ran::of(command(["daemon".as_ref(), "--config".as_ref(), other.as_os_str()]));
    assert_eq!(refused.status, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("another daemon listens"), "{}", refused.stderr);
    // The same cache, other sockets.
    let text = std::fs::read_to_string(home.config()).unwrap().replace(".sock\"", ".sock2\"");
    std::fs::write(&other, text).unwrap();
    let refused = Ran::of(command(["daemon".as_ref(), "--config".as_ref(), other.as_os_str()]));
    assert_eq!(refused.status, 6, "{}", refused.stderr);
    assert!(home.peerdist(&["status"]).stdout().contains("version"));
    drop(first);
}

#[test]
fn a_wrong_configuration_ends_it_with_64() {
    let home = Home::new("nonsense = 1");
    let config = home.config();
    let ran = Ran::of(command(["daemon".as_ref(), "--config".as_ref(), config.as_os_str()]));
    assert!(ran.error(64).contains("nonsense"));
}

#[test]
fn no_daemon_is_told_from_no_permission() {
    let home = Home::new("");
    let error = home.peerdist(&["status"]).error(5);
    assert!(error.contains("no daemon at") && error.contains("PEERDIST_ADMIN_SOCKET"), "{error}");
    assert!(!error.contains("PEERDIST_SOCKET"), "{error}");
    assert!(error.contains("names this socket: start the daemon that listens there"), "{error}");
    let _daemon = home.start();
    for (verb, socket, whose) in
        [("status", home.admin_socket(), "daemon's own user"), ("watch", home.api_socket(), "[control] api_mode")]
    {
        let mut command = home.command(&[verb]);
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o000)).unwrap();
        if geteuid().is_root() {
            // Permissions do not keep root out, so somebody else asks.
            std::fs::set_permissions(home.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
            command.uid(65534).gid(65534);
        }
        let error = Ran::of(command).error(7);
        assert!(error.contains("permission denied") && error.contains(whose), "{error}");
    }
}

#[test]
fn a_cache_folder_that_cannot_be_made_is_what_it_speaks_of() {
    let home = Home::new("");
    let text = std::fs::read_to_string(home.config()).unwrap().replace("\"local\"", "\"distributed\"");
    let text = format!("{text}\nnode.port = 80\nnode.listen = [\"127.0.0.1\"]\n");
    std::fs::write(home.config(), text).unwrap();
    let config = home.config();
    let mut daemon = command(["daemon".as_ref(), "--config".as_ref(), config.as_os_str()]);
    std::fs::set_permissions(home.path(""), std::fs::Permissions::from_mode(0o555)).unwrap();
    if geteuid().is_root() {
        daemon.uid(65534).gid(65534);
    }
    let error = Ran::of(daemon).error(7);
    assert!(error.contains("[cache] dir") && !error.contains("port 80"), "{error}");
    std::fs::set_permissions(home.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_port_below_1024_needs_a_right_and_says_which() {
    let first_free = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    let home = Home::new("");
    let text = std::fs::read_to_string(home.config()).unwrap().replace("\"local\"", "\"distributed\"");
    std::fs::write(home.config(), format!("{text}\nnode.port = 81\nnode.listen = [\"127.0.0.1\"]\n")).unwrap();
    if first_free.trim().parse::<u32>().unwrap() <= 81 {
        return;
    }
    let config = home.config();
    let mut daemon = command(["daemon".as_ref(), "--config".as_ref(), config.as_os_str()]);
    if geteuid().is_root() {
        let give = |path: &Path| std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
        give(&home.path(""));
        give(&home.config());
        daemon.uid(65534).gid(65534);
    }
    let ran = Ran::of(daemon);
    assert_eq!(ran.status, 7, "{}", ran.stderr);
    assert!(ran.stderr.contains("port 81") && ran.stderr.contains("cap_net_bind_service"), "{}", ran.stderr);
}

#[tokio::test]
async fn it_reads_its_configuration_again() {
    let home = Home::new("");
    let daemon = home.start();
    home.configure("control.max_sessions_per_user = 1\nnode.port = 8080\n");
    let reloaded = home.admin().reload().await.unwrap();
    assert_eq!(reloaded.applied, ["control.max_sessions_per_user"]);
    assert_eq!(reloaded.needs_restart, ["node.port"]);
    assert!(home.notified().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert!(home.notified().starts_with("READY=1"));
    let _first = home.session().await;
    let second = peerdist_node::control::client::Session::open(home.api_socket()).await;
    assert!(matches!(second, Err(ClientError::Refused { error: ErrorCode::Quota, .. })), "{second:?}");

    home.configure("control.max_sessions_per_user = \"none\"\n");
    let refused = home.admin().reload().await;
    match refused {
        Err(ClientError::Refused { error: ErrorCode::BadRequest, message }) => {
            assert!(message.contains("peerdist.toml:7:"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    home.notified();
    home.notified();

    home.configure("");
    daemon.signal(Signal::HUP);
    assert!(home.notified().starts_with("RELOADING=1"));
    assert!(home.notified().starts_with("READY=1"));
    let _second = home.session().await;
}
