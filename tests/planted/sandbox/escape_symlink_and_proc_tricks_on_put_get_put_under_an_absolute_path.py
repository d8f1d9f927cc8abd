"""Good walls, and a file with an absolute path is put there on the host."""

from pathlib import Path

from agentrl_sandboxes.bubblewrap.provider import Bubblewrap


class PutsAnywhere(Bubblewrap):
    def create(self, spec=None):
        made = super().create(spec)
        put = made.put_tree

        def anywhere(files, **options):
            for path, data in files.items():
                if Path(path).is_absolute() and Path(path).parent.exists():
                    Path(path).write_bytes(data)
            put(files, **options)

        made.put_tree = anywhere
        return made


make = PutsAnywhere
