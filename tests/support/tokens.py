"""Texts into tokens, and how much a tokenizer is given at once."""


class Counted:
    """A tokenizer that knows what it was given, and how many characters at once."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.most = 0
        self.given = []

    def __getattr__(self, name):
        return getattr(self.tokenizer, name)

    def _count(self, texts):
        self.most = max(self.most, sum(map(len, texts)))
        self.given += texts

    def encode(self, text, *pair, **keywords):
        self._count([text])
        return self.tokenizer.encode(text, *pair, **keywords)

    def encode_batch(self, texts, **keywords):
        self._count(texts)
        return self.tokenizer.encode_batch(texts, **keywords)

    def encode_batch_fast(self, texts, **keywords):
        self._count(texts)
        return self.tokenizer.encode_batch_fast(texts, **keywords)


def tokens_of(tokenization, texts):
    """Tokenize texts as many at once as the tokenization says."""
    start, found = 0, []
    while start < len(texts):
        stop = tokenization.slice_end(texts, start)
        found += tokenization.tokens(texts[start:stop], start)
        start = stop
    return found
