"""How the kernel of one notebook is to be started."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class KernelRequest:
    """Working directory, file for what the process itself prints, environment, limits in seconds (None: no limit)."""

    cwd: Path
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    cell_timeout: float | None = None
    timeout: float | None = None
