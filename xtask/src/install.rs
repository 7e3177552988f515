//! `cargo xtask install-library`: libpeerdist where a C compiler finds it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::command::{Failure, cargo, run};
use crate::tree;

/// The package with the library, its headers and the template of its pkg-config file.
const PACKAGE: &str = "peerdist-capi";
const SOURCE: &str = "node/capi";

/// The name that programs linked with the library ask for, and the one that the linker asks for.
const SONAME: &str = "libpeerdist.so.0";
const LINKER_NAME: &str = "libpeerdist.so";

/// Where to, and what.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    /// Where the library will be when it is used.
    prefix: PathBuf,
    /// What stands before that now: a package is made below it.
    destdir: Option<PathBuf>,
    /// A library that is built already.
    library: Option<PathBuf>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, Failure> {
        let mut options = Self { prefix: "/usr/local".into(), destdir: None, library: None };
        let mut arguments = arguments.iter();
        while let Some(name) = arguments.next() {
            let value = arguments.next().map(PathBuf::from).ok_or_else(|| Failure::Usage(format!("{name} WHAT?")))?;
            match name.as_str() {
                "--prefix" if value.is_absolute() => options.prefix = value,
                "--prefix" => return Err(Failure::Usage("--prefix takes an absolute path".to_owned())),
                "--destdir" => options.destdir = Some(value),
                "--library" => options.library = Some(value),
                _ => return Err(Failure::Usage(format!("install-library knows no {name}"))),
            }
        }
        Ok(options)
    }

    /// The prefix as it is now.
    fn root(&self) -> PathBuf {
        match &self.destdir {
            Some(destdir) => destdir.join(self.prefix.strip_prefix("/").unwrap_or(&self.prefix)),
            None => self.prefix.clone(),
        }
    }
}

/// Builds the library, unless one is given, and installs it with its headers and its pkg-config file.
pub(crate) fn install_library(arguments: &[String]) -> Result<(), Failure> {
    let options = Options::parse(arguments)?;
    let metadata = tree::metadata()?;
    let library = match &options.library {
        Some(library) => library.clone(),
        None => {
            run(cargo().args(["build", "--release", "--package", PACKAGE]))?;
            metadata.target_directory.join("release").join(LINKER_NAME).into_std_path_buf()
        }
    };
    let package = metadata.packages.iter().find(|package| package.name.as_str() == PACKAGE);
    let version = package.map(|package| package.version.to_string()).unwrap_or_default();
    install(&library, &tree::root().join(SOURCE), &version, &options)
}

fn install(library: &Path, source: &Path, version: &str, options: &Options) -> Result<(), Failure> {
    let root = options.root();
    let [libraries, headers, descriptions] = ["lib", "include/peerdist", "lib/pkgconfig"].map(|name| root.join(name));
    for folder in [&libraries, &headers, &descriptions] {
        fs::create_dir_all(folder).map_err(|source| write_failure(folder, source))?;
    }
    place(&libraries.join(SONAME), |new| write(new, &read(library)?, 0o755))?;
    place(&libraries.join(LINKER_NAME), |new| symlink(SONAME, new).map_err(|source| write_failure(new, source)))?;
    for header in headers_in(&source.join("include"))? {
        let name = header.file_name().unwrap_or_default();
        place(&headers.join(name), |new| write(new, &read(&header)?, 0o644))?;
    }

    let template = String::from_utf8_lossy(&read(&source.join("peerdist.pc.in"))?).into_owned();
    let description = template.replace("@prefix@", &options.prefix.to_string_lossy()).replace("@version@", version);
    place(&descriptions.join("peerdist.pc"), |new| write(new, description.as_bytes(), 0o644))
}

fn headers_in(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failure = |source| Failure::Read { path: folder.display().to_string(), source };
    let entries = fs::read_dir(folder).map_err(failure)?.collect::<Result<Vec<_>, _>>().map_err(failure)?;
    let mut headers: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    headers.retain(|path| path.extension().is_some_and(|extension| extension == "h"));
    headers.sort();
    Ok(headers)
}

/// Puts a file in place of an older one at once, and says so. A running program keeps the one that it has mapped.
fn place(path: &Path, make: impl FnOnce(&Path) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    // Left behind by an installation that was interrupted.
    let _ = fs::remove_file(&new);
    let placed = make(&new).and_then(|()| fs::rename(&new, path).map_err(|source| write_failure(path, source)));
    if placed.is_err() {
        let _ = fs::remove_file(&new);
    }
    placed?;
    println!("{}", path.display());
    Ok(())
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    fs::write(path, bytes)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(|source| write_failure(path, source))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|source| Failure::Read { path: path.display().to_string(), source })
}

fn write_failure(path: &Path, source: std::io::Error) -> Failure {
    Failure::Write { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, Failure> {
        Options::parse(&arguments.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_prefix_is_below_the_destdir() {
        assert_eq!(parse(&[]).unwrap().root(), Path::new("/usr/local"));
        assert_eq!(
            parse(&["--prefix", "/usr", "--destdir", "/tmp/package"]).unwrap().root(),
            Path::new("/tmp/package/usr")
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for arguments in [&["--prefix"][..], &["--prefix", "usr"], &["--perfix", "/usr"]] {
            assert!(matches!(parse(arguments), Err(Failure::Usage(_))), "{arguments:?}");
        }
    }
}
