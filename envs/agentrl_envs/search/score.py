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

    >>> exact_match("the Red Hill.", ["Hill", "red hill"])
    1.0
    """
    wanted = normalise(given)
    return float(any(wanted == normalise(answer) for answer in golden))


def f1(given: str, golden: Iterable[str]) -> float:
    """The best harmonic mean of precision and recall of words, over the golden answers; yes and no match whole only.

    >>> f1("Ada Bell", ["Ada Bell Smith"])
    0.8
    """
    return max((_f1(normalise(given), normalise(answer)) for answer in golden), default=0.0)


def _f1(given: str, wanted: str) -> float:
    if given == wanted:
        return 1.0
    if {given, wanted} & {"yes", "no", "noanswer"}:
        return 0.0
    mine, theirs = given.split(), wanted.split()
    shared = sum((Counter(mine) & Counter(theirs)).values())
    return 2 * shared / (len(mine) + len(theirs)) if shared else 0.0
