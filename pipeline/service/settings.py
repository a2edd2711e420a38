"""How the service is to be served: from its file, the environment and the command line, the latter first."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from pipeline.errors import UsageError, nearest
from pipeline.settings import Settings
from pipeline.toml import parse_toml

FILE = "config/service.toml"
TABLE = "service"
PREFIX = "EVIDENCE_SERVICE_"
LOCAL = "localhost"
MEBI = 2**20


def _separated(value: object) -> object:
    """Return the names in a text that commas separate, as the environment gives them."""
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_separated)]


class ServiceSettings(BaseModel):
    """What `config/service.toml` may say; every key is also EVIDENCE_SERVICE_KEY in the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("evidence-chain", min_length=1, max_length=100, description="what `/health` calls it")
    host: str = Field("127.0.0.1", min_length=1, description="address to listen at")
    port: int = Field(8080, ge=0, le=65535, description="port to listen at; 0 takes a free one")
    auth: bool = Field(default=True, description="ask for a token; may be false on loopback only")
    hosts: Names = Field(
        (), description="names that requests may address it by; none given are any, without tokens loopback's"
    )
    origins: Names = Field((), description="web pages of these origins may call it (CORS)")
    max_body: int = Field(4 * MEBI, ge=1024, description="bytes of a request's body")
    max_upload: int = Field(512 * MEBI, ge=1024, description="bytes of an uploaded artifact")
    concurrency: int = Field(256, ge=1, description="requests at a time; more are answered 503")
    threads: int = Field(40, ge=1, le=500, description="requests at a time that talk to a store")
    rate: float = Field(500.0, ge=0, description="requests a second of one client, in the long run; 0 is no limit")
    burst: int = Field(1000, ge=1, description="requests of one client at once; more are answered 429")
    seconds: float = Field(5.0, ge=0.1, le=600, description="what a store may take for an answer")
    body_seconds: float = Field(30.0, ge=0.1, description="what a client may take for the next piece of a body")
    shutdown_seconds: int = Field(10, ge=0, description="what requests may take to end when the service does")
    tracking_uri: str | None = Field(None, description="the MLflow store; by default the project's")
    artifact_roots: Names = Field((), description="directories besides the project that artifacts may be in")
    storage: str | None = Field(None, description="the store of Optuna studies, a URL; by default a journal file")
    directory: str = Field(".service", min_length=1, description="where the service keeps tokens and studies")

    @classmethod
    def load(
        cls, settings: Settings, overrides: Mapping[str, Any] | None = None, environ: Mapping[str, str] = os.environ
    ) -> ServiceSettings:
        """Read `config/service.toml` where there is one, the environment, then `overrides` that are not None.

        Raises UsageError for what cannot be, and for a service without tokens that others could reach.
        """
        values = _read_file(settings.root / FILE) | _read_environment(environ)
        values |= {name: value for name, value in (overrides or {}).items() if value is not None}
        try:
            found = cls.model_validate(values)
        except ValidationError as error:
            raise UsageError("\n".join(_problems(error))) from None
        if not found.auth and not found.is_local:
            raise UsageError(
                f"Without tokens the service is served on this machine only, and {found.host} is reached by others. "
                "Leave out --no-auth, or use --host 127.0.0.1."
            )
        return found

    @property
    def is_local(self) -> bool:
        """Say whether only this machine can reach the service."""
        return is_loopback(self.host)


class Place:
    """The directory in which a project's service keeps what is its own; nobody else may read it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def of(cls, settings: Settings, service: ServiceSettings) -> Place:
        """Return the place of a project's service."""
        return cls(settings.resolve(service.directory))

    def make(self) -> Place:
        """Make the directory, which git leaves alone; raises UsageError."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self.directory.chmod(0o700)
            (self.directory / ".gitignore").write_text("*\n", encoding="utf-8")
            self.uploads.mkdir(exist_ok=True)
        except OSError as error:
            raise UsageError(f"{self.directory} cannot be used for the service: {error.strerror}.") from None
        return self

    @property
    def tokens(self) -> Path:
        """The digests of the tokens."""
        return self.directory / "tokens.json"

    @property
    def studies(self) -> Path:
        """The journal of Optuna studies."""
        return self.directory / "studies.journal"

    @property
    def opening(self) -> Path:
        """What is locked while MLflow's store is opened."""
        return self.directory / "mlflow.lock"

    @property
    def uploads(self) -> Path:
        """Directory of artifacts on their way; each is removed when its request ends."""
        return self.directory / "uploads"


def is_loopback(host: str) -> bool:
    """Say whether a name or an address is this machine's own, that no other reaches."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == LOCAL


def _read_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        values = parse_toml(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from None
    if values.keys() - {TABLE} or not isinstance(values.get(TABLE, {}), dict):
        raise UsageError(f"{path} has one table, [{TABLE}]. `docs/service.md` lists its keys.")
    return dict(values.get(TABLE, {}))


def _read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    return {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(PREFIX) and value != ""
    }


def _problems(error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        key = ".".join(map(str, problem["loc"]))
        if problem["type"] == "extra_forbidden":
            lines.append(f"service.{key}: there is no such setting. {nearest(key, ServiceSettings.model_fields)}")
        else:
            lines.append(f"service.{key}: {problem['msg']}.")
    return lines
