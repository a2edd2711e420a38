"""Replay runs, explain why two runs differ, and find a run that need not be executed again."""

from __future__ import annotations

from pipeline.replay.explanation import Explanation, explain
from pipeline.replay.rerun import ReplayResult, is_replay, replay_run
from pipeline.replay.reuse import Reuse, find_reusable

__all__ = ["Explanation", "ReplayResult", "Reuse", "explain", "find_reusable", "is_replay", "replay_run"]
