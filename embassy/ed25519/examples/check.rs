//! Answers each line `KEY SIGNATURE MESSAGE` of hexadecimal digits with `good` or `bad`: tests/embassy/test_ed25519.py
//! compares it with other implementations.

use std::io::BufRead;

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn main() {
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line");
        let mut parts = line.split(' ').map(bytes);
        let mut next = || parts.next().expect("three parts");
        let (key, signature, message) = (next(), next(), next());
        let key = key.try_into().expect("32 bytes");
        let good = eyeflow_ed25519::verify(&key, &message, &signature.try_into().expect("64 bytes"));
        println!("{}", if good { "good" } else { "bad" });
    }
}
