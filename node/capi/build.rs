//! Gives the shared library the name that programs linked with it ask for.

fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libpeerdist.so.0");
    println!("cargo:rerun-if-changed=build.rs");
}
