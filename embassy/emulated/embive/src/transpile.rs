//! `transpile GUEST.elf CODE.bin`: embive's bytecode of a RISC-V program.
#![allow(missing_docs)]

const CODE_BYTES_MAX: usize = 1 << 20;

fn main() {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let [guest, out] = paths.as_slice() else { panic!("transpile GUEST.elf CODE.bin") };
    let elf = std::fs::read(guest).expect("the guest");
    let mut code = vec![0; CODE_BYTES_MAX];
    let size = embive::transpiler::transpile_elf(&elf, &mut code).expect("a guest that can be transpiled");
    std::fs::write(out, &code[..size]).expect("the code");
}
