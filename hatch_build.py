"""What a build adds: a description whose links work outside the repository, and in a wheel the run files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)\[([^][]*)\]\((?!https?://|#)([^()\s]+)\)")
"""A link into the repository, or an image of it."""


class Description(MetadataHookInterface):
    """README.md as the page of a package index shows it."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the description."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        repository = metadata.get("urls", {}).get("Repository", "")
        metadata["readme"] = {"content-type": "text/markdown", "text": linked(text, repository)}


class RunFiles(BuildHookInterface[Any]):
    """Puts `examples` into a wheel, for `agentrl examples`; an editable installation has those of the clone."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a wheel is built."""
        if version != "editable":
            build_data["force_include"][str(Path(self.root) / "examples")] = "agentrl_examples"


def linked(text: str, repository: str) -> str:
    """The text with absolute links. Without an address of the repository it names the files, and has no images.

    >>> linked("See [the tour](docs/tour.md) and [docs/README.md](docs/README.md).", "")
    'See the tour (`docs/tour.md`) and `docs/README.md`.'
    >>> linked("![A curve](docs/curve.png)", "https://example.org/agentrl")
    '![A curve](https://example.org/agentrl/raw/main/docs/curve.png)'
    """

    def absolute(link: re.Match[str]) -> str:
        image, words, target = link.groups()
        if repository:
            return f"{image}[{words}]({repository.rstrip('/')}/{'raw' if image else 'blob'}/main/{target})"
        if image:
            return ""
        return f"`{target}`" if words == target else f"{words} (`{target}`)"

    return _LINK.sub(absolute, text)
