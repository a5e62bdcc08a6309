#!/usr/bin/env bash
# Installs the Debian packages that the tests need: mosquitto, a real MQTT broker. Safe to run again.
set -euo pipefail
if command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "the tests need the MQTT broker mosquitto, and this system has no apt-get: install mosquitto by hand" >&2
    exit 3
fi
sudo=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "the tests need the MQTT broker mosquitto: run as root 'apt-get install mosquitto', then make test again" >&2
        exit 3
    fi
    sudo=sudo
fi
echo "installing mosquitto for the tests ..."
install() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends mosquitto >/dev/null; }
# A fresh image has no package lists yet.
if ! install 2>/dev/null; then
    $sudo apt-get update -q >/dev/null
    if ! install; then
        echo "could not install mosquitto: see the messages of apt-get above" >&2
        exit 3
    fi
fi
