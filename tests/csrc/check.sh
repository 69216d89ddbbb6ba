#!/usr/bin/env bash
# Replay the cases of the driver and hold every table to the same bits: those with FMA to
# each other, those without to each other, whatever the memory, the processor and the
# sanitizer. Debian: gcc gcc-aarch64-linux-gnu qemu-user.
#
#     tests/csrc/check.sh [every]    of the slow runs one case of `every` (default: all)
set -euo pipefail
cd "$(dirname "$0")"
every=${1:-1}
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

# compile PROGRAM COMPILER [FLAG ...]: asserts are on.
compile() {
    local program=$1
    shift
    "$@" -std=gnu11 -ffp-contract=off -fno-math-errno -fno-trapping-math -Wno-psabi \
        -fno-tree-loop-vectorize -Werror=implicit-function-declaration \
        ./*.c ../../csrc/dispatch.c ../../csrc/{engines,isa}/*.c -lm -pthread -o "$build/$program"
}

# replay NAME TABLES COMMAND ...: on a machine on which dispatch finds these tables.
replay() {
    local name=$1 tables=$2
    shift 2
    echo "$name (after $SECONDS s)"
    # qemu says what of a processor it does not emulate.
    "$@" >"$build/$name.txt" 2> >(grep -v 'TCG' >&2)
    diff <(tr ' ' '\n' <<<"$tables") <(cut -d' ' -f1 "$build/$name.txt" | uniq)
}

# together JOB ...: side by side, each a command line; all must succeed.
together() {
    local job pids=()
    for job in "$@"; do
        eval "$job" &
        pids+=($!)
    done
    for job in "${pids[@]}"; do wait "$job"; done
}

together \
    'compile asan gcc -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined \
         -include amx_model.h' \
    'compile native cc -O3; compile aarch64 aarch64-linux-gnu-gcc -static -O3' \
    'compile tsan gcc -O1 -g -fsanitize=thread'

here=$("$build/native" tables | xargs)
for where in heap after-guard before-guard; do
    replay "$where" "$here" "$build/native" replay "$where"
done
replay asan+ubsan "$here" "$build/asan" replay heap
replay tsan "$here" "$build/tsan" replay heap 2 "$every"

# emulated WHERE CPU TABLE ...: a processor that is not an Arm.
emulated() {
    replay "$2,$1" "${*:3}" qemu-x86_64 -cpu "$2" "$build/native" replay "$1" 1 "$every"
}
arm() { replay "aarch64,$1" 'neon portable' qemu-aarch64 "$build/aarch64" replay "$1" 1 "$every"; }

# qemu reads the lanes that a masked load of AVX leaves out: its Haswell may not stand before
# a guard page, where machines with AVX2 stand above.
together \
    'arm after-guard; arm before-guard' \
    'for w in after-guard before-guard; do emulated $w Nehalem sse2 portable; done
     emulated after-guard Haswell avx2 sse2 portable'

# Among lines "case checksum", those of which one case has several.
different() { cut -d' ' -f2,3 | sort -u | cut -d' ' -f1 | uniq -d; }
failed=$(grep -hE '^(avx512|avx2|neon) ' "$build"/*.txt | different
    grep -hE '^(sse2|portable) ' "$build"/*.txt | different)
if [ -n "$failed" ]; then
    echo "different bits: $failed" >&2
    exit 1
fi
cut -d' ' -f1 "$build"/*.txt | sort | uniq -c
echo "the tables agree to the bit (after $SECONDS s)"
