//! The feature functions.
#![allow(unsafe_code, reason = "exported functions, with the caller's pointers")]
#![allow(non_snake_case, non_upper_case_globals, reason = "the names of the Windows header")]

use std::ffi::c_void;
use std::ptr;

use peerdist_node::feature::{Feature, FeatureInfo};

use super::cancel::is_signalled;
use super::failure::{Failure, reporting};
use super::memory::{Texts, hand_out};
use super::process::Operation;
use super::text;
use super::types::{
    CANCELLED, DISM_PROGRESS_CALLBACK, DismFeature, DismFeatureInfo, DismPackageIdentifier, DismPackageName,
    DismPackagePath, DismSession, HRESULT, NOT_FOUND, PCWSTR,
};

/// How the foundation package is called, which every system has; a version follows. The features belong to it.
const FOUNDATION_PACKAGE: &str = "Microsoft-Windows-Foundation-Package";

/// The last step of an operation.
const TOTAL: u32 = 100;

/// Lists the features, enabled or not.
///
/// # Safety
///
/// The text is NULL, or UTF-16 with a zero at the end; `feature` and `count` are NULL or have room for a pointer and a
/// number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn DismGetFeatures(
    session: DismSession,
    identifier: PCWSTR,
    package_identifier: DismPackageIdentifier,
    feature: *mut *mut DismFeature,
    count: *mut u32,
) -> HRESULT {
    reporting(|| {
        let operation = Operation::begin(session)?;
        // SAFETY: the caller's word.
        unsafe { need_foundation(identifier, package_identifier) }?;
        need_room(feature.is_null() || count.is_null())?;
        let features = operation.image().features()?;
        // SAFETY: not NULL, and so with room by the caller's word.
        unsafe { return_features(&features, feature, count) };
        Ok(())
    })
}

/// Describes a feature.
///
/// # Safety
///
/// The texts are NULL, or UTF-16 with a zero at the end; `feature_info` is NULL or has room for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn DismGetFeatureInfo(
    session: DismSession,
    feature_name: PCWSTR,
    identifier: PCWSTR,
    package_identifier: DismPackageIdentifier,
    feature_info: *mut *mut DismFeatureInfo,
) -> HRESULT {
    reporting(|| {
        let operation = Operation::begin(session)?;
        // SAFETY: the caller's word.
        let name = unsafe { text::read_required(feature_name, "FeatureName") }?;
        // SAFETY: the caller's word.
        unsafe { need_foundation(identifier, package_identifier) }?;
        need_room(feature_info.is_null())?;
        let info = find(operation.image().features()?, Feature::find(&name)?)?;
        let mut texts = Texts::default();
        let described = DismFeatureInfo {
            FeatureName: texts.add(info.name.name()),
            FeatureState: info.state as u32,
            DisplayName: texts.add(&info.display_name),
            Description: texts.add(&info.description),
            RestartRequired: info.restart_required as u32,
            CustomProperty: ptr::null_mut(),
            CustomPropertyCount: 0,
        };
        // SAFETY: not NULL, and so with room by the caller's word.
        unsafe { feature_info.write_unaligned(hand_out(vec![described], texts)) };
        Ok(())
    })
}

/// Lists the parents of a feature: one or, where it has none, NULL and a count of zero.
///
/// # Safety
///
/// The texts are NULL, or UTF-16 with a zero at the end; `feature` and `count` are NULL or have room for a pointer and a
/// number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn DismGetFeatureParent(
    session: DismSession,
    feature_name: PCWSTR,
    identifier: PCWSTR,
    package_identifier: DismPackageIdentifier,
    feature: *mut *mut DismFeature,
    count: *mut u32,
) -> HRESULT {
    reporting(|| {
        let operation = Operation::begin(session)?;
        // SAFETY: the caller's word.
        let name = unsafe { text::read_required(feature_name, "FeatureName") }?;
        // SAFETY: the caller's word.
        unsafe { need_foundation(identifier, package_identifier) }?;
        need_room(feature.is_null() || count.is_null())?;
        let features = operation.image().features()?;
        let parent = find(features.clone(), Feature::find(&name)?)?.parent;
        let parents = parent.map(|parent| find(features, parent)).transpose()?;
        // SAFETY: not NULL, and so with room by the caller's word.
        unsafe { return_features(parents.as_slice(), feature, count) };
        Ok(())
    })
}

/// Enables features: all that are named, with semicolons between them, or none. LimitAccess and the sources are ignored,
/// as they are by Windows today: nothing is missing from an installation that could be fetched.
///
/// # Safety
///
/// The texts are NULL, or UTF-16 with a zero at the end; `progress` may be called with `user_data` on this thread.
#[unsafe(no_mangle)]
#[allow(clippy::too_many_arguments, reason = "as in the Windows header")]
pub unsafe extern "C" fn DismEnableFeature(
    session: DismSession,
    feature_name: PCWSTR,
    identifier: PCWSTR,
    package_identifier: DismPackageIdentifier,
    _limit_access: i32,
    _source_paths: *const PCWSTR,
    _source_path_count: u32,
    enable_all: i32,
    cancel_event: *mut c_void,
    progress: DISM_PROGRESS_CALLBACK,
    user_data: *mut c_void,
) -> HRESULT {
    reporting(|| {
        let operation = Operation::begin(session)?;
        // SAFETY: the caller's word.
        let names = unsafe { text::read_required(feature_name, "FeatureName") }?;
        // SAFETY: the caller's word.
        let package = unsafe { package(identifier, package_identifier) }?;
        let report = |current| call(progress, current, user_data);
        change(
            report,
            || is_signalled(cancel_event),
            || match package {
                Package::Foundation => operation.image().enable(&text::split(&names), enable_all != 0),
                Package::NeverAdded => Ok(()),
            },
        )
    })
}

/// Disables features: all that are named, with semicolons between them, and what needs them, or none. RemovePayload is
/// ignored, as it is by Windows today.
///
/// # Safety
///
/// The texts are NULL, or UTF-16 with a zero at the end; `progress` may be called with `user_data` on this thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn DismDisableFeature(
    session: DismSession,
    feature_name: PCWSTR,
    package_name: PCWSTR,
    _remove_payload: i32,
    cancel_event: *mut c_void,
    progress: DISM_PROGRESS_CALLBACK,
    user_data: *mut c_void,
) -> HRESULT {
    reporting(|| {
        let operation = Operation::begin(session)?;
        // SAFETY: the caller's word.
        let names = unsafe { text::read_required(feature_name, "FeatureName") }?;
        // SAFETY: the caller's word.
        unsafe { need_foundation(package_name, DismPackageName) }?;
        let report = |current| call(progress, current, user_data);
        change(report, || is_signalled(cancel_event), || operation.image().disable(&text::split(&names)))
    })
}

/// Does `work`, with reports before and after it, unless it is cancelled before. A change is one step: later it is too
/// late to cancel it.
fn change(
    report: impl Fn(u32),
    is_cancelled: impl Fn() -> bool,
    work: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    report(0);
    // After the report: it may be the callback that cancels.
    if is_cancelled() {
        return Err(Failure::new(CANCELLED, "the operation was cancelled, and nothing was changed"));
    }
    work()?;
    report(TOTAL);
    Ok(())
}

fn call(progress: DISM_PROGRESS_CALLBACK, current: u32, user_data: *mut c_void) {
    if let Some(progress) = progress {
        // SAFETY: whoever gives a callback says that it may be called with these.
        unsafe { progress(current, TOTAL, user_data) };
    }
}

/// What a caller says that features belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Package {
    /// To the system itself.
    Foundation,
    /// To a file that is no part of the system, as no file is here. Enabling its features does nothing, with success.
    NeverAdded,
}

/// # Safety
///
/// `identifier` is NULL, or UTF-16 with a zero at the end.
unsafe fn package(identifier: PCWSTR, kind: DismPackageIdentifier) -> Result<Package, Failure> {
    // SAFETY: the caller's word.
    let Some(identifier) = (unsafe { text::read(identifier) })? else {
        // Without an identifier nobody asks for its kind.
        return Ok(Package::Foundation);
    };
    let prefix = identifier.get(..FOUNDATION_PACKAGE.len());
    match kind {
        DismPackageName if prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(FOUNDATION_PACKAGE)) => {
            Ok(Package::Foundation)
        }
        DismPackageName => Err(Failure::new(NOT_FOUND, format!("there is no package {identifier}"))),
        DismPackagePath => Ok(Package::NeverAdded),
        _ => Err(Failure::argument("PackageIdentifier does not say what Identifier is")),
    }
}

/// # Safety
///
/// As for [`package`].
unsafe fn need_foundation(identifier: PCWSTR, kind: DismPackageIdentifier) -> Result<(), Failure> {
    // SAFETY: the caller's word.
    match unsafe { package(identifier, kind) }? {
        Package::Foundation => Ok(()),
        Package::NeverAdded => Err(Failure::new(NOT_FOUND, "the package is no part of the system")),
    }
}

fn need_room(is_missing: bool) -> Result<(), Failure> {
    if is_missing { Err(Failure::argument("there is no room for the result")) } else { Ok(()) }
}

fn find(features: Vec<FeatureInfo>, wanted: Feature) -> Result<FeatureInfo, Failure> {
    let found = features.into_iter().find(|info| info.name == wanted);
    found.ok_or_else(|| Failure::new(NOT_FOUND, format!("the image does not know {wanted}")))
}

/// # Safety
///
/// `feature` and `count` have room for a pointer and a number.
unsafe fn return_features(features: &[FeatureInfo], feature: *mut *mut DismFeature, count: *mut u32) {
    let mut texts = Texts::default();
    let items: Vec<_> = features
        .iter()
        .map(|info| DismFeature { FeatureName: texts.add(info.name.name()), State: info.state as u32 })
        .collect();
    // SAFETY: the caller's word. There are as many features as fit on one hand.
    unsafe {
        count.write_unaligned(items.len() as u32);
        feature.write_unaligned(hand_out(items, texts));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[test]
    fn a_change_is_reported_before_and_after() {
        let reports = RefCell::new(Vec::new());
        change(|current| reports.borrow_mut().push(current), || false, || Ok(())).unwrap();
        assert_eq!(*reports.borrow(), [0, TOTAL]);
    }

    #[test]
    fn a_cancelled_change_does_nothing() {
        let cancelled = Cell::new(false);
        let refused = change(|_| cancelled.set(true), || cancelled.get(), || panic!("it was cancelled"));
        assert_eq!(refused.unwrap_err().code, 0x8007_04C7_u32.cast_signed());
    }

    #[test]
    fn cancelling_too_late_is_a_success() {
        let cancelled = Cell::new(false);
        let work = || {
            cancelled.set(true);
            Ok(())
        };
        change(|_| (), || cancelled.get(), work).unwrap();
    }
}
