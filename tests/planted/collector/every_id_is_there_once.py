"""Returns its group twice, so that every trajectory is trained twice."""

from planted_support import Repeats


class Doubles(Repeats):
    async def collect(self, draw, speakers):
        return 2 * await super().collect(draw, speakers)


make = Doubles
