#!/usr/bin/env bash
# Every table with FMA must give the same bits, whatever the compiler and the processor:
# build checksums.c for this machine and for aarch64 (cross compiler and qemu's user mode,
# Debian: gcc-aarch64-linux-gnu qemu-user) and compare what they print.
set -euo pipefail
cd "$(dirname "$0")"
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
flags=(-O3 -std=c11 -ffp-contract=off -fno-math-errno -fno-trapping-math -Wno-psabi)
sources=(checksums.c ../../csrc/dispatch.c ../../csrc/isa/*.c)

cc "${flags[@]}" "${sources[@]}" -lm -o "$build/native"
aarch64-linux-gnu-gcc -static "${flags[@]}" "${sources[@]}" -lm -o "$build/aarch64"
{ "$build/native"; qemu-aarch64 "$build/aarch64"; } | grep -vE '^(sse2|portable) ' >"$build/all"
cut -d' ' -f1 "$build/all" | sort | uniq -c
different=$(cut -d' ' -f2,3 "$build/all" | sort -u | cut -d' ' -f1 | uniq -d)
if [ -n "$different" ]; then
    echo "different bits: $different" >&2
    exit 1
fi
echo "the tables agree to the bit"
