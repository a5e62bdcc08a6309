//! Hands the layout of the emulated memory and the functions that are called to the linker.

fn main() {
    let directory = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    println!("cargo:rerun-if-changed=../layout.x");
    println!("cargo:rustc-link-arg-bin=vm=-T{directory}/../layout.x");
    for function in ["vm_open", "vm_begin", "vm_step"] {
        println!("cargo:rustc-link-arg-bin=vm=--undefined={function}");
    }
}
