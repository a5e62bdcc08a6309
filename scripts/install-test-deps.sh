#!/usr/bin/env bash
# Installs the Debian packages that the tests need; those that are there already cost nothing. Safe to run again.
#   mosquitto                               a real MQTT broker
#   rustc-web cargo-web rust-web-src        a Rust with its library's source, to build for chips without rustup's targets
#   binutils-arm-none-eabi                  a linker for them, where rust-lld is absent
#   postgresql                              a real PostgreSQL server, without a cluster that starts by itself
#   systemd                                 what rates and reads the unit of a node; nothing of it is started
#   chromium                                what looks at the dashboard
#   nodejs npm                              what simulates the RP2040 and builds the dashboard, where there is no Node.js of another origin
#   default-jre-headless maven              what runs a real Kafka, and what fetches it, where there is none of another origin
#   gcc libc6-dev                           a C compiler, for the disk that is slow to write, where there is no `cc`
set -euo pipefail
wanted="mosquitto rustc-web cargo-web rust-web-src binutils-arm-none-eabi postgresql systemd chromium"
command -v node >/dev/null && command -v npm >/dev/null || wanted="$wanted nodejs npm"
command -v java >/dev/null || wanted="$wanted default-jre-headless"
command -v mvn >/dev/null || wanted="$wanted maven"
command -v cc >/dev/null || wanted="$wanted gcc libc6-dev"
missing=
for package in $wanted; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
if [ -z "$missing" ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "the tests need these Debian packages, and this system has no apt-get:$missing" >&2
    exit 3
fi
sudo=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "the tests need more packages: run as root 'apt-get install$missing', then make test again" >&2
        exit 3
    fi
    sudo=sudo
fi
echo "installing$missing for the tests ..."
case " $missing " in
*" postgresql "*)
    # Installed by itself, the package starts a server for the whole machine.
    $sudo mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] ||
        echo 'create_main_cluster = false' | $sudo tee /etc/postgresql-common/createcluster.conf >/dev/null
    ;;
esac
install() {
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        -o Dpkg::Options::=--force-confold $missing >/dev/null
}
# A fresh image has no package lists yet.
if ! install 2>/dev/null; then
    $sudo apt-get update -q >/dev/null
    if ! install; then
        echo "could not install$missing: see the messages of apt-get above" >&2
        exit 3
    fi
fi
