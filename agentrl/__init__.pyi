"""The face of agentrl: everything that users and plugins import."""

from .data.rows import (
    Row as Row,
)
from .data.rows import (
    relation as relation,
)
from .data.rows import (
    training_rows as training_rows,
)
from .data.table import (
    read_trajectories as read_trajectories,
)
from .data.types import (
    Completion as Completion,
)
from .data.types import (
    Floats as Floats,
)
from .data.types import (
    Ids as Ids,
)
from .data.types import (
    Logprobs as Logprobs,
)
from .data.types import (
    Message as Message,
)
from .data.types import (
    Outcome as Outcome,
)
from .data.types import (
    Sampling as Sampling,
)
from .data.types import (
    Task as Task,
)
from .data.types import (
    Trajectory as Trajectory,
)
from .data.types import (
    Turn as Turn,
)
from .data.types import (
    groups as groups,
)
from .data.types import (
    trainable as trainable,
)
from .errors import (
    AgentRLError as AgentRLError,
)
from .errors import (
    ConfigError as ConfigError,
)
from .errors import (
    ContextOverflow as ContextOverflow,
)
from .errors import (
    DataError as DataError,
)
from .errors import (
    EnvironmentFault as EnvironmentFault,
)
from .errors import (
    PluginError as PluginError,
)
from .errors import (
    PolicyFault as PolicyFault,
)
from .errors import (
    RecordError as RecordError,
)
from .errors import (
    SandboxFault as SandboxFault,
)
from .errors import (
    did_you_mean as did_you_mean,
)
from .evaluation.protocol import (
    Evaluation as Evaluation,
)
from .parts.contracts import (
    Advantages as Advantages,
)
from .parts.contracts import (
    Dialogue as Dialogue,
)
from .parts.contracts import (
    Loss as Loss,
)
from .parts.contracts import (
    LossBatch as LossBatch,
)
from .parts.contracts import (
    Model as Model,
)
from .parts.contracts import (
    Policy as Policy,
)
from .parts.contracts import (
    Reading as Reading,
)
from .parts.hookspecs import (
    hookimpl as hookimpl,
)
from .parts.host import (
    Host as Host,
)
from .parts.host import (
    default_host as default_host,
)
from .parts.registry import (
    Spec as Spec,
)
from .parts.registry import (
    factory as factory,
)
from .runs.run import (
    Result as Result,
)
from .runs.run import (
    evaluate as evaluate,
)
from .runs.run import (
    resume as resume,
)
from .runs.run import (
    train as train,
)
from .sandbox import (
    Command as Command,
)
from .sandbox import (
    ExecResult as ExecResult,
)
from .sandbox import (
    ExecUsage as ExecUsage,
)
from .sandbox import (
    FileTree as FileTree,
)
from .sandbox import (
    Output as Output,
)
from .sandbox import (
    OutputStream as OutputStream,
)
from .sandbox import (
    Sandbox as Sandbox,
)
from .sandbox import (
    SandboxLimits as SandboxLimits,
)
from .sandbox import (
    SandboxProvider as SandboxProvider,
)
from .sandbox import (
    SandboxSession as SandboxSession,
)
from .sandbox import (
    SandboxSnapshot as SandboxSnapshot,
)
from .sandbox import (
    SandboxSpec as SandboxSpec,
)
from .testing.report import (
    CheckFailed as CheckFailed,
)
from .testing.report import (
    CheckSkipped as CheckSkipped,
)
from .testing.report import (
    Report as Report,
)
from .testing.report import (
    require as require,
)
from .testing.report import (
    run_checks as run_checks,
)
from .worlds import (
    scoring as scoring,
)
from .worlds import (
    vector as vector,
)
from .worlds.environment import (
    Environment as Environment,
)
from .worlds.environment import (
    UnicodeText as UnicodeText,
)
from .worlds.toolcalls import (
    ToolAction as ToolAction,
)
from .worlds.toolcalls import (
    ToolCall as ToolCall,
)
from .worlds.tools import (
    ToolEnvironment as ToolEnvironment,
)
from .worlds.tools import (
    ToolError as ToolError,
)
from .worlds.tools import (
    tool as tool,
)
