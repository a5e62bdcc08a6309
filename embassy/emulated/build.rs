//! Hands the layout of the emulated memory and the functions that are called to the linker.

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
    let directory = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    println!("cargo:rerun-if-changed=layout.x");
    println!("cargo:rustc-link-arg=-T{directory}/layout.x");
    for (binary, functions) in CALLED {
        for function in functions {
            println!("cargo:rustc-link-arg-bin={binary}=--undefined={function}");
        }
    }
}
