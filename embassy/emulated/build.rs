//! Hands the layout of the emulated memory and the entry points to the linker.

fn main() {
    let directory = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    println!("cargo:rerun-if-changed=layout.x");
    println!("cargo:rustc-link-arg=-T{directory}/layout.x");
    println!("cargo:rustc-link-arg-bin=conformance=--undefined=run_case");
}
