"""Problems about text."""

from __future__ import annotations

from agentrl_envs.code.families.sketch import Random, Sketch, between, pick, sentence, sketch, word

KINDS = {
    "vowels (a, e, i, o, u, in either case)": "c in 'aeiouAEIOU'",
    "capital letters": "c.isupper()",
    "small letters": "c.islower()",
    "letters from a to m, in either case": "'a' <= c.lower() <= 'm'",
    "blanks": "c == ' '",
}


def shift_letters(random: Random) -> Sketch:
    by, side = between(random, 1, 12), pick(random, ("after", "before"))
    sign = "+" if side == "after" else "-"
    return sketch(
        "shift_letters(text)",
        f"Replace every small letter a to z by the one {by} places {side} it in the alphabet (after z comes a again); "
        "everything else stays.",
        f"""
        found = ""
        for c in text:
            if "a" <= c <= "z":
                c = chr((ord(c) - ord("a") {sign} {by}) % 26 + ord("a"))
            found += c
        return found
        """,
        lambda r: (sentence(r, 0, 4),),
    )


def about_kind(random: Random) -> Sketch:
    kind = pick(random, list(KINDS))
    what, code = pick(
        random,
        (
            (f"The number of {kind} in the text", "len(places)"),
            (f"The index of the first of the {kind} in the text, or -1", "places[0] if places else -1"),
            (f"The index of the last of the {kind} in the text, or -1", "places[-1] if places else -1"),
            (f"The text without its {kind}", "''.join(c for i, c in enumerate(text) if i not in places)"),
            (f"Only the {kind} of the text, backwards", "''.join(text[i] for i in reversed(places))"),
        ),
    )
    return sketch(
        "about_kind(text)",
        f"{what}.",
        f"""
        places = [i for i, c in enumerate(text) if {KINDS[kind]}]
        return {code}
        """,
        lambda r: (sentence(r, 0, 5),),
    )


def run_lengths(random: Random) -> Sketch:
    count_first = pick(random, (True, False))
    single, between_sign = pick(random, ("with its 1", "without a number")), pick(random, ("", "-", ","))
    number = "str(n)" if single == "with its 1" else "(str(n) if n > 1 else '')"
    piece = f"{number} + c" if count_first else f"c + {number}"
    joined = f'"{between_sign}" between the parts' if between_sign else "nothing between the parts"
    return sketch(
        "run_lengths(text)",
        f"Write every stretch of equal letters as one letter with the length of the stretch "
        f"{'before' if count_first else 'after'} it; a single letter {single}; {joined}.",
        f"""
        parts, i = [], 0
        while i < len(text):
            c, n = text[i], 1
            while i + n < len(text) and text[i + n] == c:
                n += 1
            parts.append({piece})
            i += n
        return "{between_sign}".join(parts)
        """,
        lambda r: ("".join(c * between(r, 1, 3) for c in word(r, 0, 5, "abc")),),
    )


def unpack(random: Random) -> Sketch:
    count_first, plus = pick(random, (True, False)), between(random, 0, 2)
    body = "count = int(text[i]); c = text[i + 1]" if count_first else "c = text[i]; count = int(text[i + 1])"
    first, second = body.split("; ")
    extra = f", plus {plus}," if plus else ""

    def draw(r: Random) -> tuple[str]:
        pairs = [(between(r, 0, 5), pick(r, "abcxyz")) for _ in range(between(r, 0, 6))]
        return ("".join(f"{n}{c}" if count_first else f"{c}{n}" for n, c in pairs),)

    return sketch(
        "unpack(text)",
        f"The text is made of pairs of {'a digit and a letter' if count_first else 'a letter and a digit'}. Write each "
        f"letter as often as its digit says{extra} and join all.",
        f"""
        found = ""
        for i in range(0, len(text), 2):
            {first}
            {second}
            found += c * {f"(count + {plus})" if plus else "count"}
        return found
        """,
        draw,
    )


def change_words(random: Random) -> Sketch:
    length = between(random, 2, 5)
    which, test = pick(
        random,
        (
            (f"of more than {length} letters", f"len(w) > {length}"),
            (f"of at most {length} letters", f"len(w) <= {length}"),
            ("that begin with a vowel", "w[0] in 'aeiouAEIOU'"),
            ("that hold a capital letter", "w != w.lower()"),
        ),
    )
    how, code = pick(
        random,
        (
            ("backwards", "w[::-1]"),
            ("in capitals", "w.upper()"),
            ("without its first letter", "w[1:]"),
            ("twice, without a blank", "w + w"),
            ("with its first letter at the end", "w[1:] + w[0]"),
        ),
    )
    return sketch(
        "change_words(text)",
        f"Words are separated by single blanks. Write every word {which} {how}; the others stay, and so do the blanks.",
        f"""
        changed = [{code} if {test} else w for w in text.split()]
        return " ".join(changed)
        """,
        lambda r: (sentence(r, 0, 6),),
    )


def order_words(random: Random) -> Sketch:
    key, code = pick(
        random,
        (
            ("length", "len(w)"),
            ("last letter, small or capital alike", "w[-1].lower()"),
            ("number of vowels (a, e, i, o, u, in either case)", "sum(c in 'aeiou' for c in w.lower())"),
            ("number of different letters, case ignored", "len(set(w.lower()))"),
        ),
    )
    order = pick(random, ("ascending", "descending"))
    reverse = ", reverse=True" if order == "descending" else ""
    return sketch(
        "order_words(text)",
        f"The words of the text (separated by blanks) as a list in {order} order of their {key}; words for which "
        "that is equal stay in the order of the text.",
        f"return sorted(text.split(), key=lambda w: {code}{reverse})",
        lambda r: (sentence(r, 0, 7),),
    )


def mirror_part(random: Random) -> Sketch:
    side, least = pick(random, ("at the beginning", "at the end", "anywhere")), between(random, 1, 3)
    code = {
        "at the beginning": "[text[:j] for j in range(len(text) + 1)]",
        "at the end": "[text[i:] for i in range(len(text) + 1)]",
        "anywhere": "[text[i:j] for i in range(len(text)) for j in range(i, len(text) + 1)]",
    }[side]
    return sketch(
        "mirror_part(text)",
        f"The length of the longest part {side} of the text that reads the same backwards; 0 if it is shorter than {least}.",
        f"""
        parts = {code}
        best = max((len(part) for part in parts if part == part[::-1]), default=0)
        return best if best >= {least} else 0
        """,
        lambda r: (word(r, 0, 9, "abc"),),
    )


def initials(random: Random) -> Sketch:
    least, sign = between(random, 1, 4), pick(random, ("", ".", "-"))
    case, code = pick(random, (("capital", "upper"), ("small", "lower")))
    joined = f'with "{sign}" between them' if sign else "with nothing between them"
    return sketch(
        "initials(text)",
        f"The first letters of all words with at least {least} letters, as {case} letters, {joined}.",
        f"return '{sign}'.join(w[0].{code}() for w in text.split() if len(w) >= {least})",
        lambda r: (sentence(r, 0, 6),),
    )


def fixed_width(random: Random) -> Sketch:
    width, fill = between(random, 3, 8), pick(random, (".", "_", "*", "0"))
    side, code = pick(random, (("left", "ljust"), ("right", "rjust")))
    cut, piece = pick(random, (("its beginning", f"w[:{width}]"), ("its end", f"w[-{width}:]")))
    return sketch(
        "fixed_width(words)",
        f"Every word at a width of {width}: a longer word keeps only {cut}, a shorter one stands on the {side} and is "
        f"filled up with '{fill}'. Return one text, with '|' between the words.",
        f"return '|'.join({piece}.{code}({width}, '{fill}') for w in words)",
        lambda r: ([word(r, 1, 10) for _ in range(between(r, 0, 5))],),
    )


def brackets(random: Random) -> Sketch:
    pairs = pick(random, (("()",), ("()", "[]"), ("<>", "{}"), ("()", "<>"), ("[]", "{}", "()")))
    result = pick(random, ("the greatest depth, or -1 if they do not", "True if they do, else False"))
    closing = {pair[1]: pair[0] for pair in pairs}
    good, bad = ("deepest", "-1") if result.startswith("the") else ("True", "False")
    letters = "".join(pairs)

    def draw(r: Random) -> tuple[str]:
        text = ""
        for _ in range(between(r, 0, 4)):
            pair = pick(r, pairs)
            cut = between(r, 0, len(text))
            text = pick(r, (text[:cut] + pair + text[cut:], pair[0] + text + pair[1]))
        return (text if r.random() < 0.7 else text + pick(r, letters) + "x",)

    return sketch(
        "brackets(text)",
        f"Do the brackets {' '.join(pairs)} in the text match and nest properly? Return {result}. Other characters do "
        f"not matter.",
        f"""
        closing, open_ones, deepest = {closing!r}, [], 0
        for c in text:
            if c in closing.values():
                open_ones.append(c)
                deepest = max(deepest, len(open_ones))
            elif c in closing:
                if not open_ones or open_ones.pop() != closing[c]:
                    return {bad}
        return {good} if not open_ones else {bad}
        """,
        draw,
    )


def rows_of_letters(random: Random) -> Sketch:
    step, sign = between(random, 2, 5), pick(random, ("", "/", " "))
    order = pick(random, ("", "[::-1]"))
    first = "first" if not order else "last"
    joined = f"'{sign}' between them" if sign else "nothing between them"
    return sketch(
        "rows_of_letters(text)",
        f"Deal the letters of the text in turn to {step} rows. Return the rows in one text, the {first} row at the "
        f"front{'' if not order else ' and the first at the end'}, with {joined}; a row may be empty.",
        f"""
        rows = [text[i::{step}] for i in range({step})]
        return "{sign}".join(rows{order})
        """,
        lambda r: (word(r, 0, 12),),
    )


def common_ends(random: Random) -> Sketch:
    side, case = pick(random, ("beginning", "end")), pick(random, ("matters", "does not matter"))
    lower = ".lower()" if case == "does not matter" else ""
    back = "[::-1]" if side == "end" else ""
    answer = "in small letters" if lower else "as it is"
    return sketch(
        "common_ends(a, b)",
        f"The longest common {side} of the two texts, {answer}; whether letters are small or capital {case}.",
        f"""
        a, b, common = a{lower}{back}, b{lower}{back}, ""
        for one, two in zip(a, b):
            if one != two:
                break
            common += one
        return common{back}
        """,
        lambda r: _two_texts(r, side == "end"),
    )


def _two_texts(r: Random, at_end: bool) -> tuple[str, str]:
    common, a, b = word(r, 0, 5), word(r, 0, 4), word(r, 0, 4)
    other = common.upper() if r.random() < 0.4 else common
    return (a + common, b + other) if at_end else (common + a, other + b)
