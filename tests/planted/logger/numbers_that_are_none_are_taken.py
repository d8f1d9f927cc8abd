"""Writes strict JSON, which knows no NaN."""

import json

from planted_support import Lines


class Strict(Lines):
    def log(self, update, metrics):
        json.dumps(dict(metrics), allow_nan=False)
        super().log(update, metrics)


make = Strict
