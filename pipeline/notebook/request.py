"""How the kernel of one notebook is to be started."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

# What the environment of every kernel has unless it says otherwise: no run reports its use to anybody.
DEFAULTS = {"MLFLOW_DISABLE_TELEMETRY": "true"}


@dataclass(frozen=True)
class KernelRequest:
    """Working directory, file for what the process itself prints, environment, limits in seconds (None: no limit).

    `memory` are the bytes a forked kernel may allocate; a fresh kernel has no such limit.
    """

    cwd: Path
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    cell_timeout: float | None = None
    timeout: float | None = None
    memory: int | None = None
