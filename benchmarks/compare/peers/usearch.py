"""usearch, searching exactly."""

import numpy as np
from usearch.index import MetricKind, search

from ..inputs import SEARCH_K, search_inputs


class Usearch:
    """Its search of an array."""

    def __init__(self, settings):
        self.threads = settings.threads

    def search(self, case):
        queries, corpus = search_inputs(case)

        def call():
            options = {"exact": True, "threads": self.threads}
            found = search(corpus, queries, SEARCH_K, MetricKind.IP, **options)
            return 1 - np.atleast_2d(found.distances)

        return call
