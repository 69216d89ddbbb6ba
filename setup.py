"""Build the kernels and their bindings; everything else stands in pyproject.toml."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("FASTATTN_DEBUG") == "1"
# No -ffast-math, no -march: the first would flush subnormals in the user's whole process,
# the second would die on another CPU. Instruction sets are opened inside the files.
FLAGS = [
    "-O3",
    "-std=c11",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
    "-Wno-psabi",
    *(["-UNDEBUG", "-g"] if DEBUG else ["-DNDEBUG", "-g0"]),
]
DIRECTIVES = {
    "language_level": 3,
    "cdivision": True,
    "freethreading_compatible": True,
    "embedsignature": True,
    "autotestdict": False,
    "nonecheck": DEBUG,  # what costs little is checked in every build: indexes, memoryviews
}
# Apple's clang knows OpenMP's pragmas but neither its flag nor its library.
OPENMP_FLAGS = (
    (["-Xpreprocessor", "-fopenmp"], ["-lomp"])
    if sys.platform == "darwin"
    else (["-fopenmp"], ["-fopenmp"])
)


def compiles(source, compile_flags, link_flags):
    """Whether the C compiler makes a program of `source` with these flags."""
    compiler = (os.environ.get("CC") or "cc").split()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "probe.c")
        file.write_text(source)
        command = [
            *compiler,
            str(file),
            *compile_flags,
            "-o",
            f"{folder}/probe",
            *link_flags,
        ]
        try:
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError:
            return False


def openmp_flags():
    """Return the (compile, link) flags of OpenMP, empty for a serial build."""
    if not compiles("int main(void) { return 0; }", [], []):
        sys.exit(
            f"fastattn: no working C compiler ({os.environ.get('CC') or 'cc'!r}): install "
            "gcc or clang (Debian: apt install gcc python3-dev), or name one in CC."
        )
    if compiles(
        "#include <omp.h>\nint main(void) { return !omp_get_max_threads(); }",
        *OPENMP_FLAGS,
    ):
        return OPENMP_FLAGS
    message = (
        "fastattn: the C compiler has no OpenMP (clang on Debian: apt install libomp-dev, "
        "macOS: brew install libomp): "
    )
    if os.environ.get("FASTATTN_REQUIRE_OPENMP") == "1":
        sys.exit(message + "and FASTATTN_REQUIRE_OPENMP=1 asks for it.")
    print("warning: " + message + "this build will use one thread.", file=sys.stderr)
    return [], []


def extension(name, *sources):
    """Describe one extension module of the package; each can say how it was built."""
    return Extension(
        f"fastattn.{name}",
        [f"fastattn/{name}.pyx", *sources],
        include_dirs=["csrc"],
        depends=HEADERS,
        extra_compile_args=FLAGS + OPENMP_COMPILE,
        extra_link_args=OPENMP_LINK,
        define_macros=[("FA_BUILD_FLAGS", '"' + " ".join(FLAGS + OPENMP_COMPILE) + '"')],
    )


OPENMP_COMPILE, OPENMP_LINK = openmp_flags()
HEADERS = [str(path) for path in sorted(Path("csrc").rglob("*.h"))]
KERNELS = [str(path) for path in sorted(Path("csrc").rglob("*.c"))]

setup(
    ext_modules=cythonize(
        [
            extension("_threads"),
            extension("_cpu", *KERNELS),
            extension("_program"),
            extension("_gemm"),
            extension("_rowwise"),
            extension("_attention"),
        ],
        compiler_directives=DIRECTIVES,
    )
)
