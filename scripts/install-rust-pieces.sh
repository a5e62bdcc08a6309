#!/usr/bin/env bash
# Installs what building the firmware needs on Debian: Rust with the sources of core, and the ARM linker. Safe to run again.
set -euo pipefail
packages="rustc-web cargo-web rust-web-src binutils-arm-none-eabi"
missing=
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
if [ -z "$missing" ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "building firmware needs Rust for ARM, and this system has no apt-get:" >&2
    echo "install https://rustup.rs, then run: rustup target add thumbv7em-none-eabihf thumbv6m-none-eabi" >&2
    exit 3
fi
sudo=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "run as root: apt-get install$missing" >&2
        exit 3
    fi
    sudo=sudo
fi
echo "installing$missing ..."
# shellcheck disable=SC2086
install() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >/dev/null; }
# A fresh image has no package lists yet.
if ! install 2>/dev/null; then
    $sudo apt-get update -q >/dev/null
    if ! install; then
        echo "could not install$missing: see the messages of apt-get above" >&2
        exit 3
    fi
fi
