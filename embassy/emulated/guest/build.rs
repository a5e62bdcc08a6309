//! Hands the layout of the guest's memory to the linker.

fn main() {
    let directory = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    println!("cargo:rerun-if-changed=guest.x");
    println!("cargo:rustc-link-arg-bins=-T{directory}/guest.x");
}
