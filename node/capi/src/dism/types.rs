//! Structures, enumerations and results of DismApi.h. The structures are packed there, so their members are misaligned.
#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals, reason = "the names of the Windows headers")]

use std::ffi::c_void;
use std::mem::{align_of, offset_of, size_of};

/// Negative where something failed; 1 and 3010 are successes too.
pub type HRESULT = i32;
/// Text in UTF-16 with a zero at its end.
pub type PCWSTR = *const u16;
/// A number, not a pointer.
pub type DismSession = u32;
/// How far an operation is: current, total, and the caller's own pointer.
pub type DISM_PROGRESS_CALLBACK = Option<unsafe extern "C" fn(u32, u32, *mut c_void)>;

/// The session of nobody.
pub const DISM_SESSION_DEFAULT: DismSession = 0;
/// The image that is the running system.
pub const DISM_ONLINE_IMAGE: &str = "DISM_{53BFAE52-B167-4E2F-A258-0A37B57FF845}";

/// How much is logged; this library writes no log.
pub type DismLogLevel = u32;
/// [`DismLogLevel`].
pub const DismLogErrors: DismLogLevel = 0;
/// [`DismLogLevel`].
pub const DismLogErrorsWarnings: DismLogLevel = 1;
/// [`DismLogLevel`].
pub const DismLogErrorsWarningsInfo: DismLogLevel = 2;

/// What an identifier of a package is.
pub type DismPackageIdentifier = u32;
/// [`DismPackageIdentifier`].
pub const DismPackageNone: DismPackageIdentifier = 0;
/// [`DismPackageIdentifier`].
pub const DismPackageName: DismPackageIdentifier = 1;
/// [`DismPackageIdentifier`].
pub const DismPackagePath: DismPackageIdentifier = 2;

/// The state of a feature; no other values than these two occur here.
pub type DismPackageFeatureState = u32;
/// [`DismPackageFeatureState`]: there, and off.
pub const DismStateStaged: DismPackageFeatureState = 2;
/// [`DismPackageFeatureState`]: on.
pub const DismStateInstalled: DismPackageFeatureState = 4;

/// Whether a change needs a restart; here it never does.
pub type DismRestartType = u32;
/// [`DismRestartType`].
pub const DismRestartNo: DismRestartType = 0;

/// A feature and its state.
#[repr(C, packed(1))]
#[derive(Debug, Clone, Copy)]
pub struct DismFeature {
    /// Its name.
    pub FeatureName: PCWSTR,
    /// Whether it is on.
    pub State: DismPackageFeatureState,
}

/// All there is to know of a feature.
#[repr(C, packed(1))]
#[derive(Debug, Clone, Copy)]
pub struct DismFeatureInfo {
    /// Its name.
    pub FeatureName: PCWSTR,
    /// Whether it is on.
    pub FeatureState: DismPackageFeatureState,
    /// Its name for people.
    pub DisplayName: PCWSTR,
    /// What it is for.
    pub Description: PCWSTR,
    /// Whether a change needs a restart.
    pub RestartRequired: DismRestartType,
    /// None here.
    pub CustomProperty: *mut DismCustomProperty,
    /// How many they are.
    pub CustomPropertyCount: u32,
}

/// A property of a package's own; features here have none.
#[repr(C, packed(1))]
#[derive(Debug, Clone, Copy)]
pub struct DismCustomProperty {
    /// Its name.
    pub Name: PCWSTR,
    /// Its value.
    pub Value: PCWSTR,
    /// Where it belongs.
    pub Path: PCWSTR,
}

/// A text.
#[repr(C, packed(1))]
#[derive(Debug, Clone, Copy)]
pub struct DismString {
    /// The text.
    pub Value: PCWSTR,
}

const _: () = {
    assert!(size_of::<DismFeature>() == 12 && align_of::<DismFeature>() == 1);
    assert!(offset_of!(DismFeature, FeatureName) == 0 && offset_of!(DismFeature, State) == 8);
    assert!(size_of::<DismFeatureInfo>() == 44 && align_of::<DismFeatureInfo>() == 1);
    assert!(offset_of!(DismFeatureInfo, FeatureName) == 0 && offset_of!(DismFeatureInfo, FeatureState) == 8);
    assert!(offset_of!(DismFeatureInfo, DisplayName) == 12 && offset_of!(DismFeatureInfo, Description) == 20);
    assert!(offset_of!(DismFeatureInfo, RestartRequired) == 28 && offset_of!(DismFeatureInfo, CustomProperty) == 32);
    assert!(offset_of!(DismFeatureInfo, CustomPropertyCount) == 40);
    assert!(size_of::<DismCustomProperty>() == 24 && size_of::<DismString>() == 8);
    assert!(offset_of!(DismCustomProperty, Value) == 8 && offset_of!(DismCustomProperty, Path) == 16);
};

/// A result of the failure range, from its bits.
const fn failure(bits: u32) -> HRESULT {
    bits.cast_signed()
}

/// A Win32 error as a result.
#[must_use]
pub const fn HRESULT_FROM_WIN32(error: u16) -> HRESULT {
    failure(0x8007_0000 | error as u32)
}

/// Done.
pub const S_OK: HRESULT = 0;
/// Done; the session is to be closed and opened again. Never returned here.
pub const DISMAPI_S_RELOAD_IMAGE_SESSION_REQUIRED: HRESULT = 1;
/// Done; the system is to be started again. Never returned here.
pub const ERROR_SUCCESS_REBOOT_REQUIRED: HRESULT = 3010;
/// DismInitialize was not called.
pub const DISMAPI_E_DISMAPI_NOT_INITIALIZED: HRESULT = failure(0xC004_0001);
/// DismShutdown while sessions are open.
pub const DISMAPI_E_OPEN_SESSION_HANDLES: HRESULT = failure(0xC004_0003);
/// No such session, or one that is being closed.
pub const DISMAPI_E_INVALID_DISM_SESSION: HRESULT = failure(0xC004_0004);
/// A feature needs another one that is disabled.
pub const DISMAPI_E_PARENT_FEATURE_DISABLED: HRESULT = failure(0xC004_000D);
/// The path given is the running system.
pub const DISMAPI_E_MUST_SPECIFY_ONLINE_IMAGE: HRESULT = failure(0xC004_000E);
/// No such feature.
pub const DISMAPI_E_UNKNOWN_FEATURE: HRESULT = failure(0x800F_080C);
/// Not now.
pub const DISMAPI_E_BUSY: HRESULT = failure(0x800F_0902);
/// DismInitialize twice. The documentation names it and no header gives it a value: this one is ERROR_ALREADY_INITIALIZED.
pub const DISMAPI_E_DISMAPI_ALREADY_INITIALIZED: HRESULT = HRESULT_FROM_WIN32(1247);
/// An argument makes no sense.
pub const E_INVALIDARG: HRESULT = HRESULT_FROM_WIN32(87);
/// The system does not permit it.
pub const E_ACCESSDENIED: HRESULT = HRESULT_FROM_WIN32(5);
/// Failed for a reason without a value of its own.
pub const E_FAIL: HRESULT = failure(0x8000_4005);
/// A defect of this library.
pub const E_UNEXPECTED: HRESULT = failure(0x8000_FFFF);
/// The caller may not do such things: ERROR_ELEVATION_REQUIRED.
pub const ELEVATION_REQUIRED: HRESULT = HRESULT_FROM_WIN32(740);
/// The cancel event was set: ERROR_CANCELLED.
pub const CANCELLED: HRESULT = HRESULT_FROM_WIN32(1223);
/// No daemon runs: ERROR_SERVICE_NOT_ACTIVE.
pub const SERVICE_NOT_ACTIVE: HRESULT = HRESULT_FROM_WIN32(1062);
/// No such directory: ERROR_PATH_NOT_FOUND.
pub const PATH_NOT_FOUND: HRESULT = HRESULT_FROM_WIN32(3);
/// A file holds something else than it should: ERROR_INVALID_DATA.
pub const INVALID_DATA: HRESULT = HRESULT_FROM_WIN32(13);
/// There is none: ERROR_NOT_FOUND.
pub const NOT_FOUND: HRESULT = HRESULT_FROM_WIN32(1168);
