# Sourced by demo and test: a virtual environment with the package in it, installed once.
#   prepare EXTRAS     e.g. prepare "" or prepare "[test]"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
VENV="${VENV:-.venv}"

prepare() {
  local stamp="$VENV/.installed-${1//[^a-z]/}" wanted
  wanted="$(cat pyproject.toml)"
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then return; fi
  if [ ! -x "$VENV/bin/python" ]; then
    "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
      echo "error: Python 3.10 or newer is needed; set PYTHON=python3.12, for example" >&2
      exit 2
    }
    echo "Making $VENV ..."
    "${PYTHON:-python3}" -m venv "$VENV"
  fi
  echo "Installing biformer_lit$1 into $VENV (once; several GB with PyTorch) ..."
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".$1"
  printf '%s\n' "$wanted" >"$stamp"
}
