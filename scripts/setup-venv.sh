#!/usr/bin/env bash
# Makes the project's own Python environment: setup-venv.sh PYTHON VENV demo|dev|bench|mutants. Safe to run again.
set -euo pipefail
python=$1 venv=$2 extra=$3
fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
asked=$python
for python in "$asked" python3.14 python3.13 python3.12 python3.11; do
    if fits "$python"; then break; fi
done
if ! fits "$python"; then
    echo "eyeflow needs Python 3.11 or newer, and '$asked' is not: install one, or run make PYTHON=/path/to/python3.11" >&2
    exit 3
fi
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    echo "making $venv ..."
    # A half-made one, of a run that was interrupted or lacked ensurepip, would be in the way.
    if ! "$python" -m venv --clear "$venv"; then
        echo "could not make a virtual environment: on Debian and Ubuntu, apt install python3-venv" >&2
        exit 3
    fi
fi
case $extra in
    demo) target=. ;;
    *) target=".[$extra]" ;;
esac
echo "installing eyeflow ($extra) into $venv: up to a minute the first time ..."
if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$target"; then
    echo "could not install the Python packages: this needs the package index once, see pip's message above" >&2
    echo "behind a proxy, set HTTPS_PROXY; with an index of your own, PIP_INDEX_URL; then run make again" >&2
    exit 3
fi
