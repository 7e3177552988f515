//! From the path of a request to a file of the folder, and never to one outside of it.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::hashing::FileState;

/// `O_NONBLOCK`: opening a pipe must not wait for its writer.
const NONBLOCK: i32 = 0o4000;

/// A folder that is served.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    root: PathBuf,
}

/// A file of the folder, opened.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) file: File,
    pub(super) state: FileState,
    /// Where it is, symbolic links resolved, relative to the folder.
    pub(super) path: PathBuf,
}

/// Why a request's path is not served. What a client sees of most is that there is no such file.
#[derive(Debug, Error)]
pub(super) enum NotServed {
    #[error("the path is malformed")]
    Malformed,
    #[error("the path has a hidden component")]
    Hidden,
    #[error("the file lies outside of the folder")]
    Outside,
    #[error("not a regular file")]
    NotAFile,
    #[error("the file cannot be opened")]
    Io(#[from] io::Error),
}

impl Folder {
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let root = fs::canonicalize(root)?;
        fs::read_dir(&root)?;
        Ok(Self { root })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Opens the file that the path of a URL names. Blocks.
    pub(super) fn open_url_path(&self, path: &str) -> Result<OpenFile, NotServed> {
        self.open_relative(&relative_path(path)?)
    }

    /// Opens a file by its path below the folder. Symbolic links are followed as long as they stay inside. Blocks.
    pub(super) fn open_relative(&self, path: &Path) -> Result<OpenFile, NotServed> {
        let resolved = fs::canonicalize(self.root.join(path))?;
        self.inside(&resolved)?;
        let file = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(&resolved)?;
        // Somebody may have put a link in the way meanwhile; what was opened is what counts.
        let opened = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        let path = self.inside(&opened)?.to_owned();
        let state = FileState::of(&file)?;
        if !state.is_file {
            return Err(NotServed::NotAFile);
        }
        Ok(OpenFile { file, state, path })
    }

    fn inside<'a>(&self, resolved: &'a Path) -> Result<&'a Path, NotServed> {
        let path = resolved.strip_prefix(&self.root).map_err(|_| NotServed::Outside)?;
        if path.iter().any(is_hidden) { Err(NotServed::Hidden) } else { Ok(path) }
    }
}

/// Names with a leading dot are neither served nor hashed, at any depth and through links too: they hold what was not
/// meant to be published. `.well-known` (RFC 8615) is.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().first() == Some(&b'.') && name != ".well-known"
}

/// Decodes the path of a URL. Empty components and "." fall away; ".." is refused, since a client resolves it.
fn relative_path(url_path: &str) -> Result<PathBuf, NotServed> {
    let rest = url_path.strip_prefix('/').ok_or(NotServed::Malformed)?;
    let mut path = PathBuf::new();
    for component in rest.split('/') {
        let name = percent_decode(component).ok_or(NotServed::Malformed)?;
        match name.as_slice() {
            b"" | b"." => {}
            b".." => return Err(NotServed::Outside),
            name if name.contains(&b'/') || name.contains(&0) => return Err(NotServed::Malformed),
            name if is_hidden(OsStr::from_bytes(name)) => return Err(NotServed::Hidden),
            name => path.push(OsStr::from_bytes(name)),
        }
    }
    if rest.is_empty() || rest.ends_with('/') { Err(NotServed::NotAFile) } else { Ok(path) }
}

/// `None` where a percent sign is not followed by two hexadecimal digits.
fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn url_paths() {
        let path = |url| relative_path(url).ok();
        for (url, expected) in [
            ("/a", Some("a")),
            ("/a/b.txt", Some("a/b.txt")),
            ("//a/./b", Some("a/b")),
            ("/a%20b%C3%A9", Some("a bé")),
            ("/.well-known/x", Some(".well-known/x")),
            ("/%2e%2e/a", None),
            ("/a/../b", None),
            ("/a%2fb", None),
            ("/a%00", None),
            ("/a%", None),
            ("/a%2", None),
            ("/a%+1", None),
            ("/a%zz", None),
            ("/", None),
            ("/a/", None),
            ("/.git/config", None),
            ("/a/%2ehidden", None),
            ("a", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(path(url).as_deref(), expected.map(Path::new), "{url}");
        }
        assert_eq!(path("/%ff").unwrap().as_os_str().as_bytes(), b"\xff");
    }

    #[test]
    fn only_what_is_inside_is_opened() {
        let above = tempfile::tempdir().unwrap();
        let root = above.path().join("www");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(above.path().join("outside"), "secret").unwrap();
        fs::write(root.join("file"), "inside").unwrap();
        fs::write(root.join(".hidden"), "secret").unwrap();
        symlink("../file", root.join("sub/relative")).unwrap();
        symlink(root.join("file"), root.join("absolute")).unwrap();
        symlink("../outside", root.join("escape")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink(".hidden", root.join("disguised")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let folder = Folder::open(&root).unwrap();
        for inside in ["/file", "/sub/relative", "/absolute", "//file", "/up/www/file"] {
            let opened = folder.open_url_path(inside).unwrap();
            assert_eq!((opened.path.as_path(), opened.state.length), (Path::new("file"), 6), "{inside}");
        }
        for (outside, is_expected) in [
            ("/escape", (|e| matches!(e, NotServed::Outside)) as fn(&NotServed) -> bool),
            ("/up/outside", |e| matches!(e, NotServed::Outside)),
            ("/disguised", |e| matches!(e, NotServed::Hidden)),
            ("/sub", |e| matches!(e, NotServed::NotAFile)),
            ("/loop", |e| matches!(e, NotServed::Io(_))),
            ("/missing", |e| matches!(e, NotServed::Io(_))),
            ("/file/x", |e| matches!(e, NotServed::Io(_))),
        ] {
            let error = folder.open_url_path(outside).unwrap_err();
            assert!(is_expected(&error), "{outside}: {error:?}");
        }
    }

    #[test]
    fn a_folder_has_to_be_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(Folder::open(&file).is_err());
        assert!(Folder::open(&directory.path().join("missing")).is_err());
    }
}
