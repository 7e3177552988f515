//! The feature functions on the running system.

use std::ffi::c_void;
use std::ptr;

use peerdist::dism::features::{DismEnableFeature, DismGetFeatureInfo, DismGetFeatures};
use peerdist::dism::lifecycle::DismDelete;
use peerdist::dism::types::{
    DISMAPI_E_PARENT_FEATURE_DISABLED, DISMAPI_E_UNKNOWN_FEATURE, DismPackageName, DismPackageNone, DismPackagePath,
    DismStateInstalled, DismStateStaged, E_INVALIDARG, NOT_FOUND, S_OK,
};

use crate::daemon::{stored, with_daemon};
use crate::windows::{
    PLAIN, With, disable, disable_with, enable, enable_with, features, features_of, info, online, parents, state, text,
    wide,
};

fn states(session: u32) -> (u32, u32) {
    let features = features(session).unwrap();
    let [(peer_dist, first), (smb, second)] = features.as_slice() else { panic!("{features:?}") };
    assert_eq!((peer_dist.as_str(), smb.as_str()), ("PeerDist", "SMBHashGeneration"));
    (*first, *second)
}

const ON: u32 = DismStateInstalled;
const OFF: u32 = DismStateStaged;

#[test]
fn a_feature_that_is_enabled_is_installed_and_one_that_is_disabled_is_staged() {
    with_daemon("features::a_feature_that_is_enabled_is_installed_and_one_that_is_disabled_is_staged", |home| {
        let session = online();
        assert_eq!(states(session), (ON, OFF));
        for name in ["PeerDist", "BranchCache", "peerdist"] {
            assert_eq!(disable(session, name), S_OK);
            assert_eq!((states(session), state(session, name)), ((OFF, OFF), OFF));
            assert_eq!(stored(&home.join("features.toml")), (false, false), "the daemon keeps it");
            assert_eq!(disable(session, name), S_OK, "twice is no error");
            assert_eq!(enable(session, name), S_OK);
            assert_eq!((states(session), state(session, name)), ((ON, OFF), ON));
            assert_eq!(stored(&home.join("features.toml")), (true, false));
        }
    });
}

#[test]
fn elements_of_an_array_lie_twelve_bytes_apart() {
    with_daemon("features::elements_of_an_array_lie_twelve_bytes_apart", |_| {
        let session = online();
        let (mut array, mut count) = (ptr::null_mut(), 0);
        // SAFETY: the variables outlive the call.
        assert_eq!(unsafe { DismGetFeatures(session, ptr::null(), 0, &raw mut array, &raw mut count) }, S_OK);
        assert_eq!(count, 2);
        // SAFETY: two structures of 12 bytes were returned.
        let bytes = unsafe { std::slice::from_raw_parts(array.cast::<u8>(), 24) };
        assert_eq!(bytes[8..12], DismStateInstalled.to_ne_bytes());
        assert_eq!(bytes[20..24], DismStateStaged.to_ne_bytes());
        let second = usize::from_ne_bytes(bytes[12..20].try_into().unwrap());
        assert_eq!(text(ptr::with_exposed_provenance(second)), "SMBHashGeneration");
        assert_eq!(DismDelete(array.cast()), S_OK);
    });
}

#[test]
fn a_description_has_every_member() {
    with_daemon("features::a_description_has_every_member", |_| {
        let session = online();
        let pointer = info(session, "branchcache").unwrap();
        // SAFETY: the library returned it.
        let described = unsafe { pointer.read_unaligned() };
        assert_eq!(text(described.FeatureName), "PeerDist");
        assert_eq!(text(described.DisplayName), "BranchCache");
        assert!(!text(described.Description).is_empty());
        let (state, restart) = (described.FeatureState, described.RestartRequired);
        assert_eq!((state, restart), (ON, 0));
        let (properties, count) = (described.CustomProperty, described.CustomPropertyCount);
        assert!(properties.is_null() && count == 0);
        assert_eq!(DismDelete(pointer.cast()), S_OK);
    });
}

#[test]
fn parents_are_told_with_their_state() {
    with_daemon("features::parents_are_told_with_their_state", |_| {
        let session = online();
        assert_eq!(parents(session, "SMBHashGeneration").unwrap(), [("PeerDist".to_owned(), ON)]);
        assert_eq!(disable(session, "PeerDist"), S_OK);
        assert_eq!(parents(session, "smbhashgeneration").unwrap(), [("PeerDist".to_owned(), OFF)]);
        assert_eq!(parents(session, "PeerDist").unwrap(), []);
        assert_eq!(parents(session, "Telnet").unwrap_err(), DISMAPI_E_UNKNOWN_FEATURE);
    });
}

#[test]
fn unknown_features_are_told() {
    with_daemon("features::unknown_features_are_told", |_| {
        let session = online();
        assert_eq!(info(session, "Telnet").unwrap_err(), DISMAPI_E_UNKNOWN_FEATURE);
        for names in ["Telnet", "PeerDist;Telnet"] {
            assert_eq!(enable(session, names), DISMAPI_E_UNKNOWN_FEATURE);
            assert_eq!(disable(session, names), DISMAPI_E_UNKNOWN_FEATURE);
        }
        assert_eq!(states(session), (ON, OFF), "not a part of it was done");
        for names in ["", " ; "] {
            assert_eq!((enable(session, names), disable(session, names)), (E_INVALIDARG, E_INVALIDARG));
        }
    });
}

#[test]
fn several_names_have_semicolons_between_them() {
    with_daemon("features::several_names_have_semicolons_between_them", |home| {
        let session = online();
        assert_eq!(disable(session, "PeerDist;SMBHashGeneration"), S_OK);
        assert_eq!(states(session), (OFF, OFF));
        assert_eq!(enable(session, "SMBHashGeneration;PeerDist"), S_OK, "in any order");
        assert_eq!(states(session), (ON, ON));
        assert_eq!(stored(&home.join("features.toml")), (true, true));
        assert_eq!(disable(session, "PeerDist"), S_OK);
        assert_eq!(states(session), (OFF, OFF), "what needs it goes with it");
    });
}

#[test]
fn enable_all_enables_parents_and_all_or_nothing() {
    with_daemon("features::enable_all_enables_parents_and_all_or_nothing", |home| {
        let session = online();
        let all = With { all: true, ..PLAIN };
        assert_eq!(disable(session, "PeerDist"), S_OK);
        assert_eq!(enable(session, "SMBHashGeneration"), DISMAPI_E_PARENT_FEATURE_DISABLED);
        assert_eq!(enable_with(session, "SMBHashGeneration;Telnet", all), DISMAPI_E_UNKNOWN_FEATURE);
        assert_eq!(states(session), (OFF, OFF), "the parent is not left enabled");
        assert_eq!(stored(&home.join("features.toml")), (false, false));
        assert_eq!(enable_with(session, "SMBHashGeneration", all), S_OK);
        assert_eq!(states(session), (ON, ON));
    });
}

#[test]
fn packages_are_the_foundation_one_or_none() {
    with_daemon("features::packages_are_the_foundation_one_or_none", |_| {
        let session = online();
        let foundation = "Microsoft-Windows-Foundation-Package~31bf3856ad364e35~amd64~~10.0.26100.1";
        assert_eq!(features_of(session, Some(foundation), DismPackageName).unwrap().len(), 2);
        assert_eq!(features_of(session, Some("Other-Package"), DismPackageName).unwrap_err(), NOT_FOUND);
        assert_eq!(features_of(session, Some("/tmp/other.cab"), DismPackagePath).unwrap_err(), NOT_FOUND);
        for unsaid in [DismPackageNone, 3] {
            assert_eq!(features_of(session, Some(foundation), unsaid).unwrap_err(), E_INVALIDARG);
        }
        assert_eq!(features_of(session, None, DismPackagePath).unwrap().len(), 2, "ignored without an identifier");

        assert_eq!(disable(session, "PeerDist"), S_OK);
        let package = |package| enable_with(session, "PeerDist", With { package: Some(package), ..PLAIN });
        assert_eq!(package(("Other-Package", DismPackageName)), NOT_FOUND);
        assert_eq!(package(("/tmp/other.cab", DismPackagePath)), S_OK);
        assert_eq!(states(session), (OFF, OFF), "success, but nothing is enabled");
        assert_eq!(package((foundation, DismPackageName)), S_OK);
        assert_eq!(states(session), (ON, OFF));
        let package = |name| disable_with(session, "PeerDist", With { package: Some((name, 0)), ..PLAIN });
        assert_eq!((package("Other-Package"), states(session)), (NOT_FOUND, (ON, OFF)));
        assert_eq!((package(foundation), states(session)), (S_OK, (OFF, OFF)));
    });
}

#[test]
fn missing_arguments_are_refused() {
    with_daemon("features::missing_arguments_are_refused", |_| {
        let session = online();
        let name = wide("PeerDist");
        let (mut array, mut count, none) = (ptr::null_mut(), 0, ptr::null());
        // SAFETY: the text and the variables outlive the calls, and NULL is allowed.
        unsafe {
            assert_eq!(DismGetFeatures(session, none, 0, ptr::null_mut(), &raw mut count), E_INVALIDARG);
            assert_eq!(DismGetFeatures(session, none, 0, &raw mut array, ptr::null_mut()), E_INVALIDARG);
            assert_eq!(DismGetFeatureInfo(session, name.as_ptr(), none, 0, ptr::null_mut()), E_INVALIDARG);
            let null = ptr::null_mut();
            let enabled = DismEnableFeature(session, none, none, 0, 0, ptr::null(), 0, 0, null, None, null);
            assert_eq!(enabled, E_INVALIDARG);
        }
        assert!(array.is_null() && count == 0, "nothing is written");
    });
}

unsafe extern "C" fn note(current: u32, total: u32, reports: *mut c_void) {
    // SAFETY: the operation was given a list, which outlives it and which no other thread has.
    unsafe { &mut *reports.cast::<Vec<(u32, u32)>>() }.push((current, total));
}

#[test]
fn progress_is_reported_at_the_start_and_at_the_end() {
    with_daemon("features::progress_is_reported_at_the_start_and_at_the_end", |_| {
        let session = online();
        let reported = |names| {
            let mut reports: Vec<(u32, u32)> = Vec::new();
            let with = With { progress: Some(note), user_data: (&raw mut reports).cast(), ..PLAIN };
            (enable_with(session, names, with), disable_with(session, names, with), reports)
        };
        let (enabled, disabled, reports) = reported("PeerDist");
        assert_eq!((enabled, disabled), (S_OK, S_OK));
        assert_eq!(reports, [(0, 100), (100, 100)].repeat(2));
        let (enabled, disabled, reports) = reported("Telnet");
        assert!(enabled < 0 && disabled < 0 && reports.iter().all(|(current, total)| current < total), "{reports:?}");
    });
}
