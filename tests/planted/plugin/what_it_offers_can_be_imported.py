"""Has moved its credit elsewhere, and still registers it where it was."""


def register_credits(register):
    register("moved", "planted_support:no_longer_here")
