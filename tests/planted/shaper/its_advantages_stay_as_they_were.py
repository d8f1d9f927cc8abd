"""Scales the numbers that it is given in place."""


def in_place(trajectories, advantages):
    for values in advantages:
        for i in range(len(values)):
            values[i] = 2 * values[i]
    return advantages


def make():
    return in_place
