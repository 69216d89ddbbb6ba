#!/usr/bin/env bash
# Build a copy with asserts, AddressSanitizer and UndefinedBehaviorSanitizer, and run the
# tests on it, but for those of memory and of machine code. All of them take ten minutes.
# Debian: gcc; PYTHON names the environment (default: python).
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
# Python keeps what it allocated; a test may ask for more than there is.
export CC=gcc ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
sanitize='-fsanitize=address,undefined'
FASTATTN_DEBUG=1 CFLAGS="$sanitize -fno-sanitize-recover=undefined" LDFLAGS=$sanitize \
    "$python" setup.py -q build_ext --inplace
preload="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
LD_PRELOAD=$preload "$python" -m pytest -p no:cacheprovider -m 'not memory' \
    --ignore tests/test_codegen.py "${@:-tests}"
