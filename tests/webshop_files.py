"""Writes a generated shop in the file format of the original."""

import json
from pathlib import Path

from agentrl_envs.webshop.generate import listings


def write(folder: Path, products: int, seed: int) -> tuple[Path, Path, Path]:
    """Items, attributes and human instructions; returns their paths."""
    shop = list(listings(products, seed))
    content = {
        "items_shuffle": [listing.item for listing in shop],
        "items_ins_v2": {listing.item["asin"]: listing.attributes for listing in shop},
        "items_human_ins": {listing.item["asin"]: listing.human for listing in shop if listing.human},
    }
    for name, value in content.items():
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    items, attributes, human = (folder / f"{name}.json" for name in content)
    return items, attributes, human
