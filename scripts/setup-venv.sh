#!/usr/bin/env bash
# Makes the project's own Python environment: setup-venv.sh PYTHON VENV demo|dev|bench. Safe to run again.
set -euo pipefail
python=$1 venv=$2 extra=$3
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "eyeflow needs Python 3.11 or newer, and '$python' is not: install one, or run make PYTHON=/path/to/python3.11" >&2
    exit 3
fi
if [ ! -x "$venv/bin/python" ]; then
    echo "making $venv ..."
    if ! "$python" -m venv "$venv"; then
        echo "could not make a virtual environment: on Debian and Ubuntu, apt install python3-venv" >&2
        exit 3
    fi
fi
case $extra in
    demo) target=. ;;
    *) target=".[$extra]" ;;
esac
echo "installing eyeflow ($extra) into $venv ..."
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$target"
