//! `peerdist watch`.

use rustix::process::Signal;

use crate::daemon::Home;
use crate::run::Going;

#[test]
fn it_sees_the_daemon_come_stop_and_come_back() {
    let home = Home::new("");
    let mut watch = Going::start(home.command(&["watch"]));
    assert_eq!(watch.line(), "unavailable");
    for killed_by in [Signal::TERM, Signal::KILL] {
        let daemon = home.start();
        assert_eq!(watch.line(), "available");
        daemon.signal(killed_by);
        assert_eq!(watch.line(), "unavailable");
        if killed_by == Signal::TERM {
            assert!(home.notified().starts_with("STOPPING=1"));
        }
        daemon.wait();
    }
    let _daemon = home.start();
    assert_eq!(watch.line(), "available");
    watch.signal(Signal::INT);
    assert_eq!(watch.rest(), "");
    assert_eq!(watch.wait(), (0, String::new()));
}

#[test]
fn it_prints_one_object_a_line() {
    let home = Home::new("");
    let daemon = home.start();
    let mut watch = Going::start(home.command(&["watch", "--json"]));
    assert_eq!(watch.line(), r#"{"status":"available","min_version":1,"max_version":2}"#);
    drop(daemon);
    assert_eq!(watch.line(), r#"{"status":"unavailable","min_version":1,"max_version":2}"#);
    watch.signal(Signal::TERM);
    assert_eq!(watch.wait(), (0, String::new()));
}

#[test]
fn it_ends_when_the_daemon_refuses_it() {
    let home = Home::new("control.max_sessions_per_user = 1\n");
    let _daemon = home.start();
    let mut first = Going::start(home.command(&["watch"]));
    assert_eq!(first.line(), "available");
    let error = home.peerdist(&["watch"]).error(1);
    assert!(error.contains("1 sessions"), "{error}");
}
