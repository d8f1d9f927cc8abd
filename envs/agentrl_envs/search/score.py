"""Scores of an answer: exact match and F1 with the normalisation of SQuAD (Rajpurkar et al. 2016), as Search-R1 has it."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")


def normalise(text: str) -> str:
    """Lower case, without ASCII punctuation and articles, blanks collapsed, in this order.

    >>> normalise("  The Beatles' “White” Album, a.k.a. An album!")
    'beatles “white” album aka album'
    """
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(given: str, golden: Iterable[str]) -> float:
    """1 if the answer equals one of the golden ones after normalisation, else 0.

    A golden answer of which normalisation leaves nothing (`The The`, `!!!`) has to be given as it is: saying nothing
    is no answer.

    >>> exact_match("the Red Hill.", ["Hill", "red hill"])
    1.0
    >>> exact_match("", ["The The"]), exact_match("the the", ["The The"])
    (0.0, 1.0)
    """
    return float(any(_same(given, answer) for answer in golden))


def f1(given: str, golden: Iterable[str]) -> float:
    """The best harmonic mean of precision and recall of words, over the golden answers; yes and no match whole only.

    >>> f1("Ada Bell", ["Ada Bell Smith"])
    0.8
    """
    return max((_f1(given, answer) for answer in golden), default=0.0)


def _same(given: str, golden: str) -> bool:
    wanted = normalise(golden)
    return normalise(given) == wanted if wanted else given.strip().lower() == golden.strip().lower()


def _f1(given: str, golden: str) -> float:
    if _same(given, golden):
        return 1.0
    given, golden = normalise(given), normalise(golden)
    if {given, golden} & {"yes", "no", "noanswer"}:
        return 0.0
    mine, theirs = given.split(), golden.split()
    shared = sum((Counter(mine) & Counter(theirs)).values())
    return 2 * shared / (len(mine) + len(theirs)) if shared else 0.0
