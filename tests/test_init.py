"""Initial weights: bounds, variances and sources of random numbers."""

import math

import numpy as np
import pytest

from fastattn import init

FAN_OUT, FAN_IN = 300, 200
SIZE = FAN_OUT * FAN_IN

# Variances as the papers give them.
XAVIER = 2 / (FAN_IN + FAN_OUT)
KAIMING = 2 / FAN_IN
UNIFORM = [
    (init.xavier_uniform, {}, XAVIER),
    (init.xavier_uniform, {"gain": 3.0}, 9 * XAVIER),
    (init.kaiming_uniform, {}, KAIMING),
    (init.kaiming_uniform, {"negative_slope": 0.5}, KAIMING / 1.25),
    (init.torch_weight, {}, 1 / (3 * FAN_IN)),
]
NORMAL = [
    (init.xavier_normal, {}, XAVIER),
    (init.xavier_normal, {"gain": 3.0}, 9 * XAVIER),
    (init.kaiming_normal, {}, KAIMING),
    (init.kaiming_normal, {"negative_slope": 0.5}, KAIMING / 1.25),
    (init.normal, {}, 0.02**2),
    (init.normal, {"std": 0.5}, 0.25),
    (init.torch_embedding, {}, 1.0),
]


def assert_moments(weights, variance, kurtosis):
    """Hold mean and variance to five standard deviations of their estimators."""
    assert abs(weights.mean()) < 5 * math.sqrt(variance / SIZE)
    spread = 5 * math.sqrt((kurtosis - 1) / SIZE)
    assert abs(weights.var(dtype=np.float64) / variance - 1) < spread


@pytest.mark.parametrize(("draw", "options", "variance"), UNIFORM)
def test_uniform(draw, options, variance):
    weights = draw((FAN_OUT, FAN_IN), 0, **options)
    assert weights.dtype == np.float32
    assert weights.shape == (FAN_OUT, FAN_IN)
    assert_moments(weights, variance, kurtosis=1.8)
    # Inside the bound, and in SIZE draws almost at it on both sides.
    bound = np.float32(math.sqrt(3 * variance))
    assert -bound <= weights.min() < -0.99 * bound
    assert 0.99 * bound < weights.max() <= bound


@pytest.mark.parametrize(("draw", "options", "variance"), NORMAL)
def test_normal(draw, options, variance):
    weights = draw((FAN_OUT, FAN_IN), 0, **options)
    assert weights.dtype == np.float32
    assert weights.shape == (FAN_OUT, FAN_IN)
    assert_moments(weights, variance, kurtosis=3)
    # A normal distribution goes on where every uniform one ends.
    assert abs(weights).max() > 3 * math.sqrt(variance)


def test_torch_bias_has_the_bound_of_its_weight():
    bias = init.torch_bias((SIZE, 4), 0)
    assert bias.shape == (SIZE,)
    assert 0.499 < abs(bias).max() <= 0.5
    assert_moments(bias, 1 / 12, kurtosis=1.8)


@pytest.mark.parametrize("name", init.INITIALIZERS)
def test_one_seed_gives_one_result(name):
    draw = init.initializer(name)
    by_seed = draw((3, 5), 7)
    np.testing.assert_array_equal(draw((3, 5), 7), by_seed)
    np.testing.assert_array_equal(draw((3, 5), np.random.default_rng(7)), by_seed)


def test_a_generator_goes_on():
    rng = np.random.default_rng(7)
    assert not np.array_equal(init.normal((3, 5), rng), init.normal((3, 5), rng))


def test_no_seed_is_another_seed_every_time():
    assert not np.array_equal(init.normal((3, 5)), init.normal((3, 5)))


def test_normal_takes_any_shape():
    assert init.normal((2, 3, 4), 0).shape == (2, 3, 4)
    assert init.normal((0,), 0).shape == (0,)


def test_names():
    assert init.initializer("kaiming_normal") is init.kaiming_normal
    with pytest.raises(ValueError, match=r"xavier_uniform.*got 'glorot'"):
        init.initializer("glorot")


@pytest.mark.parametrize("shape", [(3,), (3, 0), (0, 3), (1, 2, 3), ()])
@pytest.mark.parametrize(
    "draw",
    [
        init.xavier_uniform,
        init.xavier_normal,
        init.kaiming_uniform,
        init.kaiming_normal,
    ],
)
def test_fans_need_two_positive_sizes(draw, shape):
    with pytest.raises(ValueError, match="shape must be"):
        draw(shape, 0)
