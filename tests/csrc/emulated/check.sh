#!/usr/bin/env bash
# Run every engine for x86-64 but AMX, which needs Linux and is not emulated, on an emulated
# Sapphire Rapids, whatever this machine is.
# PyPI: bochscpu-python numpy.
#
#     tests/csrc/emulated/check.sh [python]
set -euo pipefail
cd "$(dirname "$0")"
python=${1:-python3}
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
csrc=../../../csrc
gcc -U__linux__ -O3 -std=gnu11 -ffp-contract=off -fno-tree-loop-vectorize -fno-stack-protector -fno-pic \
    -fno-tree-loop-distribute-patterns -no-pie -static -nostdlib -Wno-psabi \
    -Wl,-T,flat.ld,--build-id=none,--gc-sections,-e,start -ffunction-sections -fdata-sections \
    flat.c $csrc/dispatch.c $csrc/engines/*.c -lgcc -o "$build/flat.elf"
objcopy -O binary "$build/flat.elf" "$build/flat.bin"
gcc -shared -fPIC -O1 shim.c -ldl -o "$build/shim.so"
EMULATOR=$(find "$("$python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')" -name '_bochscpu*.so')
export EMULATOR
LD_PRELOAD=$build/shim.so "$python" emulate.py "$build/flat.bin" 6 2> >(grep -v leaked >&2)
