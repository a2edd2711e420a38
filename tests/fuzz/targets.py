"""What each hostile file is given to: the readers of the package, as its commands call them.

A target takes an empty directory and a case, {"name", "hex", "extra"} or None for a genuine one. It may raise
EvidenceError; it raises AssertionError when what was read breaks a promise.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from tests.fuzz import genuine


def content(place: Path, case: Any, name: str, otherwise: bytes) -> Path:
    """Write a case's file, else the genuine one, and return its path."""
    path = place / (case["name"] if case else name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes.fromhex(case["hex"]) if case else otherwise)
    return path


def spec(place: Path, case: Any) -> None:
    """A run spec reads back from its own TOML to the same spec; the files it names are looked for."""
    from pipeline.digest import canonical_json
    from pipeline.errors import SpecError
    from pipeline.opening import data_inputs
    from pipeline.settings import Settings
    from pipeline.spec import parse_override, parse_spec, read_spec
    from pipeline.template_files import template_path

    path = content(place, case, "run.toml", genuine.SPEC)
    overrides = dict(parse_override(text) for text in (case or {}).get("extra") or ())
    found, _ = read_spec(path, overrides)
    canonical_json(found.to_dict())
    assert parse_spec(found.to_toml()).to_dict() == found.to_dict()
    settings = Settings(place, place / "results")
    template_path(settings, found.run.notebook, error=SpecError)
    data_inputs(found, settings)


def sweep(place: Path, case: Any) -> None:
    """So does a sweep spec; its record can be kept, and its space has points."""
    from pipeline.sweep.space import search_space
    from pipeline.sweep.spec import parse_sweep, read_sweep

    found, _ = read_sweep(content(place, case, "sweep.toml", genuine.SWEEP))
    found.check_kept()
    assert parse_sweep(found.to_toml()).to_dict() == found.to_dict()
    search_space(found, search=place).distributions()


def data(place: Path, case: Any) -> None:
    """Bars that were read keep the data contract, and have a digest."""
    import numpy as np

    from pipeline.backtest.bars_digest import data_digest
    from pipeline.backtest.data import load_ohlcv

    bars = load_ohlcv(content(place, case, "bars.csv", genuine.CSV), **((case or {}).get("extra") or {}))
    assert str(bars.index.dtype) == "datetime64[ns, UTC]"
    assert bars.index.is_monotonic_increasing
    assert bars.index.is_unique
    assert np.isfinite(bars.to_numpy()).all()
    data_digest(bars)


def notebook(place: Path, case: Any) -> None:
    """A notebook that is accepted can be prepared, written and read again."""
    from pipeline.notebook.prepare import prepare_notebook
    from pipeline.notebook.template import read_notebook

    read = read_notebook(content(place, case, "n.ipynb", genuine.NOTEBOOK))
    prepared = prepare_notebook(read, {"run_id": "x"} if read.tagged else {}, output=place / "out.ipynb", root=place)
    from nbformat import reads, writes

    assert len(reads(writes(prepared.nb), as_version=4).cells) == len(prepared.places)


def _changed_inside(data: bytes, genuine_ledger: bytes) -> bool:
    """Say whether a line of the genuine ledger follows one that is not."""
    lines, own = data.splitlines(), genuine_ledger.splitlines()
    same = next(
        (n for n, pair in enumerate(zip(lines, own, strict=False)) if pair[0] != pair[1]), min(len(lines), len(own))
    )
    return bool({*lines[same:]} & {*own})


def ledger(place: Path, case: Any) -> None:
    """A ledger that is called whole is the genuine one until it was cut, or written anew to its end; an entry more
    makes no count smaller.
    """
    from pipeline.evidence.ledger import Event, append, head
    from pipeline.evidence.ledger_check import check_ledger
    from pipeline.evidence.verify_all import verify_all

    path = content(place, case, "ledger.jsonl", genuine.LEDGER)
    before = path.read_bytes()
    found = check_ledger(path, trust=genuine.TRUST)
    check_ledger(path)
    whole = found.ok and before
    assert not whole or not any(_changed_inside(before, one) for one in (genuine.LEDGER, genuine.LEDGER_2))
    list(verify_all(place, trust=genuine.TRUST))
    head(path)
    append(path, Event("trial_counted", strategy="x", details={"trials": 1}), genuine.SIGNER)
    after = check_ledger(path, trust=genuine.TRUST)
    assert sum(one.trials for one in after.trials.counted) >= sum(one.trials for one in found.trials.counted)
    assert not whole or after.ok


def trust(place: Path, case: Any) -> None:
    """A trust file that is read names keys with ids of their own."""
    from pipeline.evidence.trust import load_trust
    from pipeline.evidence.verify_all import verify_all

    found = load_trust(content(place, case, "trusted_keys.toml", genuine.TRUST_FILE))
    assert len({key.keyid for key in found.keys}) == len(found.keys)
    (place / "results").mkdir()
    (place / "results" / "ledger.jsonl").write_bytes(genuine.LEDGER)
    list(verify_all(place / "results", trust=found))


def bundle(place: Path, case: Any) -> None:
    """Both programs say the same of a bundle; the owner's key is proof of the genuine one only."""
    from pipeline.evidence.standalone import verify
    from pipeline.evidence.unbundle import verify_bundle

    path = content(place, case, "evidence.zip", genuine.BUNDLE)
    said = verify_bundle(path, trust=genuine.TRUST)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = verify.main([str(path), "--key", genuine.TRUST.keys[0].keyid])
    assert code in (0, 3)
    assert (code == 0) is said.ok, (code, said.problems)
    assert not said.ok or path.read_bytes() == genuine.BUNDLE
    said.raise_for_problems()


def signed_list(place: Path, case: Any) -> None:
    """What the owner signed is proven or a problem, in both programs alike, and can be opened when it is proven."""
    from pipeline.evidence.standalone import verify
    from pipeline.evidence.unbundle import open_sent, verify_bundle

    path = content(place, case, "evidence.zip", genuine.PUBLIC)
    said = verify_bundle(path, trust=genuine.TRUST)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = verify.main([str(path), "--key", genuine.TRUST.keys[0].keyid])
    assert (code, said.ok) in ((0, True), (3, False)), (code, said.problems)
    with open_sent(path, trust=genuine.TRUST) as sent:
        assert sent.verification.ok


def site(place: Path, case: Any) -> None:
    """Options that are read can be used: what is left out of a text is left out."""
    from pipeline.settings import Settings
    from pipeline.site.options import load_options
    from pipeline.site.redaction import make_redactor

    content(place, case, "config/site.toml", genuine.SITE)
    options = load_options(Settings(place, place / "results"), public=True)
    make_redactor(options, Settings(place, place / "results")).text("ACC-12 of build-host-7")


TARGETS = {
    "spec": spec, "sweep": sweep, "data": data, "notebook": notebook, "ledger": ledger, "trust": trust,
    "bundle": bundle, "list": signed_list, "site": site,
}  # fmt: skip
