"""Checks that we ship: every contract has one, and every installed plugin is put through it."""

from agentrl.testing.collecting import check_collector, check_sampler
from agentrl.testing.contexts import check_context
from agentrl.testing.credits import check_credit
from agentrl.testing.dialects import check_dialect
from agentrl.testing.environment import check_environment
from agentrl.testing.losses import check_loss
from agentrl.testing.models import check_model
from agentrl.testing.parts import check_part, kit
from agentrl.testing.plugins import check_plugin
from agentrl.testing.policies import check_policy
from agentrl.testing.report import CheckFailed, CheckSkipped, Report, Result, gate, require, run_checks
from agentrl.testing.shapers import check_shaper
from agentrl.testing.trainers import check_trainer
from agentrl.testing.watching import check_judge, check_logger

__all__ = [
    "CheckFailed",
    "CheckSkipped",
    "Report",
    "Result",
    "check_collector",
    "check_context",
    "check_credit",
    "check_dialect",
    "check_environment",
    "check_judge",
    "check_logger",
    "check_loss",
    "check_model",
    "check_part",
    "check_plugin",
    "check_policy",
    "check_sampler",
    "check_shaper",
    "check_trainer",
    "gate",
    "kit",
    "require",
    "run_checks",
]
