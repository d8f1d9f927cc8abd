"""Good walls, and the exit code is what the program says it was."""

import dataclasses
import re

from agentrl_sandboxes.bubblewrap.provider import Bubblewrap


class Believes(Bubblewrap):
    def create(self, spec=None):
        made = super().create(spec)
        run = made.run

        def believing(command, **options):
            result = run(command, **options)
            said = re.search(rb"exit code: (\d+)", result.stdout.head)
            return dataclasses.replace(result, exit_code=int(said[1])) if said else result

        made.run = believing
        return made


make = Believes
