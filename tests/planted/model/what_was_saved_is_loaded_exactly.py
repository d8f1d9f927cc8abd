"""Saves its weights with fewer digits than they have."""

import numpy as np

from agentrl.testing.sample_model import FILE, SampleModel


class SavesHalf(SampleModel):
    async def save(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / FILE, logits=self.logits.astype(np.float16), initial=self._initial)


make = SavesHalf
