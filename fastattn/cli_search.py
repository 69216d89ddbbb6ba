"""The command line's search: what of a folder of vectors is closest to a query."""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from .arrays import as_index
from .cli_shared import (
    complain,
    computing,
    load_for,
    one_line,
    read_texts,
    shared_keywords,
    warnings_in_one_line,
)
from .display import COLUMNS, hit_line, label
from .files import STANDARD, check_output, hit_json, write_whole

# What is searched; integers and bits are compared in other ways.
SEARCHED = ("float32", "float16")

# What `fa.top_k` computes of the ways in which models compare.
METRICS = ("cosine", "dot")

HIT_FILES = (".jsonl",)

# What was found for a query, the best first.
Hits: TypeAlias = list[dict[str, Any]]


def add_search_options(search: argparse.ArgumentParser) -> None:
    """Add the options that only a search has."""
    add = search.add_argument
    add("--vectors", metavar="FOLDER", required=True, help="what encode --output wrote")
    add("--top", type=int, default=10, metavar="K", help="show so many [%(default)s]")


def run_search(options: argparse.Namespace) -> None:
    """Show which texts of a folder of vectors are closest to each query."""
    from .corpus import open_vectors, read_manifest
    from .search import top_k

    if options.output is not None:
        check_output(options.output, HIT_FILES, "JSON Lines")
    top = as_index(options.top, "--top", 1)
    queries = read_texts(options)
    folder = Path(options.vectors)
    vectors = open_vectors(folder)
    if vectors.precision not in SEARCHED:
        raise ValueError(
            f"{folder}: holds {vectors.precision}, and a search takes "
            f"{' or '.join(SEARCHED)}: name the folder that it was made of"
        )
    manifest = read_manifest(folder)
    model = _load(folder, manifest["model"], options)
    normalize = manifest["options"]["normalize"]
    made = {"normalize": normalize, "truncate_dim": manifest["dim"]}
    with warnings_in_one_line():
        encoded = model.encode_query(queries, **shared_keywords(options), **made)
    scores, rows = top_k(
        encoded,
        vectors.shards,
        top,
        metric=model.similarity_fn_name,
        num_threads=options.threads,
    )
    ids, texts = _found(folder, vectors, {int(row) for row in rows.flat if row >= 0})
    found = [
        [
            {"rank": rank, "score": score, "id": ids[row], "text": texts.get(row)}
            for rank, (score, row) in enumerate(zip(*each, strict=True), 1)
            if row >= 0  # rows of NaN are never found, which leaves places free
        ]
        for each in zip(scores, rows, strict=True)
    ]
    _show(queries, found, options.output)


def _load(folder: Path, made: dict[str, Any], options: argparse.Namespace) -> Any:
    """Load the model that a folder names, unless the options do, and check it."""
    for option, value in computing(options).items():
        if made.get(option, value) != value:
            raise ValueError(
                f"{folder}: was made with --{option} {made[option]}, not {value}: leave "
                f"--{option} out"
            )
    settings = made | computing(options)
    there, name = settings.pop("sha256"), settings.pop("name", None)
    if options.model is not None:
        name, settings = options.model, settings | {"revision": None}
    if name is None:
        raise ValueError(f"{folder}: does not say which model made it: give --model")
    try:
        model = load_for("search", name, **settings)
    except FileNotFoundError as error:
        raise ValueError(
            f"{folder}: the model that made it is not here: {error}. Where it has another "
            "name now, give it by --model"
        ) from None
    if model.similarity_fn_name not in METRICS:
        raise ValueError(
            f"{name}: compares by {model.similarity_fn_name} distances, and a search "
            f"takes models that compare by {' or '.join(METRICS)}"
        )
    # A seventh of the time of a search; sizes and dates would let other weights pass.
    if model._fingerprint() != there:
        raise ValueError(
            f"{folder}: holds vectors of another model than {name} is: its files are "
            "others, or it computes otherwise. Give the same one by --model, or encode "
            "again into another folder"
        )
    return model


def _found(
    folder: Path, vectors: Any, rows: set[int]
) -> tuple[dict[int, Any], Mapping[int, str]]:
    """Give the ids of rows, and their texts where their source is there."""
    from .corpus import read_texts as texts_of

    # In order, for ids are read a shard at a time.
    ids = {row: vectors.ids[row] for row in sorted(rows)}
    try:
        return ids, texts_of(folder, rows)
    except (ImportError, OSError, ValueError) as error:
        complain(f"warning: without texts: {one_line(error)}")
        return ids, {}


def _show(queries: list[str], found: list[Hits], output: str | None) -> None:
    """Print or write what was found."""
    if output is None:
        for query, hits in zip(queries, found, strict=True):
            if len(queries) > 1:
                print(label(query, COLUMNS))
            for hit in hits:
                print(hit_line(**hit))
        return
    lines = list(_json_lines(queries, found))
    if output == STANDARD:
        for line in lines:
            print(line)
        return
    content = "".join(f"{line}\n" for line in lines).encode()
    write_whole(output, lambda file: file.write(content))
    print(f"{output}: {len(lines)} hits, the best of each query first")


def _json_lines(queries: list[str], found: list[Hits]) -> Iterator[str]:
    for query, hits in zip(queries, found, strict=True):
        for hit in hits:
            yield hit_json(query, **hit)
