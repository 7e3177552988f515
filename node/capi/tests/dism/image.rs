//! Which image a session is about, and who may open one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use peerdist::dism::lifecycle::{DismCloseSession, DismShutdown};
use peerdist::dism::types::{
    DISM_ONLINE_IMAGE, DISMAPI_E_MUST_SPECIFY_ONLINE_IMAGE, DISMAPI_E_PARENT_FEATURE_DISABLED, DismStateInstalled,
    DismStateStaged, E_INVALIDARG, ELEVATION_REQUIRED, INVALID_DATA, PATH_NOT_FOUND, S_OK, SERVICE_NOT_ACTIVE,
};

use crate::daemon::{stored, with_daemon, without_daemon};
use crate::windows::{
    PLAIN, With, disable, enable, enable_with, features, initialize, last_message, online, open, open_with, state,
};

/// The root of a system that does not run, with nothing in it.
fn system(home: &Path) -> String {
    let root = home.join("root");
    fs::create_dir(&root).unwrap();
    root.to_str().unwrap().to_owned()
}

#[test]
fn an_offline_system_has_its_own_features() {
    with_daemon("image::an_offline_system_has_its_own_features", |home| {
        let running = online();
        let root = system(home);
        let session = open_with(root.as_str(), Some("Windows"), Some("C:")).unwrap();
        assert_eq!(state(session, "PeerDist"), DismStateInstalled);
        assert_eq!(disable(session, "PeerDist"), S_OK);
        assert_eq!(enable(session, "SMBHashGeneration"), DISMAPI_E_PARENT_FEATURE_DISABLED);
        assert_eq!(state(session, "PeerDist"), DismStateStaged);
        let file = home.join("root/var/lib/peerdist/features.toml");
        assert_eq!(stored(&file), (false, false));
        assert_eq!(state(running, "PeerDist"), DismStateInstalled, "the daemon's is another");
        assert_eq!(enable_with(session, "SMBHashGeneration", With { all: true, ..PLAIN }), S_OK);
        assert_eq!(stored(&file), (true, true));

        fs::write(&file, "PeerDist").unwrap();
        assert_eq!(features(session).unwrap_err(), INVALID_DATA);
        assert!(last_message().unwrap().contains("features.toml"));
        assert_eq!((DismCloseSession(session), DismCloseSession(running)), (S_OK, S_OK));
    });
}

#[test]
fn the_running_system_has_to_be_named_as_such() {
    with_daemon("image::the_running_system_has_to_be_named_as_such", |home| {
        assert_eq!(initialize(), S_OK);
        for path in ["/", "/proc/.."] {
            assert_eq!(open(path).unwrap_err(), DISMAPI_E_MUST_SPECIFY_ONLINE_IMAGE);
        }
        fs::write(home.join("file"), "").unwrap();
        for path in ["", "/nonexistent", home.join("file").to_str().unwrap()] {
            assert_eq!(open(path).unwrap_err(), PATH_NOT_FOUND, "{path}");
        }
        assert_eq!(open_with(DISM_ONLINE_IMAGE, Some("Windows"), None).unwrap_err(), E_INVALIDARG);
        assert_eq!(open_with(DISM_ONLINE_IMAGE, None, Some("C:")).unwrap_err(), E_INVALIDARG);
        assert_eq!(DismShutdown(), S_OK, "no session was opened");
    });
}

#[test]
fn without_a_daemon_the_service_is_not_active() {
    without_daemon("image::without_a_daemon_the_service_is_not_active", |home| {
        assert_eq!(initialize(), if is_root() { S_OK } else { ELEVATION_REQUIRED });
        if is_root() {
            assert_eq!(open(DISM_ONLINE_IMAGE).unwrap_err(), SERVICE_NOT_ACTIVE);
            assert!(last_message().unwrap().contains(home.to_str().unwrap()));
            assert!(open(system(home).as_str()).is_ok(), "others need none");
        }
    });
}

#[test]
fn who_is_neither_root_nor_may_use_the_admin_socket_needs_elevation() {
    with_daemon("image::who_is_neither_root_nor_may_use_the_admin_socket_needs_elevation", |home| {
        if !is_root() {
            // The socket is the caller's own.
            assert_eq!(initialize(), S_OK);
            return;
        }
        for folder in [home, Path::new("/tmp")] {
            let mode = fs::metadata(folder).unwrap().permissions().mode();
            fs::set_permissions(folder, fs::Permissions::from_mode(mode | 0o755)).unwrap();
        }
        become_nobody();
        assert_eq!(initialize(), ELEVATION_REQUIRED);
        assert_eq!(initialize(), ELEVATION_REQUIRED, "it was not initialised by that");
    });
}

fn is_root() -> bool {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// The process is that of the case alone.
fn become_nobody() {
    // SAFETY: it takes numbers.
    assert_eq!(unsafe { libc::seteuid(65534) }, 0);
}
