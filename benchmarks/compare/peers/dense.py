"""Dense layers, for the implementations that make one of a weight and a bias."""

from functools import lru_cache

from ..inputs import linear_inputs


class DenseLayers:
    """`linear` and `linear_from_memory` of a class with the method `dense`.

    ``dense(weight, bias)`` returns the layer, a function of what `array` makes of x.
    """

    @staticmethod
    def array(x):
        return x

    def linear(self, case):
        x, weight, bias = linear_inputs(case)
        x, layer = self.array(x), self.dense(weight, bias)
        return lambda: layer(x)

    def linear_from_memory(self, case):
        x = self.array(linear_inputs(case)[0])
        layers = self.layers(case._replace(shape=(1, *case.shape[1:])))

        def call():
            for layer in layers:
                y = layer(x)
            return y

        return call

    @lru_cache(maxsize=1)  # noqa: B019 - an instance lives as long as its process
    def layers(self, case):
        """Make layers of equal weights, each in memory of its own."""
        _, weight, bias = linear_inputs(case)
        return [self.dense(weight.copy(), bias) for _ in range(case.shape[-1])]
