//! Names the linker its scripts, and hands it the memory layout. That lies in a directory of its own: the linker would take
//! one beside Cargo.toml first.

use std::{env, fs, path::PathBuf};

fn main() {
    // Here and not in the flags of every compilation: crates that are compiled alike for other images serve this one.
    println!("cargo:rustc-link-arg-bins=--nmagic");
    let of_the_family = env::var_os("CARGO_FEATURE_RP2040").map(|_| "link-rp.x");
    for script in ["link.x"].into_iter().chain(of_the_family) {
        println!("cargo:rustc-link-arg-bins=-T{script}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let layout = fs::read_to_string("layout/memory.x").expect("layout/memory.x is part of the project");
    fs::write(out.join("memory.x"), roomy(&layout)).expect("OUT_DIR can be written");
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rerun-if-changed=layout/memory.x");
    println!("cargo:rerun-if-env-changed=EYEFLOW_ROOMY");
}

/// With `EYEFLOW_ROOMY` every region is a megabyte: an image over its budget can then be linked, and what is large be named.
fn roomy(layout: &str) -> String {
    if env::var_os("EYEFLOW_ROOMY").is_none() {
        return layout.to_owned();
    }
    let lines = layout.lines().map(|line| match line.split_once("LENGTH = ") {
        Some((start, _)) if !line.contains("BOOT2") => format!("{start}LENGTH = 0x100000"),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}
