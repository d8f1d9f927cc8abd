"""`python -m agentrl.cli` is the command `agentrl`."""

from agentrl.cli import main

main()
