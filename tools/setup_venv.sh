#!/bin/sh
# Makes .venv from whatever Python this machine has and installs Tradekeel into it, editable, at the pinned versions.
#
#   tools/setup_venv.sh run    what the daemon needs
#   tools/setup_venv.sh dev    that, and what `make check` needs
#
# PYTHON=/path/to/python chooses the interpreter; without it the newest of the names below that really runs is taken.
# (A name on the PATH proves nothing: version managers leave shims for interpreters that are not there.)
set -eu

kind=${1:-dev}
venv=.venv
old_enough='import sys; sys.exit(sys.version_info < (3, 11))'

fail() {
    echo "setup: $1" >&2
    shift
    for line in "$@"; do echo "       $line" >&2; done
    exit 1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        "$PYTHON" -c "$old_enough" 2>/dev/null || fail \
            "PYTHON=$PYTHON does not run, or is older than 3.11." \
            "Unset PYTHON, or point it to a Python 3.11 or newer."
        echo "$PYTHON"
        return
    fi
    for name in python3.13 python3.12 python3.11 python3; do
        if command -v "$name" >/dev/null 2>&1 && "$name" -c "$old_enough" 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    found=$(python3 --version 2>&1) || found="no python3 at all"
    fail "Tradekeel needs Python 3.11 or newer; this machine has: $found." \
        "Debian, Ubuntu: apt install python3.11 python3.11-venv    Fedora: dnf install python3.11" \
        "Or name one:    make PYTHON=/path/to/python3.11"
}

# A .venv that was copied, or whose Python was upgraded away, does not start: make it anew.
if [ -e "$venv" ] && ! "$venv/bin/python" -c "$old_enough; import pip" >/dev/null 2>&1; then
    echo "setup: .venv does not work here any more; making it anew"
    rm -rf "$venv"
fi

if [ ! -e "$venv" ]; then
    python=$(find_python)
    echo "setup: making .venv with $("$python" --version) ($python)"
    if ! reason=$("$python" -m venv "$venv" 2>&1); then
        rm -rf "$venv"
        fail "$python cannot make a virtual environment. It said:" "$reason" "" \
            "Most often the part of Python that carries pip (ensurepip) is packaged apart." \
            "Debian, Ubuntu: apt install python3-venv (or python3.X-venv for that version); then run make again."
    fi
fi

case $kind in
    run) what="." ;;
    dev) what=".[dev]" ;;
    *) fail "what is '$kind'? Say run or dev." ;;
esac

echo "setup: installing ($kind)"
pip="$venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt"
# The build tool is pinned like everything else, so the build does not fetch one of its own.
if ! { $pip setuptools && $pip --no-build-isolation --editable "$what"; }; then
    fail "pip could not install Tradekeel; its own words are above." \
        "Without a network, let pip find a folder of wheels: PIP_FIND_LINKS=/path/to/wheels make"
fi

touch "$venv/.installed-run"
[ "$kind" = run ] || touch "$venv/.installed-dev"
