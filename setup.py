"""Build the kernels and their bindings; everything else stands in pyproject.toml."""

import os
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

DEBUG = os.environ.get("FASTATTN_DEBUG") == "1"
# One build for every CPython from 3.11 on. Those without a GIL have no such ABI.
ABI3 = os.environ.get("FASTATTN_ABI3") == "1" and not sysconfig.get_config_var(
    "Py_GIL_DISABLED"
)
# No -ffast-math, no -march: the first would flush subnormals in the user's whole process,
# the second would die on another CPU. Instruction sets are opened inside the files.
FLAGS = [
    "-O3",
    "-std=c11",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
    "-Werror=implicit-function-declaration",  # its result would be an int, half a pointer
    "-Wno-psabi",
    *(["-UNDEBUG", "-g"] if DEBUG else ["-DNDEBUG", "-g0"]),
    *(["-DPy_LIMITED_API=0x030B0000"] if ABI3 else []),
]
# What Cython makes takes a third of the compiler's time at -O3, and a call then takes a few
# more instructions than at -O1.
BINDING_FLAGS = ["-O1"]
DIRECTIVES = {
    "language_level": 3,
    "cdivision": True,
    "freethreading_compatible": True,
    "embedsignature": True,
    "autotestdict": False,
    "nonecheck": DEBUG,  # what costs little is checked in every build: indexes
}
# Kernels are written in vectors, and gcc 12.2 gets a sum wrong when it vectorises a loop
# that adds two terms a turn. What gcc calls it, and clang.
NO_LOOP_VECTORISER = ("-fno-tree-loop-vectorize", "-fno-vectorize")
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


def compiler_flags():
    """Return FLAGS and the option against the loop vectoriser that this compiler knows."""
    empty = "int main(void) { return 0; }"
    if not compiles(empty, [], []):
        sys.exit(
            f"fastattn: no working C compiler ({os.environ.get('CC') or 'cc'!r}): install "
            "gcc or clang (Debian: apt install gcc python3-dev), or name one in CC."
        )
    return FLAGS + [flag for flag in NO_LOOP_VECTORISER if compiles(empty, [flag], [])]


def openmp_flags():
    """Return the (compile, link) flags of OpenMP, empty for a serial build."""
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


def extension(name, *sources, headers=("csrc/fastattn.h",)):
    """Describe one extension module of the package; each can say how it was built."""
    return Extension(
        f"fastattn.{name}",
        [f"fastattn/{name}.pyx", *sources],
        include_dirs=["csrc"],
        depends=["setup.py", *headers],
        extra_compile_args=COMPILE_FLAGS,
        extra_link_args=LINK_FLAGS,
        define_macros=[("FA_BUILD_FLAGS", '"' + " ".join(COMPILE_FLAGS) + '"')],
        py_limited_api=ABI3,
    )


class BuildSideBySide(build_ext):
    """Compile as many files at once as there are CPUs, or as `-j` says.

    Setuptools' own -j builds extensions side by side, but one has nearly all of the C.
    """

    cython = Lock()  # Cython is not made for threads; C compilers run beside it

    def build_extensions(self):
        """Build each extension in a thread of its own, which waits for its objects."""
        compile_files = self.compiler.compile
        with ThreadPoolExecutor(self.parallel or os.cpu_count()) as pool:

            def compile_file(file, extra_postargs=(), **options):
                flags = [*extra_postargs, *([] if file in KERNELS else BINDING_FLAGS)]
                return compile_files([file], extra_postargs=flags, **options)

            def compile_side_by_side(sources, **options):
                jobs = [pool.submit(compile_file, file, **options) for file in sources]
                return [path for job in jobs for path in job.result()]

            self.compiler.compile = compile_side_by_side
            self.parallel = len(self.extensions)
            super().build_extensions()

    def build_extension(self, ext):
        """Translate an extension to C, then compile and link it."""
        with self.cython:
            (translated,) = cythonize(
                ext, compiler_directives=DIRECTIVES, force=self.force, quiet=True
            )
        ext.sources = translated.sources
        super().build_extension(ext)


COMPILE_FLAGS = compiler_flags()
OPENMP_COMPILE, LINK_FLAGS = openmp_flags()
COMPILE_FLAGS += OPENMP_COMPILE
KERNELS = sorted(str(path) for path in Path("csrc").rglob("*.c"))
HEADERS = sorted(str(path) for path in Path("csrc").rglob("*.h"))

setup(
    ext_modules=[
        extension("_cpu", *KERNELS, headers=HEADERS),  # first: it takes longest
        extension("_threads"),
        extension("_program"),
        extension("_packed"),
        extension("_gemm"),
        extension("_rowwise"),
        extension("_distances"),
        extension("_search"),
        extension("_attention"),
    ],
    cmdclass={"build_ext": BuildSideBySide},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if ABI3 else {},
)
