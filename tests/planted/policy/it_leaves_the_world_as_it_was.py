"""A demonstrator that draws from the world's own random numbers."""


class Borrows:
    def act(self, world, info, seed):
        admissible = info.get("admissible") or ("in",)
        return admissible[int(world.unwrapped.np_random.integers(len(admissible)))]


make = Borrows
