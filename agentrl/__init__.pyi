"""The face of agentrl: everything that users and plugins import."""

from .contracts import (
    Advantages as Advantages,
    Dialogue as Dialogue,
    Loss as Loss,
    LossBatch as LossBatch,
    Model as Model,
    Policy as Policy,
    Reading as Reading,
)
from .environment import (
    Environment as Environment,
    UnicodeText as UnicodeText,
)
from .errors import (
    AgentRLError as AgentRLError,
    ConfigError as ConfigError,
    ContextOverflow as ContextOverflow,
    DataError as DataError,
    EnvironmentFault as EnvironmentFault,
    PluginError as PluginError,
    PolicyFault as PolicyFault,
    RecordError as RecordError,
    SandboxFault as SandboxFault,
    did_you_mean as did_you_mean,
)
from .evaluation import (
    Evaluation as Evaluation,
)
from .hookspecs import (
    hookimpl as hookimpl,
)
from .host import (
    Host as Host,
    default_host as default_host,
)
from .registry import (
    Spec as Spec,
    factory as factory,
)
from .rows import (
    Row as Row,
    relation as relation,
    training_rows as training_rows,
)
from .run import (
    Result as Result,
    evaluate as evaluate,
    resume as resume,
    train as train,
)
from .sandbox import (
    ExecResult as ExecResult,
    ExecUsage as ExecUsage,
    FileTree as FileTree,
    OutputStream as OutputStream,
    Sandbox as Sandbox,
    SandboxLimits as SandboxLimits,
    SandboxProvider as SandboxProvider,
    SandboxSession as SandboxSession,
    SandboxSnapshot as SandboxSnapshot,
    SandboxSpec as SandboxSpec,
)
from .scoring import (
    Score as Score,
    ScoringCase as ScoringCase,
    score_calls as score_calls,
    score_cases as score_cases,
    score_tests as score_tests,
)
from .toolcalls import (
    ToolAction as ToolAction,
    ToolCall as ToolCall,
)
from .tools import (
    ToolEnvironment as ToolEnvironment,
    ToolError as ToolError,
    tool as tool,
)
from .trajectory_table import (
    read_trajectories as read_trajectories,
)
from .types import (
    Completion as Completion,
    Floats as Floats,
    Ids as Ids,
    Logprobs as Logprobs,
    Message as Message,
    Outcome as Outcome,
    Sampling as Sampling,
    Task as Task,
    Trajectory as Trajectory,
    Turn as Turn,
    groups as groups,
    trainable as trainable,
)
