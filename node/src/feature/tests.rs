use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::mpsc;

use super::*;

const NONE: [&str; 0] = [];

fn set(features: &[Feature]) -> FeatureSet {
    FeatureSet::of(features.iter().copied().collect()).unwrap()
}

fn both() -> FeatureSet {
    set(&Feature::ALL)
}

#[test]
fn names_have_no_case_and_branchcache_is_peerdist() {
    for name in ["PeerDist", "peerdist", "BranchCache", "BRANCHCACHE"] {
        assert_eq!(Feature::find(name).unwrap(), Feature::PeerDist);
    }
    assert_eq!(Feature::find("smbhashgeneration").unwrap(), Feature::SmbHashGeneration);
    for name in ["", "PeerDist ", "FS-BranchCache", "PeerDist;SMBHashGeneration"] {
        assert!(matches!(Feature::find(name), Err(FeatureError::UnknownFeature { name: told }) if told == name));
    }
}

#[test]
fn states_have_the_numbers_of_dism() {
    assert_eq!((FeatureState::Staged as u32, FeatureState::Installed as u32, RestartType::No as u32), (2, 4, 0));
}

#[test]
fn enabling_is_all_or_nothing() {
    let off = set(&[]);
    assert_eq!(off.enable(&["PeerDist"], false).unwrap(), FeatureSet::default());
    assert!(matches!(off.enable(&["PeerDist", "Telnet"], true), Err(FeatureError::UnknownFeature { .. })));
    assert!(matches!(off.enable(&NONE, true), Err(FeatureError::NoneNamed)));
    assert_eq!(off, set(&[]));
    assert_eq!(both().enable(&["PeerDist"], false).unwrap(), both(), "twice is no error");
}

#[test]
fn a_parent_is_on_already_named_too_or_asked_for() {
    let off = set(&[]);
    let refused = off.enable(&["SMBHashGeneration"], false);
    assert!(matches!(
        refused,
        Err(FeatureError::ParentDisabled { feature: Feature::SmbHashGeneration, parent: Feature::PeerDist })
    ));
    assert_eq!(off.enable(&["SMBHashGeneration"], true).unwrap(), both());
    assert_eq!(off.enable(&["SMBHashGeneration", "BranchCache"], false).unwrap(), both());
    assert_eq!(FeatureSet::default().enable(&["SMBHashGeneration"], false).unwrap(), both());
}

#[test]
fn what_needs_a_disabled_feature_goes_with_it() {
    assert_eq!(both().disable(&["PeerDist"]).unwrap(), set(&[]));
    assert_eq!(both().disable(&["SMBHashGeneration"]).unwrap(), FeatureSet::default());
    assert_eq!(set(&[]).disable(&["PeerDist"]).unwrap(), set(&[]), "twice is no error");
    assert!(matches!(both().disable(&["PeerDist", "x"]), Err(FeatureError::UnknownFeature { .. })));
}

#[test]
fn a_missing_file_is_the_default_and_changes_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let file = FeatureFile::new(dir.path().join("state/features.toml"));
    assert_eq!(file.load().unwrap(), FeatureSet::default());
    assert_eq!(file.change(|set| set.enable(&["PeerDist"], false)).unwrap(), FeatureSet::default());
    assert!(!file.path().exists(), "nothing changed");

    for changed in [set(&[]), both(), FeatureSet::default()] {
        file.change(|_| Ok(changed.clone())).unwrap();
        assert_eq!(file.load().unwrap(), changed);
    }
    assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read_dir(file.path().parent().unwrap()).unwrap().count(), 1, "no temporary file stays");
    assert!(fs::read_to_string(file.path()).unwrap().contains("[features]\nPeerDist = true\n"));
}

#[test]
fn garbage_is_an_error_that_names_the_file_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = FeatureFile::new(dir.path().join("features.toml"));
    let too_large = format!("# {}", "x".repeat(MAX_FILE_SIZE as usize));
    for text in [
        "PK\x03\x04",
        "[features]\nPeerDist = \"yes\"\n",
        "[features]\nTelnet = true\n",
        "[feature]\n",
        "[features]\nPeerDist = false\nSMBHashGeneration = true\n",
        &too_large,
    ] {
        fs::write(file.path(), text).unwrap();
        let error = file.load().unwrap_err();
        assert!(matches!(error, FeatureFileError::Garbage { .. }), "{error:?}");
        assert!(error.to_string().starts_with(&file.path().display().to_string()), "{error}");
        assert!(file.change(|set| set.enable(&["PeerDist"], true)).is_err());
        assert_eq!(fs::read_to_string(file.path()).unwrap(), text);
    }
    fs::write(file.path(), b"\xff\xfe").unwrap();
    assert!(matches!(file.load().unwrap_err(), FeatureFileError::Garbage { .. }));
    fs::write(file.path(), "").unwrap();
    assert_eq!(file.load().unwrap(), FeatureSet::default(), "what is not stated has its default");
}

#[test]
fn an_offline_system_is_not_left_by_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("var/lib")).unwrap();
    let file = FeatureFile::of_system(&root).unwrap();
    assert_eq!(file.path(), root.canonicalize().unwrap().join("var/lib/peerdist/features.toml"));
    file.change(|set| set.disable(&["PeerDist"])).unwrap();

    fs::remove_dir_all(root.join("var/lib/peerdist")).unwrap();
    symlink(dir.path(), root.join("var/lib/peerdist")).unwrap();
    assert!(matches!(FeatureFile::of_system(&root), Err(FeatureFileError::OutsideRoot { .. })));
    for missing in [Path::new("/nonexistent"), file.path(), Path::new("")] {
        assert!(matches!(FeatureFile::of_system(missing), Err(FeatureFileError::Root { .. })), "{missing:?}");
    }
}

#[test]
fn whoever_follows_knows_of_a_change_before_it_returns() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("features.toml");
    let features = Features::open(&path).unwrap();
    let (told, follower) = mpsc::channel();
    features.follow(move |on| told.send(on).unwrap());
    assert!(features.is_on());
    assert_eq!(follower.try_recv(), Ok(true), "as it is at the start");

    features.enable(&["SMBHashGeneration"], false).unwrap();
    assert!(follower.try_recv().is_err(), "the other feature is nobody's business");
    let listed = features.disable(&["PeerDist"]).unwrap();
    assert!(listed.iter().all(|info| info.state == FeatureState::Staged));
    assert_eq!((features.is_on(), follower.try_recv()), (false, Ok(false)));
    assert!(features.disable(&["Telnet"]).is_err());
    assert!(follower.try_recv().is_err());

    let again = Features::open(&path).unwrap();
    assert!(!again.is_on(), "the state outlives the daemon");
}

#[test]
fn a_change_builds_on_what_a_command_wrote_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("features.toml");
    let features = Features::open(&path).unwrap();
    FeatureFile::new(&path).change(|set| set.disable(&["PeerDist"])).unwrap();
    assert!(features.is_on(), "as at the start");
    assert!(features.enable(&["SMBHashGeneration"], false).is_err());
    features.enable(&["PeerDist"], false).unwrap();
    assert!(features.is_on());
}
