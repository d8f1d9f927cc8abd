"""Takes the new version on before it looks at how it is to be handed out."""

import dataclasses

from agentrl.testing.sample_model import SampleModel


class Hasty(SampleModel):
    async def publish(self, update, via):
        self.version = dataclasses.replace(self.version, update=update)
        return await super().publish(update, via)


make = Hasty
