"""Papermill writes the whole notebook before and after every cell; this writes it when that has become worth it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from jupyter_core.utils import run_sync
from papermill.clientwrap import PapermillNotebookClient

SHARE = 0.05  # of the time that may be spent on saving
FIRST = 0.5  # seconds until the second save: the first was papermill's, at the beginning
LATEST = 1.0  # seconds in a cell after which the notebook on disk shows that it has begun


class SparingNotebookClient(PapermillNotebookClient):
    """Saves when the last save is twenty times its own duration ago, and once in each cell that takes long.

    Papermill itself saves at the beginning and, whatever happened, at the end, and within a cell after each
    `autosave_cell_every` seconds: these are counted and kept as papermill does.
    """

    _next_save = 0.0
    _skipped = False

    def execute(self, **kwargs: Any) -> Any:
        """Execute the notebook; papermill's manager of it saves sparingly meanwhile."""
        manager = self.nb_man
        save, autosave = manager.save, manager.autosave_cell
        self._next_save = time.monotonic() + FIRST

        def sparing(**given: Any) -> None:
            manager.nb = given.get("nb") or manager.nb
            began = time.monotonic()
            self._skipped = began < self._next_save
            if self._skipped:
                manager.last_save_time = manager.now()
            else:
                save(**given)
                ended = time.monotonic()
                self._next_save = ended + (ended - began) / SHARE

        def autosaving(**given: Any) -> None:
            manager.save = save
            try:
                autosave(**given)
            finally:
                manager.save = sparing

        manager.save, manager.autosave_cell = sparing, autosaving
        try:
            return super().execute(**kwargs)
        finally:
            del manager.save, manager.autosave_cell

    async def async_execute_cell(self, *args: Any, **kwargs: Any) -> Any:
        """Execute a cell; when it takes long, what was skipped until then is saved."""
        late = asyncio.ensure_future(self._save_late())
        try:
            return await super().async_execute_cell(*args, **kwargs)
        finally:
            late.cancel()

    execute_cell = run_sync(async_execute_cell)

    async def _save_late(self) -> None:
        await asyncio.sleep(min(LATEST, max(0.0, self._next_save - time.monotonic())))
        if self._skipped:
            since, self._next_save = self.nb_man.last_save_time, 0.0
            self.nb_man.save()
            self.nb_man.last_save_time = since
