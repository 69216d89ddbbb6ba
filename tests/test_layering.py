"""The architecture as a test: who may use whom, and how long a file may be."""

import ast
import re
from pathlib import Path, PurePath

import pytest
from support.processes import ROOT

PACKAGE, CSRC = ROOT / "fastattn", ROOT / "csrc"

# Each may use what stands left of it, or beside it. The package itself stands where the
# functions do, which it exports; layers and texts it imports when they are asked for.
LAYERS = [
    {"arena", "arrays", "bfloat16", "cpus", "errors", "keywords"},
    {"_threads"},
    {"_cpu"},
    {"_program"},
    {"_packed"},
    {"_distances", "_gemm", "_rowwise", "_search"},
    {"_attention"},
    {
        "functional",
        "scores",
        "scaled_dot",
        "positions",
        "padding",
        "quantize",
        "similarity",
        "search",
        "sparse_vectors",
        "init",
        "config",
        "fastattn",
    },
    {"nn"},
    {"models"},
    {"streams", "origin", "text_base", "files"},
    {"text", "cross_encoder", "sparse_encoder"},
    {"loading"},
    {"corpus"},
    {"tracing", "comparison"},
    {"page", "distributed", "integrations", "serve"},
    {
        "display",
        "plot",
        "cli",
        "cli_corpus",
        "cli_search",
        "cli_serve",
        "cli_shared",
    },
    {"__main__"},
]
RANK = {module: rank for rank, layer in enumerate(LAYERS) for module in layer}

# What the language has no word for: only these files may name an instruction set.
OF_AN_INSTRUCTION_SET = {
    "simd.h",
    "narrow.h",
    "target.h",
    "dispatch.c",
    "engines",
    "isa",
}


def files(*folders, suffixes):
    found = [p for f in folders for p in (ROOT / f).rglob("*") if p.suffix in suffixes]
    assert found
    return sorted(
        p for p in found if not p.with_suffix(".pyx").exists() or p.suffix != ".c"
    )


def c_code(path):
    """Return C without comments."""
    return re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)


def module_of(path):
    """Return the module or subpackage of fastattn that a file belongs to."""
    name = path.relative_to(PACKAGE).parts[0].removesuffix(path.suffix)
    return "fastattn" if name == "__init__" else name


def imports(path):
    """Return the modules and subpackages of fastattn that a file uses."""
    if path.suffix != ".py":
        text = path.read_text()
        names = re.findall(r"^(?:from|import) \.(\w+)", text, re.MULTILINE)
        for listed in re.findall(r"^from \. c?import (.+)$", text, re.MULTILINE):
            names += re.findall(r"\w+", listed)
        return set(names)
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    depth = len(path.relative_to(PACKAGE).parts)
    used = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            used |= {parts[1] for parts in names if parts[0] == "fastattn" and parts[1:]}
        elif isinstance(node, ast.ImportFrom) and node.level == depth:
            if node.module:
                used.add(node.module.split(".")[0])
            else:
                used |= {a.name if a.name in RANK else "fastattn" for a in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            assert not (node.module or "").startswith("fastattn"), "import relatively"
    return used


PYTHON = files("fastattn", suffixes={".py", ".pyx", ".pxd"})
C = files("csrc", suffixes={".c", ".h"})


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_use_what_stands_left_of_them(path):
    module = module_of(path)
    if module == "reference":
        assert imports(path) == set()
        return
    for used in imports(path):
        assert used != "reference", "the specification is for tests"
        assert RANK[used] <= RANK[module], f"{module} uses {used}"


def test_contributors_read_the_same_layers():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    _, listed = re.search(r"```\n(simd .*?< table)(.*?)```", text, re.DOTALL).groups()
    layers = [set(re.findall(r"\w+", layer)) for layer in listed.split("<")[1:]]
    inner = [layer - {"fastattn", "__main__"} for layer in LAYERS]
    assert layers == [layer for layer in inner if layer]


def test_families_of_models_are_named_in_their_table_alone():
    families = PACKAGE / "models" / "families"
    for path in PYTHON:
        named = set(re.findall(r"families\.(\w+)", path.read_text()))
        assert path.parent == families or named <= {"family"}, path


def test_every_module_has_its_layer():
    assert {module_of(path) for path in PYTHON} == {*RANK, "reference"}


def matches(path, patterns):
    return any(PurePath(path).match(pattern) for pattern in patterns)


# The table of csrc/README.md: for each row its files and the headers that they may use.
ROWS = [
    [re.findall(r"`(\S+\.[ch])`", cell) for cell in line.strip("|").split("|")[::2]]
    for line in (CSRC / "README.md").read_text().splitlines()
    if re.match(r"\| `\S+\.[ch]`", line)
]


def may_use(path):
    """Return the patterns in the row of a file, and in the rows of what it may use."""
    found = [str(path)]
    for pattern in found:
        for row, used in ROWS:
            if matches(pattern, row) or any(matches(name, [pattern]) for name in row):
                found += [name for name in used if name not in found]
    return found[1:]


def definitions(path):
    """Return patterns of what a header defines: functions, types, constants, macros."""
    code = c_code(path)
    functions = re.findall(
        r"^(?:INLINE|static)\b[^;={]*?\b(?!__)(\w+)\([^;]*?\)\s*\{", code, re.M
    )
    words = re.findall(r"^#define (?!CASE\b)(\w+)", code, re.M)
    words += re.findall(r"^(?:\}|typedef [^{;]*) (\w+);", code, re.M)
    for body in re.findall(r"^(?:typedef )?enum \{(.*?)\}", code, re.DOTALL | re.M):
        words += re.findall(r"\b(\w+)\s*(?:=[^,]*)?(?:,|$)", body.strip())
    return [rf"\b{name}\(" for name in functions] + [rf"\b{word}\b" for word in words]


@pytest.mark.parametrize("path", C, ids=lambda path: str(path.relative_to(CSRC)))
def test_c_files_use_what_the_table_says(path):
    name, code = path.relative_to(CSRC), c_code(path)
    assert sum(matches(name, row) for row, _ in ROWS) == 1, "one row of csrc/README.md"
    allowed = may_use(name)
    for included in re.findall(r'^\s*#\s*include\s+[<"](.+?)[>"]', code, re.MULTILINE):
        assert matches((path.parent / included).resolve(), allowed), included
    for other in C:
        if other != path and other.suffix == ".h" and not matches(other, allowed):
            used = [word for word in definitions(other) if re.search(word, code)]
            assert used == [], f"of {other.name}"


@pytest.mark.parametrize("path", C, ids=lambda path: str(path.relative_to(CSRC)))
def test_only_the_edge_of_the_kernels_names_an_instruction_set(path):
    if path.relative_to(CSRC).parts[0] not in OF_AN_INSTRUCTION_SET:
        words = r"\b(?:FA)?_*(?:avx|sse|fma3|neon|sve|x86|amd64|aarch64|arm)\w*"
        words += r"|\b_mm\w*|\b__m\d+|\bv\w+q_[fsu]\d+|\bPS\b"
        assert re.findall(words, c_code(path), re.IGNORECASE) == []


@pytest.mark.parametrize("path", C, ids=lambda path: str(path.relative_to(CSRC)))
def test_kernels_know_no_memory_threads_or_python(path):
    words = r"\b(?:malloc|calloc|realloc|free|printf|omp_\w+|pthread\w*|Py\w+)\b|pragma omp"
    assert re.findall(words, c_code(path)) == []


def test_one_module_links_the_kernels_and_starts_threads():
    tree = ast.parse((ROOT / "setup.py").read_text())
    linked = {
        ast.literal_eval(node.args[0]): len(node.args) > 1
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "extension"
    }
    assert {name for name, sources in linked.items() if sources} == {"_cpu"}
    for path in PYTHON:
        if path.suffix in (".pyx", ".pxd") and path.stem != "_cpu":
            assert "cython.parallel" not in path.read_text()
            assert path.stem == "_threads" or "cdef extern" not in path.read_text()


def code_lines(path):
    """Count the lines that are neither empty nor comment nor docstring."""
    if path.suffix in (".c", ".h"):
        text = c_code(path)
    else:
        text = re.sub(r'"""(?:.|\n)*?"""', "", path.read_text())
    lines = (line.strip() for line in text.splitlines())
    return sum(bool(line) and not line.startswith("# ") for line in lines)


def test_files_are_short():
    folders = "fastattn", "csrc", "tests", "benchmarks"
    every = files(*folders, suffixes={".py", ".pyx", ".pxd", ".pyi", ".c", ".h"})
    long = {str(p.relative_to(ROOT)): code_lines(p) for p in every if code_lines(p) > 300}
    assert long == {}


def function_lengths(path):
    """Give the lines of each function, its docstring not counted."""
    if path.suffix in (".c", ".h"):
        for found in re.finditer(
            r"^\w[^\n;]*\([^;{}]*\{\n.*?^\}", c_code(path), re.M | re.S
        ):
            yield found[0].partition("(")[0], found[0].count("\n") + 1
        return
    if path.suffix == ".pyx":
        text = re.sub(r'^ *"""(?:.|\n)*?"""\n', "", path.read_text(), flags=re.MULTILINE)
        # A body goes on while lines are empty or stand further right than the head.
        head = r"^( *)(?:cdef|cpdef|def) [^\n=]*?(\w+)\((?:.|\n)*?\n"
        for found in re.finditer(rf"{head}(?:\1[ )]+[^\n]*\n|\n)*", text, re.MULTILINE):
            yield found[2], found[0].rstrip().count("\n") + 1
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= node.body[0].end_lineno - node.body[0].lineno + 1
            yield node.name, lines


def test_functions_are_short():
    suffixes = {".py", ".pyx", ".c", ".h"}
    every = files("fastattn", "csrc", "tests", "benchmarks", suffixes=suffixes)
    lengths = [
        (str(Path(path).relative_to(ROOT)), name, lines)
        for path in every
        for name, lines in function_lengths(path)
    ]
    assert len(lengths) > 500  # the search finds functions
    assert [function for function in lengths if function[2] > 50] == []
