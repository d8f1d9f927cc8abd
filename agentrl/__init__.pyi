"""The face of agentrl: everything that users and plugins import."""

from .contracts import (
    Advantages as Advantages,
)
from .contracts import (
    Dialogue as Dialogue,
)
from .contracts import (
    Loss as Loss,
)
from .contracts import (
    LossBatch as LossBatch,
)
from .contracts import (
    Model as Model,
)
from .contracts import (
    Policy as Policy,
)
from .contracts import (
    Reading as Reading,
)
from .environment import (
    Environment as Environment,
)
from .environment import (
    UnicodeText as UnicodeText,
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
from .evaluation import (
    Evaluation as Evaluation,
)
from .hookspecs import (
    hookimpl as hookimpl,
)
from .host import (
    Host as Host,
)
from .host import (
    default_host as default_host,
)
from .registry import (
    Spec as Spec,
)
from .registry import (
    factory as factory,
)
from .rows import (
    Row as Row,
)
from .rows import (
    relation as relation,
)
from .rows import (
    training_rows as training_rows,
)
from .run import (
    Result as Result,
)
from .run import (
    evaluate as evaluate,
)
from .run import (
    resume as resume,
)
from .run import (
    train as train,
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
from .sandbox_wire import (
    pack_message as pack_message,
)
from .sandbox_wire import (
    unpack_message as unpack_message,
)
from .scoring import (
    Score as Score,
)
from .scoring import (
    ScoringCase as ScoringCase,
)
from .scoring import (
    score_calls as score_calls,
)
from .scoring import (
    score_cases as score_cases,
)
from .scoring import (
    score_tests as score_tests,
)
from .toolcalls import (
    ToolAction as ToolAction,
)
from .toolcalls import (
    ToolCall as ToolCall,
)
from .tools import (
    ToolEnvironment as ToolEnvironment,
)
from .tools import (
    ToolError as ToolError,
)
from .tools import (
    tool as tool,
)
from .trajectory_table import (
    read_trajectories as read_trajectories,
)
from .types import (
    Completion as Completion,
)
from .types import (
    Floats as Floats,
)
from .types import (
    Ids as Ids,
)
from .types import (
    Logprobs as Logprobs,
)
from .types import (
    Message as Message,
)
from .types import (
    Outcome as Outcome,
)
from .types import (
    Sampling as Sampling,
)
from .types import (
    Task as Task,
)
from .types import (
    Trajectory as Trajectory,
)
from .types import (
    Turn as Turn,
)
from .types import (
    groups as groups,
)
from .types import (
    trainable as trainable,
)
