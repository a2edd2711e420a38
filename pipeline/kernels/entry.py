"""What papermill loads for the name `forked`: light, and loadable while papermill itself is being imported."""

from __future__ import annotations

from typing import Any


class ForkedEngine:
    """Stands for `pipeline.kernels.engine.ForkedEngine`, which is imported when it is first used."""

    @classmethod
    def execute_notebook(cls, *arguments: Any, **options: Any) -> Any:
        """Execute a notebook in a forked kernel."""
        return _engine().execute_notebook(*arguments, **options)

    @classmethod
    def nb_kernel_name(cls, *arguments: Any, **options: Any) -> Any:
        """Return the name of the notebook's kernel."""
        return _engine().nb_kernel_name(*arguments, **options)

    @classmethod
    def nb_language(cls, *arguments: Any, **options: Any) -> Any:
        """Return the language of the notebook."""
        return _engine().nb_language(*arguments, **options)


def _engine() -> Any:
    from pipeline.kernels import engine

    return engine.ForkedEngine
