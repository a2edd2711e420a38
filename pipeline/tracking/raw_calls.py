"""What raw MLflow calls of a notebook do to its run: sent to the store, kept in the journal, never the end of a cell.

Every call that writes to the run, or to a run nested in it, is made and then recorded: as sent, or, when the store
failed, as still to be delivered. After the first failure nothing more is sent from this process, so that what is
delivered later arrives in the order in which it was logged. In mode `strict` a failure is raised as MLflow raises it.

`fluent` puts these methods around those of the same name of MlflowClient, which all of MLflow's interfaces use.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.layout import MANIFEST
from pipeline.secrets import of_this_process
from pipeline.tracking import limits
from pipeline.tracking.children import CHILD_TAG, PARENT_IS_RUN, PARENT_TAG, child_entry, children_of, start_of
from pipeline.tracking.datasets import described
from pipeline.tracking.failures import is_mistake, reason
from pipeline.tracking.files import joined
from pipeline.tracking.journal import now_ms, read_journal
from pipeline.tracking.journal_tracker import JournalTracker
from pipeline.tracking.known_run import KnownRun
from pipeline.tracking.points import as_metric, as_point, records_of
from pipeline.tracking.uri import HTTP, absolute_uri, scheme
from pipeline.tracking.values import storable

MAX_FILES_BYTES = 100_000_000
ENDED = ("FINISHED", "FAILED", "KILLED")
FOLLOWS = "_evidence_follows_setting"  # on a client that was made without a URI
ASYNC = "MLFLOW_ENABLE_ASYNC_LOGGING"
Record = tuple[str, dict[str, Any]]


@dataclass
class Call:
    """One raw call: its client, its arguments by name, and how to make it with them."""

    client: Any
    values: dict[str, Any]
    send: Callable[[], Any]

    @property
    def run_id(self) -> str:
        """The run the call is about."""
        return str(self.values["run_id"])


class RawCalls:
    """The raw calls of one process to one run, and to the runs nested in it."""

    def __init__(self, tracker: JournalTracker, run_id: str, experiment_id: str, tracking_uri: str) -> None:
        self.tracker = tracker
        self.run_id = run_id
        self.experiment_id = experiment_id
        self.tracking_uri = tracking_uri
        self.failed = False
        self._keys: dict[str, str] = {}  # MLflow's id of each nested run -> its key in the journal
        self._room = MAX_FILES_BYTES
        self._opened = False
        self._unreachable = False
        self._lock = threading.RLock()

    def concern(self, call: Call) -> bool:
        """Return whether a call is about this run, a run nested in it, or its experiment, and the run goes on.

        A client that was made for another store by name is left alone; one that follows MLflow's setting is not.
        """
        if limits.is_own_call() or self.sealed:
            return False
        astray = self.is_astray(call.client)
        if astray and not getattr(call.client, FOLLOWS, False):
            return False
        if "run_id" in call.values:
            return call.run_id == self.run_id or call.run_id in self._keys
        if "tags" not in call.values:
            return not astray and str(call.values.get("experiment_id", self.experiment_id)) == self.experiment_id
        parent = (call.values["tags"] or {}).get(PARENT_TAG)
        own_experiment = not astray and str(call.values["experiment_id"]) == self.experiment_id
        return own_experiment or parent == self.run_id or parent in self._keys

    def is_astray(self, client: Any) -> bool:
        """Return whether a client (None: MLflow's own store) leads to another store than the run's."""
        return client is not None and not self.is_own_store(str(client.tracking_uri))

    def is_own_store(self, uri: str) -> bool:
        """Return whether a URI names the run's store, perhaps in other words."""
        own = self.tracking_uri
        return uri == own or absolute_uri(uri, Path.cwd()).rstrip("/") == own.rstrip("/")

    def lead_home(self, call: Call) -> None:
        """Have a call about this run made on the run's store, whatever store its client leads to."""
        if not self.is_astray(call.client):
            return
        from mlflow import MlflowClient

        self.tell_once(
            "mlflow.set_tracking_uri(), or MLFLOW_TRACKING_URI set in the notebook, has no effect on this notebook's "
            "run: it belongs to the store it was started in. Name a store with tracking.uri in the run spec."
        )
        if "experiment_id" in call.values:
            call.values["experiment_id"] = self.experiment_id
        call.client = call.values["self"] = MlflowClient(tracking_uri=self.tracking_uri)

    def tell_once(self, message: str) -> None:
        """Warn whoever logs, unless she was told already."""
        if message not in self.tracker.warnings:
            self.tracker.warn(message)

    def note_other(self, run_id: str) -> None:
        """Warn that the notebook takes up a run which is not its own."""
        if not self.sealed and run_id != self.run_id and self._key(run_id) is None:
            self.tell_once(
                f"mlflow.start_run(run_id=…) leads MLflow's calls to another run, {run_id}: "
                "what is logged there is no part of this notebook's run."
            )

    @property
    def sealed(self) -> bool:
        """Whether the run is over: its journal must not change any more."""
        return (self.tracker.home.base / MANIFEST).exists()

    def note_use(self) -> None:
        """Note in the journal, once, that raw calls were made."""
        if not self.sealed:
            self.tracker.note_raw_use()

    # Calls that write. Each bears the name of MlflowClient's method.

    def log_metric(self, call: Call) -> Any:
        """Log one point; its time is fixed here, so that it is the same wherever it arrives."""
        values = call.values
        at = now_ms() if values["timestamp"] is None else values["timestamp"]
        step = 0 if values["step"] is None else values["step"]
        point = as_point(values["key"], values["value"], at, step)
        _, values["value"], values["timestamp"], values["step"] = point
        return self._write(call, records_of([point]))

    def log_batch(self, call: Call) -> Any:
        """Log metrics, params and tags."""
        for name in ("metrics", "params", "tags"):
            call.values[name] = list(call.values[name])
        call.values["metrics"] = metrics = [as_metric(given) for given in call.values["metrics"]]
        for name in ("params", "tags"):
            call.values[name] = [type(item)(item.key, _hidden(item.value)) for item in call.values[name]]
        pairs = {
            name: {item.key: storable(str(item.value)) for item in call.values[name]} for name in ("params", "tags")
        }
        records = records_of((item.key, item.value, item.timestamp, item.step) for item in metrics)
        return self._write(call, records + [(name, {"items": items}) for name, items in pairs.items() if items])

    def log_param(self, call: Call) -> Any:
        """Log one param and return its value, a secret as `***`."""
        call.values["value"] = _hidden(call.values["value"])
        items = {call.values["key"]: storable(str(call.values["value"]))}
        return self._write(call, [("params", {"items": items})], answer=call.values["value"])

    def set_tag(self, call: Call) -> Any:
        """Set one tag."""
        call.values["value"] = _hidden(call.values["value"])
        return self._write(call, [("tags", {"items": {call.values["key"]: storable(str(call.values["value"]))}})])

    def log_artifact(self, call: Call) -> Any:
        """Log a file, or a directory under its own name."""
        source, place = Path(call.values["local_path"]), call.values["artifact_path"]
        return self._write_files(call, source, source.name if source.is_dir() else None, place)

    def log_artifacts(self, call: Call) -> Any:
        """Log all files of a directory."""
        return self._write_files(call, Path(call.values["local_dir"]), None, call.values["artifact_path"])

    def log_image(self, call: Call) -> Any:
        """Log an image at once: as files, by way of `log_artifact`."""
        call.values["synchronous"] = True
        return call.send()

    def set_terminated(self, call: Call) -> Any:
        """End a nested run; how the notebook's own run ends is decided by who executes the notebook."""
        call.values["status"] = call.values["status"] or "FINISHED"
        call.values["end_time"] = call.values["end_time"] or now_ms()
        end = ("end", {"status": call.values["status"], "time": call.values["end_time"]})
        return self._write(call, [end] if call.run_id in self._keys else [])

    def update_run(self, call: Call) -> Any:
        """Rename a run; end a nested one."""
        name, status = call.values["name"], call.values["status"]
        records: list[Record] = [("tags", {"items": {"mlflow.runName": name}})] if name else []
        if status in ENDED and call.run_id in self._keys:
            records.append(("end", {"status": status, "time": now_ms()}))
        return self._write(call, records)

    def update_run_info(self, call: Call) -> Any:
        """Take up the run again, as `mlflow.start_run` does."""
        return self._write(call, [])

    def log_inputs(self, call: Call) -> Any:
        """Log datasets; which models were used is not kept."""
        items = described(call.values["datasets"] or [])
        answer = self._write(call, [("inputs", {"items": items})] if items else [])
        if call.values.get("models"):
            self._warn_of_models()
        return answer

    def log_outputs(self, call: Call) -> Any:
        """Note which models a run made, which the journal cannot hold."""
        answer = self._write(call, [])
        self._warn_of_models()
        return answer

    record_logged_model = log_outputs

    def _warn_of_models(self) -> None:
        if self.failed:
            self.tracker.warn("The store is away: models of this run are not kept for it.")

    def create_run(self, call: Call) -> Any:
        """Start a nested run. Its key goes along as a tag, so that one made by a lost call is found again."""
        key, values = uuid.uuid4().hex, call.values
        values["start_time"] = values["start_time"] or now_ms()
        tags = {name: _hidden(text) for name, text in (values["tags"] or {}).items()}
        values["tags"] = {**tags, CHILD_TAG: key}
        self.tracker.note_raw_use()
        sent, run = self._send(call)
        tags = dict(run.data.tags if sent else values["tags"])
        name = tags.pop("mlflow.runName", None) or values["run_name"] or f"child-{key[:8]}"
        parent, own = tags.pop(PARENT_TAG, None), tags.pop(CHILD_TAG, key)
        start = {"name": name, "time": values["start_time"], "tags": tags, "parent": self._key(parent)}
        if sent:
            start["id"] = run.info.run_id
        with self._lock:
            self._keys[run.info.run_id if sent else key] = own
        self._record(own, "start", start, sent=sent)
        return run if sent else KnownRun(self.tracker.home, key, key, self.experiment_id).entity()

    # Calls that read, as far as writing needs them.

    def get_run(self, call: Call) -> Any:
        """Return a run; what the journal knows of it when the store is away."""
        sent, run = self._send(call, reads=True)
        return run if sent else self._known(call.run_id).entity()

    def list_artifacts(self, call: Call) -> Any:
        """Return a run's artifacts; those the journal knows of when the store is away."""
        sent, found = self._send(call, reads=True)
        return found if sent else self._known(call.run_id).artifacts(call.values["path"])

    def download_artifacts(self, call: Call) -> Any:
        """Return the local path of an artifact; of the journal's copy when the store is away."""
        sent, path = self._send(call, reads=True)
        return path if sent else self._known(call.run_id).copy(call.values["path"], call.values["dst_path"])

    def get_experiment(self, call: Call) -> Any:
        """Return the run's experiment, or what is known of it when the store is away."""
        sent, found = self._send(call, reads=True)
        return found if sent else self._known(self.run_id).experiment(call.values.get("name", self.experiment_id))

    get_experiment_by_name = get_experiment

    def opened(self, send: Callable[[], Any], tracking_uri: str, *, follows: bool) -> bool:
        """Open a client; returns False when its store is away and only these methods can be used.

        `follows` says that the client was made without a URI: it is then needed for the run, whatever its store does.
        """
        if limits.is_own_call() or self.sealed:
            send()
            return True
        if not self.is_own_store(tracking_uri):
            try:
                send()
            except Exception:
                if not follows:
                    raise
                return False
            return True
        if self._unreachable:
            return False
        try:
            self._probe()
            send()
        except Exception as error:
            if self._raises(error, self.run_id):
                raise
            self._unreachable = True
            self._fall(error)
            return False
        return True

    # Details.

    def _write(self, call: Call, records: Iterable[Record], answer: Any = None) -> Any:
        later = call.values.get("synchronous", True)
        if later is False or (later is None and os.environ.get(ASYNC, "").lower() in ("true", "1")):
            answer = _done()
        if "synchronous" in call.values:
            call.values["synchronous"] = True  # what waits in a queue would be lost with the kernel
        self.tracker.note_raw_use()
        sent, _ = self._send(call)
        for kind, data in records:
            self._record(self._key(call.run_id), kind, data, sent=sent)
        return answer

    def _write_files(self, call: Call, source: Path, folder: str | None, place: str | None) -> Any:
        from mlflow.store.artifact.artifact_repo import verify_artifact_path

        verify_artifact_path(place)
        if not os.access(source, os.R_OK):
            return call.send()
        place = joined(place, folder) if folder else place
        paths = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
        base = source.parent if source.is_file() else source
        self.tracker.note_raw_use()
        sent, _ = self._send(call)
        for path in paths:
            size = path.stat().st_size
            if sent and size > self._room:
                continue  # the store has it; a copy would be too large
            self._room -= size if sent else 0
            kept = self.tracker.keep(path, joined(place, path.relative_to(base).as_posix()))
            if kept is not None:
                self._record(self._key(call.run_id), "artifact", kept, sent=sent)
        return None

    def _send(self, call: Call, *, reads: bool = False) -> tuple[bool, Any]:
        """Make a call unless the store has failed; return whether it got through, and its answer."""
        if self.failed:
            return False, None
        try:
            return True, call.send()
        except Exception as error:
            if self._raises(error, str(call.values.get("run_id", self.run_id)), reads=reads):
                raise
            self._fall(error)
            return False, None

    def _raises(self, error: Exception, run_id: str, *, reads: bool = False) -> bool:
        """Return whether a failed call is the caller's error, in mode `strict` any."""
        return self.tracker.mode == "strict" or is_mistake(error, self.tracking_uri, run_id, reads=reads)

    def _fall(self, error: Exception) -> None:
        with self._lock:
            told, self.failed = self.failed, True
        if not told:
            self.tracker.warn(
                f"The tracking store failed: {reason(error, 300)}. Raw MLflow calls now go to the run's journal only, "
                "from where they are delivered later."
            )

    def _probe(self) -> None:
        """Find out quickly, once, whether a database is there: MLflow would try for minutes."""
        if not self._opened:
            self._opened = True
            if scheme(self.tracking_uri) not in HTTP:
                limits.probe(self.tracking_uri)

    def _record(self, key: str | None, kind: str, data: dict[str, Any], *, sent: bool) -> None:
        if sent and kind != "skipped":
            data = {**data, "from": self.run_id}
        if key is not None and key != PARENT_IS_RUN:
            kind, data = child_entry(key, kind, data)
        self.tracker.record(kind, data)

    def _key(self, run_id: str | None) -> str | None:
        """Return the journal's name of a run: a nested run's key, PARENT_IS_RUN, None for any other."""
        if run_id is None or run_id == self.run_id:
            return None if run_id is None else PARENT_IS_RUN
        return self._keys.get(run_id) or self._key_from_elsewhere(run_id)

    def _key_from_elsewhere(self, run_id: str) -> str | None:
        """Return the key of a nested run that another process of this notebook made."""
        children = children_of(read_journal(self.tracker.home.journal).entries)
        return next((key for key, own in children.items() if start_of(own).get("id", key) == run_id), None)

    def _known(self, run_id: str) -> KnownRun:
        return KnownRun(self.tracker.home, run_id, self._keys.get(run_id), self.experiment_id)


def _done() -> Any:
    """Return what an asynchronous call answers, with nothing left to wait for."""
    from mlflow.utils.async_logging.run_operations import RunOperations

    return RunOperations([])


def _hidden(value: Any) -> Any:
    """Return the value of a param or tag without the secrets of the run; only one that holds a secret becomes text."""
    text = str(value)
    hidden = of_this_process().hidden(text)
    return value if hidden == text else hidden
