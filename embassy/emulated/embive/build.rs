//! Hands the layout of the emulated memory and the functions that are called to the linker.

use std::{env, fs, path::PathBuf};

fn main() {
    // A copy in OUT_DIR: checkouts that share a target directory have each its own path of the sources.
    let layout = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("layout.x");
    fs::copy("../layout.x", &layout).expect("layout.x is part of the sources");
    println!("cargo:rerun-if-changed=../layout.x");
    println!("cargo:rustc-link-arg-bin=vm=-T{}", layout.display());
    for function in ["vm_open", "vm_begin", "vm_step"] {
        println!("cargo:rustc-link-arg-bin=vm=--undefined={function}");
    }
}
