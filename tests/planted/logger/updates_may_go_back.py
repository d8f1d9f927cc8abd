"""Expects updates to count up, as they do until a run is resumed."""

from planted_support import Lines


class CountsUp(Lines):
    def log(self, update, metrics):
        if self.lines and update <= self.lines[-1][0]:
            raise ValueError(f"update {update} after {self.lines[-1][0]}")
        super().log(update, metrics)


make = CountsUp
