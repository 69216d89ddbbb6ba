"""The inputs of a case, the same in every process: from a seed, or from a formula."""

import numpy as np

# English, and one token each to MiniLM's tokenizer.
WORDS = (
    "the of and to in a is that for it as was with be by on not he his but at are this "
    "have from or had an they which one you were all her she there would their we him "
    "been has when who will no more if out so said what up its about than into them can "
    "only other time new some could these two may first then do any like my now over "
    "such our man even most made after also well years must before people water house"
).split()
# The natural logarithm of the words of a text: 43 tokens on average, special ones
# included, and a tail as texts have it, cut where MiniLM would cut.
LOG_WORDS_MEAN, LOG_WORDS_DEVIATION, MOST_WORDS = 3.45, 0.75, 200


def normal(*shape, seed=0):
    """Draw normal float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def linear_inputs(case):
    """Return x (rows, k), weight (n, k) and bias (n,)."""
    rows, k, n, *_ = case.shape
    return normal(rows, k), normal(n, k, seed=1) / np.float32(k**0.5), normal(n, seed=2)


def attention_arrays(case):
    """Return query, key and value; `grouped queries` has a third of the heads."""
    batch, heads, length, dim, *keys = case.shape
    kv_heads = heads // 3 if case.option == "grouped queries" else heads
    key, value = normal(2, batch, kv_heads, keys[0] if keys else length, dim, seed=1)
    return normal(batch, heads, length, dim), key, value


def attention_keywords(case):
    """Return the keywords of fastattn.attention that the option of a case stands for."""
    batch, heads, length = case.shape[:3]
    rng = np.random.default_rng(3)
    match case.option:
        case "bool mask":
            return {"mask": rng.random((batch, 1, length, length)) < 0.9}
        case "float mask":
            return {"mask": rng.standard_normal((batch, 1, length, length), np.float32)}
        case "key_lengths":  # three quarters on average
            return {"key_lengths": np.linspace(length // 2, length, batch).astype(int)}
        case "causal":
            return {"causal": True}
        case "window":
            return {"window": (length // 8, length // 8)}
        case "softcap":
            return {"softcap": 30.0}
        case "alibi_slopes":  # Press et al. 2022, section 3
            return {"alibi_slopes": 2.0 ** (-8 * np.arange(1, heads + 1) / heads)}
        case "distance_bias":
            return {"distance_bias": rng.standard_normal((heads, 257), np.float32)}
        case _:
            return {}


def dense_mask(case):
    """Return the mask (True = attend) or bias that stands for the keywords, or None."""
    length = case.shape[2]
    distance = np.arange(length) - np.arange(length)[:, None]
    for name, value in attention_keywords(case).items():
        match name:
            case "mask":
                return value
            case "key_lengths":
                return np.arange(length) < value[:, None, None, None]
            case "causal":
                return distance <= 0
            case "window":
                return (-value[0] <= distance) & (distance <= value[1])
            case "alibi_slopes":
                return (-value[:, None, None] * np.abs(distance)).astype(np.float32)
            case "distance_bias":
                most = value.shape[1] // 2
                return value[:, np.clip(distance, -most, most) + most]
    return None


# Words of a reranker's query, and of the shortest and the longest document.
QUERY_WORDS, DOCUMENT_WORDS = 8, (30, 400)


# How many rows are found for each query.
SEARCH_K = 10


def search_inputs(case):
    """Return the queries (n, dim) and the corpus (rows, dim)."""
    rows, dim, queries = case.shape
    return normal(queries, dim, seed=1), normal(rows, dim)


def token_ids(case):
    """Return ids (batch, length) of whole words in MiniLM's vocabulary."""
    return np.random.default_rng(0).integers(2000, 29000, case.shape)


def texts(case):
    """Return texts of mixed length."""
    rng = np.random.default_rng(0)
    counts = np.exp(rng.normal(LOG_WORDS_MEAN, LOG_WORDS_DEVIATION, case.shape[0]))
    counts = np.clip(counts, 1, MOST_WORDS).astype(int)
    return [" ".join(rng.choice(WORDS, count)) for count in counts]


def rerank_texts(case):
    """Return a query, and documents of all lengths."""
    rng = np.random.default_rng(0)
    counts = rng.integers(*DOCUMENT_WORDS, case.shape[0], endpoint=True)
    query, *documents = (
        " ".join(rng.choice(WORDS, count)) for count in (QUERY_WORDS, *counts)
    )
    return query, documents
