"""The stack of `ops/observability`: what it names is there, what it asks for is exported. No container is started."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.telemetry.measures import MEASURES
from tests.engines.environments import Environment, python_of

OPS = Path(__file__).resolve().parents[2] / "ops" / "observability"
COMPOSE = OPS / "docker-compose.yml"
DASHBOARD = json.loads((OPS / "grafana/dashboards/runs.json").read_text(encoding="utf-8"))
EXPORTED = {name for measure in MEASURES.values() for name in measure.prometheus}
CHECKERS = Environment(
    "telemetry-checkers",
    f"{sys.version_info[0]}.{sys.version_info[1]}",
    ("check-jsonschema==0.39.0", "promql-parser==0.12.0"),
)


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((OPS / name).read_text(encoding="utf-8"))
    return found


def queries() -> Iterator[str]:
    """Yield what the dashboard asks Prometheus for, in panels and in its variables."""
    for panel in DASHBOARD["panels"]:
        if panel["datasource"]["type"] == "prometheus":
            yield from (target["expr"] for target in panel["targets"])
    yield from (item["definition"] for item in DASHBOARD["templating"]["list"] if item["type"] == "query")


def test_the_services_are_whole() -> None:
    """What a service depends on, mounts and keeps is there; its image has a version; its ports are this machine's."""
    compose = read("docker-compose.yml")
    services = compose["services"]
    assert {*services} == {"collector", "tempo", "loki", "prometheus", "grafana"}
    for service in services.values():
        assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+", service["image"])
        assert {*service.get("depends_on", [])} <= {*services}
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert (COMPOSE.parent / source).exists() if source.startswith(".") else source in compose["volumes"]


def test_the_collector_is_wired() -> None:
    """Every part of a pipeline is defined, and every part that is defined is used; it sends to services."""
    config, services = read("collector/config.yaml"), read("docker-compose.yml")["services"]
    pipelines = config["service"]["pipelines"]
    assert {*pipelines} == {"traces", "metrics", "logs"}
    for kind in ("receivers", "processors", "exporters"):
        assert {part for pipeline in pipelines.values() for part in pipeline[kind]} == {*config[kind]}
    addresses = [part["endpoint"] for part in config["exporters"].values()]
    hosts = [address.removeprefix("http://").partition(":")[0] for address in addresses]
    assert {*hosts} - {"0.0.0.0"} <= {*services}
    shown = config["exporters"]["prometheus"]["endpoint"].rpartition(":")[2]
    [scraped] = read("prometheus/prometheus.yml")["scrape_configs"]
    assert scraped["static_configs"] == [{"targets": [f"collector:{shown}"]}]


def test_the_dashboard_asks_for_what_is_exported() -> None:
    """Each measure in a query is one of ours, under the name and with the labels that Prometheus has it by."""
    asked = {name for query in queries() for name in re.findall(r"\b[a-z_]*evidence_[a-z_]+", query)}
    assert asked
    assert asked <= EXPORTED
    labels = {name for query in queries() for name in re.findall(r"([a-z_]+)=~?\"", query)}
    assert labels <= {"experiment", "strategy", "symbol", "status", "kind", "stage"}


def test_the_dashboard_is_whole() -> None:
    """Its sources of data are provisioned, its panels have places and ids of their own, its variables are defined."""
    provisioned = read("grafana/provisioning/datasources/datasources.yaml")["datasources"]
    sources = {item["uid"]: item["type"] for item in provisioned}
    panels = DASHBOARD["panels"]
    used = [part["datasource"] for panel in panels for part in (panel, *panel["targets"])]
    assert all(sources[item["uid"]] == item["type"] for item in used)
    assert len({panel["id"] for panel in panels}) == len(panels)
    text = json.dumps(DASHBOARD)
    own = {"__range", "__value", "__all"}
    assert {*re.findall(r"\$\{?(\w+)", text)} - own == {item["name"] for item in DASHBOARD["templating"]["list"]}
    spots = [(x, y) for panel in panels for x, y in squares(panel["gridPos"])]
    assert len(spots) == len({*spots})
    assert max(x for x, _ in spots) < 24


def squares(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        yield from ((x, y) for y in range(place["y"], place["y"] + place["h"]))


PARSE = """
import json, sys
import promql_parser
for query in json.load(sys.stdin):
    promql_parser.parse(query)
"""


@pytest.mark.slow
def test_the_queries_parse() -> None:
    """By a parser of PromQL; what Grafana puts in their place stands for its variables."""
    asked = [query.replace("$__range", "1h") for query in queries() if not query.startswith("label_values(")]
    command = [str(python_of(CHECKERS)), "-c", PARSE]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [None, "restart_policy: always"])
def test_the_compose_file_has_the_form_of_the_specification(tmp_path: Path, wrong: str | None) -> None:
    """And one with a key that there is not has not."""
    text = COMPOSE.read_text(encoding="utf-8")
    file = tmp_path / "compose.yml"
    file.write_text(text if wrong is None else text.replace("restart: unless-stopped", wrong))
    checker = str(python_of(CHECKERS).parent / "check-jsonschema")
    command = [checker, "--builtin-schema", "vendor.compose-spec", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (wrong is None), done.stdout
