"""Good walls, and every program inherits the variables of whoever made the sandbox, keys and tokens among them."""

import dataclasses
import os

from agentrl_sandboxes.bubblewrap.provider import Bubblewrap


class Inherits(Bubblewrap):
    def create(self, spec=None):
        made = super().create(spec)
        run = made.run

        def inheriting(command, **options):
            return run(dataclasses.replace(command, env={**os.environ, **made.spec.env, **command.env}), **options)

        made.run = inheriting
        return made


make = Inherits
