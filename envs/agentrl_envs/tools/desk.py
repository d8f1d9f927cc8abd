"""The desk: all tools over one database."""

from __future__ import annotations

import agentrl
from agentrl_envs.tools.database import Database
from agentrl_envs.tools.loan_tools import LoanTools
from agentrl_envs.tools.room_tools import RoomTools


class Desk(LoanTools, RoomTools, agentrl.ToolEnvironment):
    """Runs calls against a database; a world once it has tasks."""

    def __init__(self, database: Database) -> None:
        self.database = database
