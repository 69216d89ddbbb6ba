"""What was measured, and the ratios that tables, targets and plots are made of."""

import math


def geometric_mean(values):
    """Return the geometric mean of positive numbers."""
    return math.exp(math.fsum(map(math.log, values)) / len(values))


class Results:
    """Shortest times by case, implementation and threads, and the limits of the machine.

    Attributes
    ----------
    most : int
        The largest number of threads, which is meant where none is given.
    peak, bandwidth : dict
        Threads -> [GFLOP/s], [GB/s] of the measurements before and after.
    unsupported : dict
        (case, implementation) -> why it has no time.
    memory : dict
        Implementation -> most bytes resident up to the first vector.
    cosines : dict
        Case with weights of another format, or case and implementation of a lower
        precision -> worst cosine with what float32 gives.
    runs_in : dict
        Implementation -> in what it says that its products were computed.
    """

    def __init__(self, threads):
        self.most = max(threads)
        self.seconds = {}
        self.peak = {count: [] for count in threads}
        self.bandwidth = {count: [] for count in threads}
        self.unsupported, self.memory, self.cosines, self.runs_in = {}, {}, {}, {}

    def add(self, case, peer, threads, seconds):
        """Keep a time if it is the shortest."""
        key = case, peer, threads
        self.seconds[key] = min(seconds, self.seconds.get(key, math.inf))

    def cases(self, group, threads=None):
        """Return the cases of a table that fastattn was measured in, in their order."""
        return list(
            dict.fromkeys(
                case
                for case, peer, count in self.seconds
                if (case.group, peer, count) == (group, "fastattn", threads or self.most)
            )
        )

    def peers(self, case, threads=None):
        """Return the implementations that were measured, fastattn first."""
        return [
            peer
            for other, peer, count in self.seconds
            if (other, count) == (case, threads or self.most)
        ]

    def time(self, case, peer="fastattn", threads=None):
        """Return the seconds of a call."""
        return self.seconds[case, peer, threads or self.most]

    def of_peak(self, case, peer="fastattn", threads=None):
        """Return the fraction of the FMA peak."""
        rate = case.flops / self.time(case, peer, threads) / 1e9
        return rate / max(self.peak[threads or self.most])

    def of_bandwidth(self, case, peer="fastattn", threads=None):
        """Return the fraction of the read bandwidth."""
        rate = case.bytes / self.time(case, peer, threads) / 1e9
        return rate / max(self.bandwidth[threads or self.most])

    def ratio(self, case, peer, threads=None):
        """Return how many times as long a peer takes."""
        return self.time(case, peer, threads) / self.time(case, threads=threads)

    def best_peer(self, case, without=()):
        """Return the fastest peer, or None."""
        others = set(self.peers(case)) - {"fastattn", *without}
        return min(others, key=lambda peer: self.time(case, peer), default=None)

    def speedup(self, case):
        """Return the time on one thread over that on the most."""
        return self.time(case, threads=1) / self.time(case)
