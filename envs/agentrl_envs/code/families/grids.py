"""Problems about grids of characters."""

from __future__ import annotations

from agentrl_envs.code.families.sketch import Random, Sketch, between, pick, sketch

FOUR = "((-1, 0), (1, 0), (0, -1), (0, 1))"
EIGHT = "((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))"
KNIGHT = "((-2, -1), (-2, 1), (-1, -2), (-1, 2), (1, -2), (1, 2), (2, -1), (2, 1))"
DIAGONAL = "((-1, -1), (-1, 1), (1, -1), (1, 1))"


def grid(r: Random, cells: str = ".#", most: int = 5) -> list[str]:
    """Rows of equal length, at least one cell."""
    height, width = between(r, 1, most), between(r, 1, most)
    return ["".join(pick(r, cells) for _ in range(width)) for _ in range(height)]


def neighbours(random: Random) -> Sketch:
    around, steps = pick(random, (("4 sides", FOUR), ("8 sides and corners", EIGHT), ("4 corners", DIAGONAL)))
    count, sign = between(random, 1, 3), pick(random, ("==", ">="))
    cell = pick(random, ("#", "."))
    return sketch(
        "neighbours(rows)",
        f"How many cells '{cell}' of the grid have {'exactly' if sign == '==' else 'at least'} {count} "
        f"neighbour{'s' * (count > 1)} '#' on their {around}.",
        f"""
        cells = {{(y, x) for y, row in enumerate(rows) for x, c in enumerate(row) if c == "#"}}
        found = 0
        for y, row in enumerate(rows):
            for x, c in enumerate(row):
                near = sum((y + dy, x + dx) in cells for dy, dx in {steps})
                if c == "{cell}" and near {sign} {count}:
                    found += 1
        return found
        """,
        lambda r: (grid(r),),
    )


def turn(random: Random) -> Sketch:
    moves = {
        "turn it by 90 degrees clockwise": "rows = [''.join(c) for c in zip(*rows[::-1])]",
        "turn it by 90 degrees counterclockwise": "rows = [''.join(c) for c in zip(*rows)][::-1]",
        "mirror it left to right": "rows = [row[::-1] for row in rows]",
        "turn it upside down by mirroring it top to bottom": "rows = rows[::-1]",
        "swap rows and columns": "rows = [''.join(c) for c in zip(*rows)]",
        "take away its first row if it has more than one": "rows = rows[1:] or rows",
        "put a copy of its last row below it": "rows = rows + rows[-1:]",
    }
    first, second = (pick(random, list(moves)) for _ in range(2))
    return sketch(
        "turn(rows)",
        f"Change the grid (a list of rows of text): first {first}, then {second}. Return the rows.",
        f"""
        {moves[first]}
        {moves[second]}
        return rows
        """,
        lambda r: (grid(r, "abcd", 4),),
    )


def fewest_moves(random: Random) -> Sketch:
    how, steps = pick(
        random,
        (
            ("one cell up, down, left or right", FOUR),
            ("one cell in any of 8 directions", EIGHT),
            ("one cell diagonally", DIAGONAL),
            ("as a knight in chess does (it may jump over '#')", KNIGHT),
        ),
    )
    start, goal = pick(
        random, (("top left", "bottom right"), ("top right", "bottom left"), ("bottom left", "top right"))
    )
    corner = {"top left": "(0, 0)", "bottom right": "(h, w)", "top right": "(0, w)", "bottom left": "(h, 0)"}
    return sketch(
        "fewest_moves(rows)",
        f"The fewest moves from the {start} to the {goal} cell of the grid, or -1 if there is no way. A move goes {how}; "
        "cells '#' cannot be entered, and if start or goal is one there is no way.",
        f"""
        h, w = len(rows) - 1, len(rows[0]) - 1
        start, goal = {corner[start]}, {corner[goal]}
        free = {{(y, x) for y, row in enumerate(rows) for x, c in enumerate(row) if c != "#"}}
        if start not in free:
            return -1
        reached, queue = {{start: 0}}, [start]
        for y, x in queue:
            for dy, dx in {steps}:
                cell = (y + dy, x + dx)
                if cell in free and cell not in reached:
                    reached[cell] = reached[(y, x)] + 1
                    queue.append(cell)
        return reached.get(goal, -1)
        """,
        lambda r: (grid(r, "....#", 5),),
    )


def islands(random: Random) -> Sketch:
    around, steps = pick(random, (("by their sides", FOUR), ("by their sides or corners", EIGHT)))
    what, code = pick(
        random,
        (
            ("the number of the islands", "len(sizes)"),
            ("the size of the largest island, or 0", "max(sizes, default=0)"),
            ("the size of the smallest island, or 0", "min(sizes, default=0)"),
            ("the sizes of the islands in descending order", "sorted(sizes, reverse=True)"),
        ),
    )
    return sketch(
        "islands(rows)",
        f"Cells '#' that hang together {around} are an island. Return {what}.",
        f"""
        cells = {{(y, x) for y, row in enumerate(rows) for x, c in enumerate(row) if c == "#"}}
        sizes = []
        while cells:
            queue = [cells.pop()]
            for y, x in queue:
                for dy, dx in {steps}:
                    if (y + dy, x + dx) in cells:
                        cells.remove((y + dy, x + dx))
                        queue.append((y + dy, x + dx))
            sizes.append(len(queue))
        return {code}
        """,
        lambda r: (grid(r, ".#", 6),),
    )


def falling(random: Random) -> Sketch:
    side = pick(random, ("down", "up", "left", "right"))
    wall = pick(random, (True, False))
    turned = side in ("down", "up")
    order = "'.' * n + 'o' * m" if side in ("down", "right") else "'o' * m + '.' * n"
    cut = "line.split('#')" if wall else "[line]"
    stones = "Walls '#' stay where they are and stop stones. " if wall else ""
    zip_lines = "rows = [''.join(c) for c in zip(*rows)]" if turned else "rows = list(rows)"
    return sketch(
        "falling(rows)",
        f"In a grid of stones 'o' and air '.' all stones fall {side} as far as they can. {stones}Return the rows "
        "afterwards.",
        f"""
        {zip_lines}
        found = []
        for line in rows:
            parts = []
            for part in {cut}:
                n, m = part.count("."), part.count("o")
                parts.append({order})
            found.append("#".join(parts))
        return {"[''.join(c) for c in zip(*found)]" if turned else "found"}
        """,
        lambda r: (grid(r, "..o#" if wall else ".o", 5),),
    )


def generation(random: Random) -> Sketch:
    born = sorted({between(random, 1, 4), between(random, 2, 3)})
    stays = sorted({between(random, 1, 5), between(random, 2, 4)})
    edge = pick(random, ("outside the grid all is dead", "the grid is closed: beyond each edge comes the opposite one"))
    closed = edge.startswith("the grid")
    place = "((y + dy) % h, (x + dx) % w)" if closed else "(y + dy, x + dx)"
    least = 3 if closed else 1

    def draw(r: Random) -> tuple[list[str]]:
        height, width = between(r, least, 5), between(r, least, 5)
        return (["".join(pick(r, ".#") for _ in range(width)) for _ in range(height)],)

    return sketch(
        "generation(rows)",
        f"One step of a game of life with cells '#' (alive) and '.' (dead), each with 8 neighbours; {edge}. A dead cell "
        f"with {' or '.join(map(str, born))} living neighbours becomes alive, a living one with "
        f"{' or '.join(map(str, stays))} stays alive, all others are dead. Return the rows.",
        f"""
        h, w = len(rows), len(rows[0])
        alive = {{(y, x) for y in range(h) for x in range(w) if rows[y][x] == "#"}}
        found = []
        for y in range(h):
            row = ""
            for x in range(w):
                near = sum({place} in alive for dy, dx in {EIGHT})
                row += "#" if near in ({stays} if (y, x) in alive else {born}) else "."
            found.append(row)
        return found
        """,
        draw,
    )


def lines_of(random: Random) -> Sketch:
    length = between(random, 2, 3)
    steps, words = pick(
        random,
        (
            ("((0, 1), (1, 0))", "in a row or a column"),
            ("((1, 1), (1, -1))", "on a diagonal"),
            ("((0, 1), (1, 0), (1, 1), (1, -1))", "in a row, a column or on a diagonal"),
        ),
    )
    what, code = pick(
        random, (("the winner, 'x' or 'o', or '-' if nobody or both did", "names"), ("how often", "count"))
    )
    end = 'return won[0] if len(set(won)) == 1 else "-"' if code == "names" else "return len(won)"
    mark = "?" if code == "names" else "."
    ask = "Who has" if code == "names" else "Count the places where somebody has"
    return sketch(
        "lines_of(rows)",
        f"On a board of 'x', 'o' and '.': {ask.lower()} {length} of the same letter next to each other {words}{mark} "
        f"Return {what}.{' Every start of such a line counts.' if code == 'count' else ''}",
        f"""
        board = {{(y, x): c for y, row in enumerate(rows) for x, c in enumerate(row)}}
        won = []
        for (y, x), c in board.items():
            for dy, dx in {steps}:
                if c != "." and all(board.get((y + dy * i, x + dx * i)) == c for i in range({length})):
                    won.append(c)
        {end}
        """,
        lambda r: (grid(r, "xo.", 6),),
    )
