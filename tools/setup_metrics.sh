#!/bin/sh
# Makes .venv-metrics, with quantstats at its pinned version, from the Python of .venv. Tradekeel is not installed into it.
set -eu

venv=.venv-metrics
rm -rf "$venv"
echo "setup: making $venv"
.venv/bin/python -m venv "$venv"
echo "setup: installing quantstats"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement tests/comparisons/constraints.txt || {
    echo "setup: pip could not install quantstats; its own words are above." >&2
    echo "       Without a network, let pip find a folder of wheels: PIP_FIND_LINKS=/path/to/wheels make metrics-check" >&2
    exit 1
}
touch "$venv/.installed"
