"""faiss, searching without an index."""

import faiss

from ..inputs import SEARCH_K, search_inputs

# Queries from which on products are BLAS's: what it was in earlier versions.
BLAS_THRESHOLD = 20


class Faiss:
    """As it is installed."""

    def __init__(self, settings):
        faiss.omp_set_num_threads(settings.threads)

    def search(self, case):
        queries, corpus = search_inputs(case)
        index = faiss.IndexFlatIP(corpus.shape[1])
        index.add(corpus)
        return lambda: index.search(queries, SEARCH_K)[0]


class TunedFaiss(Faiss):
    """With the products of many queries taken by BLAS."""

    def __init__(self, settings):
        super().__init__(settings)
        faiss.cvar.distance_compute_blas_threshold = BLAS_THRESHOLD
