"""The same notebook in an ordinary and in a forked kernel becomes the same executed notebook."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from nbclient.exceptions import CellTimeoutError
from papermill.exceptions import PapermillExecutionError

from pipeline.kernels import ForkServer
from tests.kernels.notebooks import comparable, execute, notebook, read

CORPUS = {
    "text": [
        "print('one'); 1 + 1",
        "import sys\nprint('to stderr', file=sys.stderr)\nprint('to stdout')",
        "print('Grüße, 世界 \\U0001f600', '\\u2028', '\\x1b[31mred\\x1b[0m')",
        "'Ω' * 3",
        "None",
        "print('x' * 300_000)",
        "In[1], Out[4], _4, __name__",
        "%history",
    ],
    "names": [
        "print(repr(_), repr(__), repr(___), sorted(name for name in dir() if name.startswith('__')))",
        "import linecache\nget_ipython().execution_count, Out, len([n for n in linecache.cache if 'ipykernel_' in n])",
        "import multiprocessing as mp\nwith mp.get_context('spawn').Pool(1) as pool:\n    print(pool.map(abs, [-1]))",
    ],
    "errors": [
        "def outer():\n    return inner()\n\ndef inner():\n    return 1 / 0\n\nouter()",
        "this is not python",
        "raise ValueError('broken\\nin two lines')",
        "class Bad:\n    def __repr__(self):\n        raise RuntimeError('no repr')\nBad()",
        "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise KeyError('second') from error",
        "input('name? ')",
        "import getpass\ngetpass.getpass()",
        "import sys\nsys.exit(3)",
        "undefined",
        "%nosuchmagic",
    ],
    "display": [
        "from IPython.display import display, HTML, clear_output, update_display, JSON, Markdown",
        "display(HTML('<b>bold</b>')); display({'a': 1}, metadata={}); Markdown('*x*')",
        "handle = display(HTML('first'), display_id='here')",
        "handle.update(HTML('second'))\nprint('updated')",
        "print('gone'); clear_output(); print('kept')",
        "print('gone'); clear_output(wait=True); print('kept')",
        "update_display(HTML('third'), display_id='here')",
        "display({'text/plain': 'raw', 'application/json': {'b': [1, 2]}}, raw=True)",
    ],
    "processes": [
        "!echo from a shell",
        "%%bash\necho from bash\necho and its stderr >&2",
        "import os, time\n_ = os.system('echo from system'); time.sleep(0.5)",
        "import subprocess, sys\nsubprocess.run(['echo', 'from a subprocess'], check=True); time.sleep(0.5)",
        "import ctypes\nlibc = ctypes.CDLL(None)\n_ = libc.puts(b'from C'); _ = libc.fflush(None); time.sleep(0.5)",
        "import threading\nt = threading.Thread(target=print, args=('from a thread',)); t.start(); t.join()",
        "import multiprocessing as mp\np = mp.get_context('fork').Process(target=print, args=('from a child',))",
        "p.start(); p.join(); time.sleep(0.5); p.exitcode",
    ],
    "async": [
        "import asyncio\nawait asyncio.sleep(0.01)\nprint('waited')",
        "task = asyncio.create_task(asyncio.sleep(0.01, 'done'))",
        "await task",
        "asyncio.get_running_loop().is_running()",
        "async def fails():\n    raise OSError('async')\nawait fails()",
    ],
    "libraries": [
        "import numpy as np, pandas as pd, logging, warnings",
        "pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})",
        "pd.DataFrame({f'a long name {i}': [i * 1.5] for i in range(30)})",
        "{name: pd.get_option(name) for name in ('display.max_columns', 'display.width', 'display.html.border')}",
        "import matplotlib.pyplot as plt\nfigure, axes = plt.subplots()\n_ = axes.plot([1, 2, 3])",
        "import matplotlib\nmatplotlib.get_backend(), {k: str(v) for k, v in plt.rcParams.items()}",
        "logging.getLogger('a').warning('careful'); warnings.warn('deprecated', stacklevel=1)",
        "import plotly.io, plotly.graph_objects as go\nplotly.io.renderers.default",
        "go.Figure(go.Scatter(y=[1, 2]), layout={'template': 'none'})",
        "np.random.default_rng(7).normal(size=3), np.get_printoptions()['precision'], pd.options.display.max_rows",
        "np.linalg.inv(np.arange(9).reshape(3, 3) + np.eye(3)) @ np.ones(3)",
    ],
    "shell": [
        "shell = get_ipython()\ntype(shell), shell.config.get('IPKernelApp') is not None, shell.execution_count",
        "import sys\nsys.path[0], type(sys.stdout), sys.stdout.isatty()",
        "len(sys.argv), sys.argv[0].endswith('launcher.py')",
        "%%capture held\nprint('captured')",
        "held.stdout",
        "%matplotlib inline",
        "import os\nsorted((k, v) for k, v in os.environ.items() if not k.startswith('JPY_'))",
        "os.getcwd() == os.environ.get('PWD', os.getcwd()), sys.stdin.read()",
        "%who",
        "%pinfo print",
        "sorted(get_ipython().user_ns_hidden)[:5], type(sys.displayhook), sys.excepthook is sys.__excepthook__",
    ],
    "widgets": [
        "import ipywidgets as w\nfrom IPython.display import display",
        "slider = w.IntSlider(3, description='fast')\nslider",
        "slider.value = 5",
        "out = w.Output()\ndisplay(out)\nwith out:\n    print('inside the widget')",
        "from tqdm.auto import tqdm\nfor _ in tqdm(range(3), ncols=50, bar_format='{l_bar}{bar}'):\n    pass",
    ],
}


def in_ordinary_kernel(source: Any, directory: Path) -> dict[str, Any]:
    """Execute what forked kernels are compared to. An ordinary kernel now and then stops answering (seen with
    ipykernel 7.4 and messages of widgets, without anything of ours): another one is started then.
    """
    for _ in range(3):
        try:
            execute(source, directory, None, execution_timeout=30)
        except CellTimeoutError:
            continue
        except PapermillExecutionError:
            pass
        return comparable(read(directory))
    pytest.fail("three ordinary kernels stopped answering")


@pytest.mark.slow
@pytest.mark.parametrize("name", CORPUS)
def test_executed_notebooks_are_identical(name: str, kernels: ForkServer, tmp_path: Path) -> None:
    """Outputs, execution counts, tracebacks, display updates and widgets are the same in both kinds of kernel."""
    every = {position: ["raises-exception"] for position in range(len(CORPUS[name]))}
    source = notebook(*CORPUS[name], tags=every)
    ordinary = in_ordinary_kernel(source, tmp_path)
    with contextlib.suppress(PapermillExecutionError):
        execute(source, tmp_path, kernels)
    forked = comparable(read(tmp_path))
    for one, other in zip(ordinary["cells"], forked["cells"], strict=True):
        assert other == one
    assert forked["metadata"] == ordinary["metadata"]
