"""Relations: what the generated knowledge base says of people, cities, companies, universities and novels."""

from __future__ import annotations

from dataclasses import dataclass

NUMBER = "number"
"""The kind of what has no page of its own, so that it can only be the end of a question."""


@dataclass(frozen=True, slots=True)
class Relation:
    """One thing a page says; `{}` is the page's name, and in `sentences` `{o}` what it is related to."""

    name: str
    subject: str
    object: str
    sentences: tuple[str, ...]
    phrase: str  # stands for the object inside a longer question
    question: str


def _relation(name: str, kinds: str, phrase: str, question: str, *sentences: str) -> Relation:
    subject, _, other = kinds.partition(" ")
    return Relation(name, subject, other, sentences, phrase, question)


FULL = (
    _relation(
        "birthplace",
        "person city",
        "the city where {} was born",
        "In which city was {} born?",
        "{s} was born in {o}.",
        "{s} comes from {o}.",
    ),
    _relation(
        "employer",
        "person company",
        "the company that {} works for",
        "Which company does {} work for?",
        "{s} works for {o}.",
        "{s} has been employed by {o} for many years.",
    ),
    _relation(
        "mentor",
        "person person",
        "the mentor of {}",
        "Who was the mentor of {}?",
        "The mentor of {s} was {o}.",
        "{s} learned the trade from {o}, who was a strict mentor.",
    ),
    _relation(
        "school",
        "person university",
        "the university where {} studied",
        "At which university did {} study?",
        "{s} studied at {o}.",
        "{s} took a degree at {o}.",
    ),
    _relation(
        "favourite",
        "person novel",
        "the favourite novel of {}",
        "What is the favourite novel of {}?",
        "The favourite novel of {s} is {o}.",
        "{s} names {o} as a favourite novel.",
    ),
    _relation(
        "mayor",
        "city person",
        "the mayor of {}",
        "Who is the mayor of {}?",
        "The mayor of {s} is {o}.",
        "{s} has {o} as its mayor.",
    ),
    _relation(
        "twin",
        "city city",
        "the twin town of {}",
        "Which city is the twin town of {}?",
        "The twin town of {s} is {o}.",
        "{s} looks to {o} as its twin town.",
    ),
    _relation(
        "population",
        f"city {NUMBER}",
        "",
        "How many people live in {}?",
        "{s} has {o} inhabitants.",
        "In {s} live {o} people.",
    ),
    _relation(
        "founder",
        "company person",
        "the founder of {}",
        "Who founded {}?",
        "{s} was founded by {o}.",
        "The founder of {s} is {o}.",
    ),
    _relation(
        "headquarters",
        "company city",
        "the city where {} has its headquarters",
        "In which city does {} have its headquarters?",
        "{s} has its headquarters in {o}.",
        "The headquarters of {s} are in {o}.",
    ),
    _relation(
        "staff",
        f"company {NUMBER}",
        "",
        "How many people does {} employ?",
        "{s} employs {o} people.",
        "The staff of {s} counts {o} people.",
    ),
    _relation(
        "seat",
        "university city",
        "the city where {} is located",
        "In which city is {} located?",
        "{s} is located in {o}.",
        "The campus of {s} is in {o}.",
    ),
    _relation(
        "rector",
        "university person",
        "the rector of {}",
        "Who is the rector of {}?",
        "The rector of {s} is {o}.",
        "{s} is led by its rector, {o}.",
    ),
    _relation(
        "students",
        f"university {NUMBER}",
        "",
        "How many students does {} have?",
        "{s} has {o} students.",
        "At {s} are enrolled {o} students.",
    ),
    _relation(
        "author",
        "novel person",
        "the author of {}",
        "Who wrote {}?",
        "{s} was written by {o}.",
        "{s} is a novel by the author {o}.",
    ),
    _relation(
        "publisher",
        "novel company",
        "the company that published {}",
        "Which company published {}?",
        "{s} was published by {o}.",
        "{o} published {s}.",
    ),
    _relation(
        "setting",
        "novel city",
        "the city where {} is set",
        "In which city is {} set?",
        "{s} is set in {o}.",
        "The story of {s} takes place in {o}.",
    ),
    _relation(
        "pages",
        f"novel {NUMBER}",
        "",
        "How many pages does {} have?",
        "{s} has {o} pages.",
        "In the first edition {s} fills {o} pages.",
    ),
)

TINY = (
    _relation("birthplace", "person city", "the birthplace of {}", "birthplace of {}?", "birthplace {o}."),
    _relation("employer", "person company", "the employer of {}", "employer of {}?", "employer {o}."),
    _relation("mayor", "city person", "the mayor of {}", "mayor of {}?", "mayor {o}."),
    _relation("bank", "city company", "the bank of {}", "bank of {}?", "bank {o}."),
    _relation("founder", "company person", "the founder of {}", "founder of {}?", "founder {o}."),
    _relation("seat", "company city", "the seat of {}", "seat of {}?", "seat {o}."),
)

ASIDES = {
    "person": ("{s} plays chess on Sundays.", "{s} is fond of long walks.", "Few photographs of {s} exist."),
    "city": ("The summers in {s} are mild.", "{s} is known for its markets.", "A small railway leads to {s}."),
    "company": ("{s} has weathered two crises.", "The logo of {s} is a heron.", "{s} trains many apprentices."),
    "university": ("The library of {s} is open at night.", "{s} has a rowing club.", "{s} teaches medicine and law."),
    "novel": ("Critics were kind to {s}.", "{s} was filmed once.", "{s} begins with a letter."),
}
