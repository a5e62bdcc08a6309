//! Hands the layout of the emulated memory and the functions that are called to the linker.

use std::{env, fs, path::PathBuf};

const CALLED: [(&str, &[&str]); 2] = [
    ("conformance", &["run_case"]),
    (
        "counts",
        &[
            "svm_open",
            "svm_load",
            "svm_begin",
            "svm_needs",
            "svm_step",
            "native_open",
            "native_interlock",
            "native_flow_control",
            "native_overheat_relay",
            "native_window_mean",
            "native_vote",
            "check_signature",
        ],
    ),
];

fn main() {
    // A copy in OUT_DIR: checkouts that share a target directory have each its own path of the sources.
    let layout = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("layout.x");
    fs::copy("layout.x", &layout).expect("layout.x is part of the sources");
    println!("cargo:rerun-if-changed=layout.x");
    println!("cargo:rustc-link-arg=-T{}", layout.display());
    for (binary, functions) in CALLED {
        for function in functions {
            println!("cargo:rustc-link-arg-bin={binary}=--undefined={function}");
        }
    }
}
