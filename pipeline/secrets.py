"""The secrets of a run: values that its kernel is given, and that its evidence must not hold.

Secret are the values of `run.parameters` under the name of a secret, and what the environment or the notebook's own
`parameters` cell holds under one. In the spec, its overrides and the injected cell they are masked by their place. In
what a notebook printed, in errors and in logs the values themselves are looked for, unless they are so short or so
plain that they occur by chance.
"""

from __future__ import annotations

import html
import json
import mmap
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from pipeline.errors import EvidenceError, SpecError
from pipeline.masking import MASK, has_secret, mask_table, secret_name
from pipeline.spec import RunSpec, set_dotted
from pipeline.toml import parse_toml

PLACE = "run.parameters."
GIVEN_BY = "EVIDENCE_PARAM_"  # and the name of a masked parameter: the variable that gives its value
ENVIRONMENT = "env:"
AS_GIVEN = "surrogateescape"  # bytes of the environment that are no UTF-8
FOR_THE_KERNEL = "EVIDENCE_MASKED_VALUES"
DIRECTORIES = ("PWD", "OLDPWD")  # whose names end as that of a password does
SHORTEST, WHOLE_WORD, LONG_LINE = 6, 8, 20
PLAIN = re.compile(r"[A-Za-z]?[a-z]{0,14}|[A-Z]{1,15}|[-+.,\d]{1,12}")


@dataclass(frozen=True)
class Secrets:
    """Values by their names: `run.parameters.api_token`, and from elsewhere `env:API_TOKEN`, `notebook:api_token`."""

    parameters: dict[str, str] = field(default_factory=dict, repr=False)
    elsewhere: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of_run(cls, spec: RunSpec, environment: Mapping[str, str]) -> Secrets:
        """Return the secrets of a spec and of the environment."""
        return cls(mask_parameters(spec)[1], of_environment(environment))

    def with_defaults(self, defaults: Mapping[str, Any]) -> Secrets:
        """Return these secrets and those among the values that a notebook's own `parameters` cell holds."""
        _, found = mask_table(defaults)
        own = {f"notebook:{name}": text for name, text in found.items()}
        return Secrets(self.parameters, {**self.elsewhere, **own})

    @cached_property
    def _named(self) -> dict[str, str]:
        """What is looked for in texts: value to name."""
        pairs = [(text, name) for name, text in [*self.elsewhere.items(), *self.parameters.items()]]
        found = {part: name for text, name in pairs for part in _parts(text)}
        return {text: name for text, name in found.items() if _distinctive(text)}

    @cached_property
    def _forms(self) -> dict[str, str]:
        """The same values as they are written in source, JSON, HTML and URLs, the longest first: form to name."""
        forms = {form: name for text, name in self._named.items() for form in _written(text)}
        return dict(sorted(forms.items(), key=lambda item: -len(item[0])))

    @cached_property
    def _in_files(self) -> dict[bytes, str]:
        """The forms as bytes, also as JSON writes them once more: form to name."""
        both = ((each, name) for form, name in self._forms.items() for each in (form, json.dumps(form)[1:-1]))
        return {form.encode(errors=AS_GIVEN): name for form, name in both}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile("|".join(map(_bounded, self._forms)))

    def hidden(self, text: str) -> str:
        """Return a text with every secret value in it replaced by `***`."""
        return self._pattern.sub(MASK, text) if any(form in text for form in self._forms) else text

    def hidden_in(self, value: Any) -> Any:
        """Return JSON values with the secrets in all their texts replaced."""
        if isinstance(value, Mapping):
            return {self.hidden(key): self.hidden_in(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.hidden_in(item) for item in value]
        return self.hidden(value) if isinstance(value, str) else value

    def hide_in_error(self, error: EvidenceError) -> EvidenceError:
        """Replace the secrets in the message of an error and in what it quotes; return the same error."""
        error.args = tuple(self.hidden(item) if isinstance(item, str) else item for item in error.args)
        for name in ("ename", "evalue", "traceback"):
            if isinstance(text := getattr(error, name, None), str):
                setattr(error, name, self.hidden(text))
        return error

    def named_in(self, content: bytes | mmap.mmap) -> list[str]:
        """Return the names of the secrets whose values are in the bytes of a file."""
        there = (item for item in self._in_files.items() if content.find(item[0]) >= 0)
        return sorted({name for form, name in there if len(form) >= WHOLE_WORD or _is_word_of(content, form)})

    def named_in_file(self, path: Path) -> list[str]:
        """Return the names of the secrets whose values are in a file; a file that cannot be read has none."""
        try:
            if not self._forms or not path.stat().st_size:
                return []
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return self.named_in(content)
        except (OSError, ValueError):
            return []

    def overlooked(self) -> list[str]:
        """Return the names of the parameters whose values are too short or too plain to look for."""
        return [name for name, text in self.parameters.items() if text != MASK and not _distinctive(text)]

    def for_the_kernel(self) -> dict[str, str]:
        """Return the variable that tells the kernel's tracker which values it must not record."""
        values = [text for text, name in self._named.items() if not name.startswith(ENVIRONMENT)]
        return {FOR_THE_KERNEL: json.dumps(values)} if values else {}


def of_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what an environment holds under names of secrets, or as a URL with one; names of files are no secrets."""
    return {
        f"{ENVIRONMENT}{name}": text
        for name, text in environment.items()
        if (secret_name(name) or has_secret(text))
        and name not in DIRECTORIES
        and _distinctive(text)
        and not _is_file(text)
    }


def of_this_process() -> Secrets:
    """Return what a process must not record: the secrets of its environment, and those its run told it."""
    return _of_process(tuple(os.environ.items()))


@lru_cache(maxsize=1)
def _of_process(environment: tuple[tuple[str, str], ...]) -> Secrets:
    values = dict(environment)
    told = json.loads(values.get(FOR_THE_KERNEL) or "[]")
    return Secrets({f"{PLACE}{index}": text for index, text in enumerate(told)}, of_environment(values))


def mask_parameters(spec: RunSpec) -> tuple[RunSpec, dict[str, str]]:
    """Return a spec with the secrets of its parameters masked, and these by their names."""
    table, found = mask_table(spec.run.parameters)
    masked = spec.model_copy(update={"run": spec.run.model_copy(update={"parameters": table})})
    return (masked if found else spec), {f"{PLACE}{place}": text for place, text in found.items()}


def masked_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a run or sweep spec with the secrets of its parameters masked."""
    return _masked(values)[0]


def masked_overrides(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return overrides, by dotted key, with the secrets of parameters masked."""
    return _masked_overrides(overrides)[0]


def masked_toml(given: bytes) -> bytes:
    """Return a spec as it was given; with a secret in it, written anew with the secret masked, and a line saying so."""
    import tomli_w

    table, found = _masked(_tables(given))
    if not any(text != MASK for text in found.values()):
        return given
    head = f"# Not as given: {', '.join(found)} masked, and without the comments.\n"
    return head.encode() + tomli_w.dumps(table).encode()


def filled(spec: RunSpec, environment: Mapping[str, str]) -> RunSpec:
    """Return a spec whose masked parameters have the values that the environment gives; raises SpecError without."""
    missing: list[str] = []

    def fill(value: Any, place: str) -> Any:
        if isinstance(value, Mapping):
            return {key: fill(item, f"{place}.{key}" if place else str(key)) for key, item in value.items()}
        if isinstance(value, list):
            return [fill(item, f"{place}[{index}]") for index, item in enumerate(value)]
        if value != MASK:
            return value
        if not environment.get(variable(place)):
            missing.append(place)
        return environment.get(variable(place), MASK)

    parameters = fill(spec.run.parameters, "")
    if missing:
        names = ", ".join(f"{PLACE}{place}" for place in missing)
        by = ", ".join(variable(place) for place in missing)
        raise SpecError(
            f"The spec holds {MASK} in place of a secret: {names}. Give its value in the environment: {by}; or to "
            f"`evidence run` with -p {PLACE}{missing[0]}=…."
        )
    return spec.model_copy(update={"run": spec.run.model_copy(update={"parameters": parameters})})


def variable(place: str) -> str:
    """Return the environment variable that gives the value of a masked parameter: `db.password`, DB_PASSWORD."""
    return GIVEN_BY + re.sub(r"[^A-Za-z0-9]+", "_", place).strip("_").upper()


def _tables(given: bytes | None) -> dict[str, Any]:
    try:
        return parse_toml(given or b"")
    except ValueError:
        return {}  # not what the spec was read from


def _masked(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    run = values.get("run")
    if not isinstance(run, Mapping) or "parameters" not in run:
        return dict(values), {}
    table, found = mask_table(run["parameters"])
    masked = {**values, "run": {**run, "parameters": table}}
    return masked, {f"{PLACE}{place}": text for place, text in found.items()}


def _masked_overrides(overrides: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    masked: dict[str, Any] = {}
    secrets: dict[str, str] = {}
    for key, value in overrides.items():
        nested: dict[str, Any] = {}
        set_dotted(nested, key, value)
        item, found = _masked(nested)
        for part in key.split("."):
            item = item[part]
        masked[key], secrets = item, {**secrets, **found}
    return masked, secrets


def _parts(text: str) -> Iterator[str]:
    """Yield a value, the long lines of one that has several, and the password of a URL."""
    yield text
    if "\n" in text:
        yield from (line.strip() for line in text.splitlines() if len(line.strip()) >= LONG_LINE)
    if has_secret(text):
        yield from filter(None, [urlsplit(text).password])


def _distinctive(text: str) -> bool:
    """Return whether a value is unlikely to occur in a text by chance: neither short nor a plain word or number."""
    return len(text) >= SHORTEST and text != MASK and not PLAIN.fullmatch(text)


def _bounded(form: str) -> str:
    """Return the pattern of a value; a short one counts between what is neither letter nor digit."""
    pattern = re.escape(form)
    return pattern if len(form) >= WHOLE_WORD else rf"(?<![A-Za-z0-9]){pattern}(?![A-Za-z0-9])"


def _is_word_of(content: bytes | mmap.mmap, form: bytes) -> bool:
    return re.search(_bounded(form.decode(errors=AS_GIVEN)).encode(errors=AS_GIVEN), content) is not None


def _written(text: str) -> Iterator[str]:
    yield text
    for made in (json.dumps(text), json.dumps(text, ensure_ascii=False), repr(text)):
        yield made[1:-1]
    yield html.escape(text)
    yield quote(text, safe="", errors=AS_GIVEN)


def _is_file(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False
