#!/bin/sh
# Writes constraints.txt anew: the newest versions that install together on this machine, names and versions only.
set -eu

room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
"${PYTHON:-python3.11}" -m venv "$room/venv"
pip="$room/venv/bin/python -m pip --quiet --disable-pip-version-check"
cp -R pyproject.toml README.md LICENSE daemon "$room"
$pip install --upgrade setuptools
$pip install --no-build-isolation "$room[dev]"
{
    echo "# The exact versions that \`make\` installs, runtime and development, all of them. Renew with \`make constraints\`."
    # An address would tie the file to one index: a freeze line that is not name==version has no place here.
    $pip freeze --all | grep -E '^[A-Za-z0-9_.-]+==' | grep -v -i -E '^(pip|tradekeel)==' | LC_ALL=C sort -f
} > "$room/constraints.txt"
mv "$room/constraints.txt" constraints.txt
echo "constraints.txt: $(grep -c == constraints.txt) packages pinned"
