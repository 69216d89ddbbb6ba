#!/usr/bin/env bash
# Measure the elementary functions over all float32 numbers and hold them to the bounds of
# docs/accuracy.md. The rows that it prints are those of the table there, without bounds.
#
#     tests/csrc/sweep.sh [stride]    one number of `stride` (default: all, 15 minutes)
set -euo pipefail
cd "$(dirname "$0")"
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
cc -std=gnu11 -O2 -ffp-contract=off -fno-math-errno -fno-trapping-math -Wno-psabi \
    -fno-tree-loop-vectorize -Werror=implicit-function-declaration \
    ./*.c ../../csrc/dispatch.c ../../csrc/{engines,isa}/*.c -lm -pthread -o "$build/driver"
"$build/driver" sweep "${1:-1}" | tee "$build/rows"
# Numbers at the start of a cell: its errors, and its bound.
awk -F ' *[|] *' '
    NR == FNR { bound[$2] = $3; next }
    !($2 in bound) { print "no bound for " $2; bad = 1; next }
    $3 + 0 > bound[$2] + 0 || $4 + 0 > bound[$2] + 0 { print $2 " exceeds " bound[$2]; bad = 1 }
    { rows++ }
    END { exit bad || !rows }
' ../../docs/accuracy.md "$build/rows" >&2
