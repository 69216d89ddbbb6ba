"""Make what test_multilingual.py expects: the tokens of texts in many languages.

Needs transformers==5.24.0 and the package in requirements-multilingual.txt; run as

    python tests/make_multilingual_fixture.py

It writes data/multilingual.json beside itself: texts, and the ids that transformers makes
of them with the tokenizer of multilingual-e5-small.
"""

import json
from pathlib import Path

from make_bert_fixtures import TEXTS
from support.multilingual import folder_with_tokenizer
from transformers import AutoTokenizer

LANGUAGES = (
    "query: Wie wird das Wetter morgen?",
    "passage: 今日は良い天気ですね。明日は雨でしょう。",
    "запрос: погода завтра",
    "كيف حالك اليوم؟",
    "한국어 문장입니다 \uff11\uff12\uff13 ½ ﬁ",
    "a  b\tc\nd <mask> </s> 👩\u200d💻 e\u0301",
)

if __name__ == "__main__":
    texts = [*LANGUAGES, *TEXTS]
    with folder_with_tokenizer() as folder:
        ids = AutoTokenizer.from_pretrained(folder)(texts)["input_ids"]
    expected = json.dumps({"texts": texts, "ids": ids}) + "\n"
    (Path(__file__).parent / "data" / "multilingual.json").write_text(expected)
