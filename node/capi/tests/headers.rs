//! The headers against the types and constants in Rust, by programs in C and C++.
#![allow(clippy::unwrap_used)]
#![allow(non_upper_case_globals, reason = "the names of the Windows headers")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::mem::{align_of, offset_of, size_of};

use common::{LANGUAGES, Language, Workshop, in_crate, library, text};
use peerdist::abi::*;

/// Type or member to size and alignment, or to offset and size.
type Layouts = BTreeMap<String, (usize, usize)>;

/// The size of what a function that is never called would return.
fn size_of_member<T, M>(_: impl Fn(&T) -> M) -> usize {
    size_of::<M>()
}

macro_rules! layouts {
    ($($name:ident { $($member:ident),* })*) => {{
        let mut layouts = Layouts::new();
        $(
            layouts.insert(stringify!($name).to_owned(), (size_of::<$name>(), align_of::<$name>()));
            $(
                let layout = (offset_of!($name, $member), size_of_member(|value: &$name| value.$member));
                layouts.insert(concat!(stringify!($name), ".", stringify!($member)).to_owned(), layout);
            )*
        )*
        layouts
    }};
}

#[test]
fn t106_layouts_are_the_same_in_c_and_in_rust() {
    let mut expected = layouts! {
        OVERLAPPED { Internal, InternalHigh, Offset, OffsetHigh, hEvent }
        OVERLAPPED_ENTRY { lpCompletionKey, lpOverlapped, Internal, dwNumberOfBytesTransferred }
        PEERDIST_CONTENT_TAG { Data }
        PEERDIST_PUBLICATION_OPTIONS { dwVersion, dwFlags }
        PEERDIST_RETRIEVAL_OPTIONS { cbSize, dwContentInfoMinVersion, dwContentInfoMaxVersion, dwReserved }
        PEERDIST_STATUS_INFO { cbSize, status, dwMinVer, dwMaxVer }
        PEERDIST_CLIENT_BASIC_INFO { fFlashCrowd }
        PEERDIST_STATUS {}
        PEERDIST_CLIENT_INFO_BY_HANDLE_CLASS {}
        PEERDIST_INSTANCE_HANDLE {}
        PEERDIST_CONTENT_HANDLE {}
        PEERDIST_CONTENTINFO_HANDLE {}
        PEERDIST_STREAM_HANDLE {}
        HANDLE {}
        DWORD {}
        BOOL {}
        ULONG_PTR {}
        NTSTATUS {}
    };
    for (name, size) in [("LONG", 4), ("ULONG", 4), ("ULONGLONG", 8), ("BYTE", 1), ("WCHAR", 2), ("HRESULT", 4)] {
        expected.insert(name.to_owned(), (size, size));
    }
    for language in LANGUAGES {
        let printed = Workshop::new().run(language, "layouts", &[]);
        assert_eq!(layouts_in(&printed), expected, "{language:?}");
    }
}

fn layouts_in(printed: &str) -> Layouts {
    let line = |line: &str| {
        let [name, first, second] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        (name.to_owned(), (first.parse().unwrap(), second.parse().unwrap()))
    };
    printed.lines().map(line).collect()
}

macro_rules! constants {
    ($($name:ident)*) => { vec![$((stringify!($name), $name as i64 as u32)),*] };
}

fn constants() -> Vec<(&'static str, u32)> {
    constants! {
        FALSE TRUE INFINITE
        PEERDIST_STATUS_DISABLED PEERDIST_STATUS_UNAVAILABLE PEERDIST_STATUS_AVAILABLE
        PeerDistClientBasicInfo MaximumPeerDistClientInfoByHandlesClass
        PEERDIST_VERSION
        PEERDIST_PUBLICATION_OPTIONS_VERSION PEERDIST_PUBLICATION_OPTIONS_VERSION_1
        PEERDIST_PUBLICATION_OPTIONS_VERSION_2
        PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION_1
        PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION_2
        PEERDIST_READ_TIMEOUT_LOCAL_CACHE_ONLY PEERDIST_READ_TIMEOUT_DEFAULT
        ERROR_SUCCESS ERROR_INVALID_HANDLE ERROR_NOT_ENOUGH_MEMORY ERROR_NOT_SUPPORTED ERROR_INVALID_PARAMETER
        ERROR_INSUFFICIENT_BUFFER ERROR_MR_MID_NOT_FOUND ERROR_ABANDONED_WAIT_0 ERROR_OPERATION_ABORTED
        ERROR_IO_INCOMPLETE ERROR_IO_PENDING ERROR_NOT_FOUND ERROR_ACCESS_DISABLED_BY_POLICY ERROR_INTERNAL_ERROR
        ERROR_NO_SYSTEM_RESOURCES ERROR_TIMEOUT
        WAIT_OBJECT_0 WAIT_TIMEOUT WAIT_FAILED MAXIMUM_WAIT_OBJECTS
        PEERDIST_ERROR_CONTENTINFO_VERSION_UNSUPPORTED PEERDIST_ERROR_CANNOT_PARSE_CONTENTINFO
        PEERDIST_ERROR_MISSING_DATA PEERDIST_ERROR_NO_MORE PEERDIST_ERROR_NOT_INITIALIZED
        PEERDIST_ERROR_ALREADY_INITIALIZED PEERDIST_ERROR_SHUTDOWN_IN_PROGRESS PEERDIST_ERROR_INVALIDATED
        PEERDIST_ERROR_ALREADY_EXISTS PEERDIST_ERROR_OPERATION_NOTFOUND PEERDIST_ERROR_ALREADY_COMPLETED
        PEERDIST_ERROR_OUT_OF_BOUNDS PEERDIST_ERROR_VERSION_UNSUPPORTED PEERDIST_ERROR_INVALID_CONFIGURATION
        PEERDIST_ERROR_NOT_LICENSED PEERDIST_ERROR_SERVICE_UNAVAILABLE PEERDIST_ERROR_TRUST_FAILURE
        STATUS_SUCCESS STATUS_PENDING STATUS_CANCELLED
    }
}

#[test]
fn t108_constants_are_the_same_in_c_and_in_rust() {
    let names: String = constants().iter().map(|(name, _)| format!("CONSTANT({name})\n")).collect();
    // With the sizes in C: a suffix L in a header would make 8 of them.
    let expected: Vec<String> = constants().iter().map(|(name, value)| format!("{name} {value:#x} 4")).collect();
    for language in LANGUAGES {
        let workshop = Workshop::new();
        fs::write(workshop.directory.path().join("constants.inc"), &names).unwrap();
        let printed = workshop.run(language, "constants", &[]);
        // C prints zero without a prefix.
        let printed: Vec<String> = printed.lines().map(|line| line.replace(" 0 4", " 0x0 4")).collect();
        assert_eq!(printed, expected, "{language:?}");
    }
}

#[test]
fn t108_no_constant_is_left_out() {
    for file in ["src/abi/mod.rs", "src/abi/codes.rs"] {
        for line in fs::read_to_string(in_crate(file)).unwrap().lines() {
            let name = line.strip_prefix("pub const ").and_then(|rest| rest.split_once(':'));
            // A pointer, which the program itself compares; and functions have no colon behind their names.
            if let Some((name, _)) = name.filter(|(name, _)| *name != "INVALID_HANDLE_VALUE" && !name.contains(' ')) {
                assert!(constants().iter().any(|(known, _)| *known == name), "{name}");
            }
        }
    }
}

#[test]
fn t108_no_constant_of_the_headers_is_left_out() {
    for (file, prefix) in [("peerdist.h", "PEERDIST_"), ("winerror.h", "PEERDIST_ERROR_")] {
        let header = fs::read_to_string(in_crate("include").join(file)).unwrap();
        let defined = header.lines().filter_map(|line| line.strip_prefix("#define "));
        let listed = header.lines().filter(|line| line.contains(" = ")).map(str::trim_start);
        let mut names: Vec<_> = defined.chain(listed).filter_map(|line| line.split(' ').next()).collect();
        names.retain(|name| name.starts_with(prefix));
        assert!(names.len() >= 12, "{names:?}");
        for name in names {
            // Not in winerror.h of Windows, but on the pages of the functions.
            let other_name = ["PEERDIST_ERROR_OPERATION_NOT_FOUND", "PEERDIST_ERROR_NOT_FOUND"].contains(&name);
            assert!(other_name || constants().iter().any(|(known, _)| *known == name), "{name}");
        }
    }
}

#[test]
fn t108_names_that_only_the_documentation_has_stand_for_others() {
    let names = [
        ("PEERDIST_ERROR_OPERATION_NOT_FOUND", PEERDIST_ERROR_OPERATION_NOTFOUND),
        ("PEERDIST_ERROR_NOT_FOUND", ERROR_NOT_FOUND),
        ("ERROR_NO_MORE", PEERDIST_ERROR_NO_MORE),
    ];
    for language in LANGUAGES {
        let workshop = Workshop::new();
        let lines: String = names.iter().map(|(name, _)| format!("CONSTANT({name})\n")).collect();
        fs::write(workshop.directory.path().join("constants.inc"), lines).unwrap();
        let expected: String = names.iter().map(|(name, value)| format!("{name} {value:#x} 4\n")).collect();
        assert_eq!(workshop.run(language, "constants", &[]), expected);
    }
}

#[test]
fn t109_a_sample_compiles_as_c_and_as_cpp() {
    for language in LANGUAGES {
        for options in [&["-c"][..], &["-c", "-DUNICODE"], &["-c", "-fshort-wchar"], &["-c", "-D_WIN32_WINNT=0x0A00"]] {
            let (compiled, _) = Workshop::new().compile(language, "sample", options);
            assert!(compiled.status.success(), "{language:?} {options:?}: {}", text(&compiled.stderr));
        }
    }
}

#[test]
fn t109_a_program_runs_with_the_library() {
    for language in LANGUAGES {
        let workshop = Workshop::new();
        // The name by which the program asks for it.
        std::os::unix::fs::symlink(library(), workshop.directory.path().join("libpeerdist.so.0")).unwrap();
        assert_eq!(workshop.run(language, "kernel", &[library().to_str().unwrap()]), "done\n", "{language:?}");
    }
}

#[test]
fn t110_for_windows_7_the_functions_of_windows_8_are_hidden() {
    for language in LANGUAGES {
        let workshop = Workshop::new();
        for version in ["-DNTDDI_VERSION=NTDDI_WIN7", "-DNTDDI_VERSION=0x06010000", "-D_WIN32_WINNT=0x0601"] {
            assert_eq!(workshop.run(language, "windows7", &[version]), "0x1 1 0x601\n", "{language:?} {version}");
        }
        for version in ["-DNTDDI_VERSION=NTDDI_WIN8", "-D_WIN32_WINNT=_WIN32_WINNT_WIN8", "-UNTDDI_VERSION"] {
            let (compiled, _) = workshop.compile(language, "windows7", &[version]);
            assert!(!compiled.status.success(), "{language:?} {version}");
            assert!(text(&compiled.stderr).contains("PeerDistGetStatusEx"), "{}", text(&compiled.stderr));
        }
    }
}

#[test]
fn each_header_stands_alone() {
    for header in ["windows.h", "winapifamily.h", "winerror.h", "peerdist.h"] {
        let workshop = Workshop::new();
        fs::write(workshop.directory.path().join("header.inc"), format!("#include <{header}>\n")).unwrap();
        let (compiled, _) = workshop.compile(Language::C, "alone", &["-c"]);
        assert!(compiled.status.success(), "{header}: {}", text(&compiled.stderr));
    }
}
