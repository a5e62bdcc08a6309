//! Hands the layout of the guest's memory to the linker.

use std::{env, fs, path::PathBuf};

fn main() {
    // A copy in OUT_DIR: checkouts that share a target directory have each its own path of the sources.
    let layout = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("guest.x");
    fs::copy("guest.x", &layout).expect("guest.x is part of the sources");
    println!("cargo:rerun-if-changed=guest.x");
    println!("cargo:rustc-link-arg-bins=-T{}", layout.display());
}
