//! The exported functions with arguments as Rust has them.

use std::ffi::c_void;
use std::ptr;

use peerdist::dism::features::{
    DismDisableFeature, DismEnableFeature, DismGetFeatureInfo, DismGetFeatureParent, DismGetFeatures,
};
use peerdist::dism::lifecycle::{DismDelete, DismGetLastErrorMessage, DismInitialize, DismOpenSession};
use peerdist::dism::types::{
    DISM_ONLINE_IMAGE, DISM_PROGRESS_CALLBACK, DismFeature, DismFeatureInfo, DismSession, DismString, HRESULT, PCWSTR,
    S_OK,
};

/// A text in UTF-16; none is NULL.
pub(crate) struct Wide(Option<Vec<u16>>);

pub(crate) fn wide<'a>(text: impl Into<Option<&'a str>>) -> Wide {
    Wide(text.into().map(|text| text.encode_utf16().chain([0]).collect()))
}

impl Wide {
    pub(crate) fn as_ptr(&self) -> PCWSTR {
        self.0.as_ref().map_or(ptr::null(), |units| units.as_ptr())
    }
}

/// Reads a text that the library returned.
pub(crate) fn text(units: PCWSTR) -> String {
    assert!(!units.is_null());
    // SAFETY: the library ends its texts with zero.
    let units: Vec<u16> = (0..).map(|index| unsafe { units.add(index).read() }).take_while(|unit| *unit != 0).collect();
    String::from_utf16(&units).unwrap()
}

pub(crate) fn initialize() -> HRESULT {
    // SAFETY: NULL is allowed.
    unsafe { DismInitialize(0, ptr::null(), ptr::null()) }
}

pub(crate) fn open<'a>(path: impl Into<Option<&'a str>>) -> Result<DismSession, HRESULT> {
    open_with(path, None, None)
}

pub(crate) fn open_with<'a>(
    path: impl Into<Option<&'a str>>,
    windows: Option<&str>,
    drive: Option<&str>,
) -> Result<DismSession, HRESULT> {
    let (path, windows, drive) = (wide(path), wide(windows), wide(drive));
    let mut session = u32::MAX;
    // SAFETY: the texts and the number outlive the call.
    let result = unsafe { DismOpenSession(path.as_ptr(), windows.as_ptr(), drive.as_ptr(), &raw mut session) };
    assert_eq!(result == S_OK, session != u32::MAX, "written on success only");
    if result == S_OK { Ok(session) } else { Err(result) }
}

/// Initialises, and opens a session about the daemon.
pub(crate) fn online() -> DismSession {
    assert_eq!(initialize(), S_OK);
    open(DISM_ONLINE_IMAGE).unwrap()
}

/// Names and states.
pub(crate) fn features(session: DismSession) -> Result<Vec<(String, u32)>, HRESULT> {
    features_of(session, None, 0)
}

pub(crate) fn features_of(
    session: DismSession,
    package: Option<&str>,
    kind: u32,
) -> Result<Vec<(String, u32)>, HRESULT> {
    let package = wide(package);
    let (mut array, mut count) = (ptr::null_mut(), 0);
    // SAFETY: the text and the variables outlive the call.
    let result = unsafe { DismGetFeatures(session, package.as_ptr(), kind, &raw mut array, &raw mut count) };
    taken(result, array, count)
}

pub(crate) fn parents(session: DismSession, name: &str) -> Result<Vec<(String, u32)>, HRESULT> {
    let name = wide(name);
    let (mut array, mut count) = (ptr::null_mut(), 7);
    // SAFETY: the text and the variables outlive the call.
    let result =
        unsafe { DismGetFeatureParent(session, name.as_ptr(), ptr::null(), 0, &raw mut array, &raw mut count) };
    taken(result, array, count)
}

fn taken(result: HRESULT, array: *mut DismFeature, count: u32) -> Result<Vec<(String, u32)>, HRESULT> {
    if result != S_OK {
        return Err(result);
    }
    let read = |index: usize| {
        // SAFETY: the library returned that many, each of 12 bytes.
        let feature: DismFeature = unsafe { array.cast::<u8>().add(12 * index).cast::<DismFeature>().read_unaligned() };
        (text(feature.FeatureName), feature.State)
    };
    let features = (0..count as usize).map(read).collect();
    if count > 0 {
        assert_eq!(DismDelete(array.cast()), S_OK);
    } else {
        assert!(array.is_null());
    }
    Ok(features)
}

/// A description, which is to be given back.
pub(crate) fn info(session: DismSession, name: &str) -> Result<*mut DismFeatureInfo, HRESULT> {
    let name = wide(name);
    let mut info = ptr::null_mut();
    // SAFETY: the text and the variable outlive the call.
    let result = unsafe { DismGetFeatureInfo(session, name.as_ptr(), ptr::null(), 0, &raw mut info) };
    if result == S_OK { Ok(info) } else { Err(result) }
}

/// The state of a feature as DismGetFeatureInfo tells it.
pub(crate) fn state(session: DismSession, name: &str) -> u32 {
    let info = info(session, name).unwrap();
    // SAFETY: the library returned it.
    let state = unsafe { info.read_unaligned() }.FeatureState;
    assert_eq!(DismDelete(info.cast()), S_OK);
    state
}

/// What an operation that changes something is given beside the names.
#[derive(Clone, Copy)]
pub(crate) struct With<'a> {
    pub(crate) package: Option<(&'a str, u32)>,
    pub(crate) all: bool,
    pub(crate) cancel: *mut c_void,
    pub(crate) progress: DISM_PROGRESS_CALLBACK,
    pub(crate) user_data: *mut c_void,
}

pub(crate) const PLAIN: With<'static> =
    With { package: None, all: false, cancel: ptr::null_mut(), progress: None, user_data: ptr::null_mut() };

pub(crate) fn enable(session: DismSession, names: &str) -> HRESULT {
    enable_with(session, names, PLAIN)
}

pub(crate) fn enable_with(session: DismSession, names: &str, with: With<'_>) -> HRESULT {
    let names = wide(names);
    let package = wide(with.package.map(|(package, _)| package));
    let kind = with.package.map_or(0, |(_, kind)| kind);
    // SAFETY: the texts outlive the call, and the callback is made for its data.
    unsafe {
        DismEnableFeature(
            session,
            names.as_ptr(),
            package.as_ptr(),
            kind,
            0,
            ptr::null(),
            0,
            with.all.into(),
            with.cancel,
            with.progress,
            with.user_data,
        )
    }
}

pub(crate) fn disable(session: DismSession, names: &str) -> HRESULT {
    disable_with(session, names, PLAIN)
}

pub(crate) fn disable_with(session: DismSession, names: &str, with: With<'_>) -> HRESULT {
    let names = wide(names);
    let package = wide(with.package.map(|(package, _)| package));
    // SAFETY: the texts outlive the call, and the callback is made for its data.
    unsafe {
        DismDisableFeature(session, names.as_ptr(), package.as_ptr(), 0, with.cancel, with.progress, with.user_data)
    }
}

/// The last message of this thread, which is to be given back.
pub(crate) fn last_string() -> Result<*mut DismString, HRESULT> {
    let mut string = ptr::null_mut();
    // SAFETY: the variable outlives the call.
    let result = unsafe { DismGetLastErrorMessage(&raw mut string) };
    if result == S_OK { Ok(string) } else { Err(result) }
}

/// The last message of this thread.
pub(crate) fn last_message() -> Result<String, HRESULT> {
    let string = last_string()?;
    // SAFETY: the library returned it.
    let message = text(unsafe { string.read_unaligned() }.Value);
    assert_eq!(DismDelete(string.cast()), S_OK);
    Ok(message)
}
