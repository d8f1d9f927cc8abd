"""Declares a column that agentrl has, in another way."""

from agentrl import Column


def register_columns(declare):
    declare(Column("value", "text", "trajectory"))
