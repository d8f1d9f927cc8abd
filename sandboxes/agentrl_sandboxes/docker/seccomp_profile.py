"""The seccomp allow list in the form that Docker takes, as an outer filter around the one of `inside.seccomp`."""

from __future__ import annotations

import json

from agentrl_sandboxes.inside import seccomp

_INSTALL_FILTER = 22  # prctl(PR_SET_SECCOMP): the first process puts the exact filter on itself, which then forbids it
_LOW_HALF = 0xFFFFFFFF


def profile(name: str = "default") -> str:
    """JSON for `--security-opt seccomp=`. Everything that is not named is refused."""
    simple, conditional = seccomp.allowed_names(), seccomp.allowed_values(name)
    rules: list[dict[str, object]] = [
        {"names": sorted(set(simple) - set(conditional) - {"clone"}), "action": "SCMP_ACT_ALLOW", "args": []}
    ]
    rules += [
        {"names": [call], "action": "SCMP_ACT_ALLOW", "args": [_equal(0, value)]}
        for call, values in conditional.items()
        for value in (*values, *((_INSTALL_FILTER,) if call == "prctl" else ()))
    ]
    no_namespace = {"index": 0, "value": seccomp.NEW_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    rules.append({"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [no_namespace]})
    missing = sorted(seccomp.PRETEND_MISSING)
    rules.append({"names": missing, "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "args": []})
    architecture = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}[seccomp.architecture()]
    return json.dumps(
        {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": [architecture], "syscalls": rules}
    )


def _equal(index: int, value: int) -> dict[str, object]:
    return {"index": index, "value": _LOW_HALF, "valueTwo": value & _LOW_HALF, "op": "SCMP_CMP_MASKED_EQ"}
