#!/usr/bin/env bash
# Build a copy with asserts, AddressSanitizer and UndefinedBehaviorSanitizer, and run the
# tests on it. Debian: gcc; PYTHON names the environment (default: python).
#
#     tests/sanitize.sh [pytest's arguments]    default: all tests
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z --cached --others --exclude-standard |
    tar --create --null --files-from=- | tar --extract --directory="$copy"
cd "$copy"
export CC=gcc ASAN_OPTIONS=detect_leaks=0 # Python keeps what it allocated
sanitize='-fsanitize=address,undefined'
FASTATTN_DEBUG=1 CFLAGS="$sanitize -fno-sanitize-recover=undefined" LDFLAGS=$sanitize \
    "$python" setup.py -q build_ext --inplace
preload="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
# test_codegen reads the machine code of a build without sanitizers.
LD_PRELOAD=$preload "$python" -m pytest -p no:cacheprovider \
    --ignore tests/test_codegen.py "${@:-tests}"
