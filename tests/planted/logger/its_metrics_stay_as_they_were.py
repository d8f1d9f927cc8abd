"""Takes the metrics that it knows out of those that it is given."""

from planted_support import Lines


class Takes(Lines):
    def log(self, update, metrics):
        if isinstance(metrics, dict):
            metrics.pop("success", None)
        super().log(update, metrics)


make = Takes
