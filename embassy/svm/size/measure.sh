#!/bin/sh
# Prints the code size of the SVM for a Cortex-M0+ and a Cortex-M4F: `sh embassy/svm/size/measure.sh`.
# Needs a toolchain with the targets (`rustup target add`) or with the sources of core (build-std), and arm-none-eabi-size.
# With RUSTC and CARGO set, those are used.
set -eu
cd "$(dirname "$0")"
cargo=${CARGO:-cargo}
for target in thumbv6m-none-eabi thumbv7em-none-eabihf; do
    flags="-C linker=arm-none-eabi-ld -C linker-flavor=ld -C link-arg=--gc-sections -C link-arg=-eload -C link-arg=--undefined=step"
    RUSTFLAGS="$flags" $cargo build --quiet ${BUILD_STD:+-Zbuild-std=core} --target "$target" --release
    echo "$target"
    arm-none-eabi-size "target/$target/release/eyeflow-svm-size" | awk 'NR == 2 { print "  text " $1 "  data " $2 "  bss " $3 }'
    arm-none-eabi-nm -S --size-sort -C "target/$target/release/eyeflow-svm-size" > "target/$target/symbols.txt"
    echo "  panics linked: $(grep -c 'core::panicking' "target/$target/symbols.txt" || true)"
done
