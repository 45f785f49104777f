#!/usr/bin/env bash
# All tests, then all notebooks at scale smoke. Usage: tests/run.sh FOLDER_OF_PYTHON
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${1:-.venv/bin}
VLMCOURSE_CACHE=$(mktemp -d)
export VLMCOURSE_CACHE VLMCOURSE_SCALE=smoke OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 PYDEVD_DISABLE_FILE_VALIDATION=1
trap 'rm -rf "$VLMCOURSE_CACHE"' EXIT
"$bin/python" -m pytest -q -n 2 --dist worksteal tests
"$bin/python" -m pytest -q -n 2 --dist loadfile --nbval-lax --nbval-cell-timeout=600 notebooks/*.ipynb assignments/*/solution/*.ipynb
