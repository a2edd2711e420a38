"""README.txt of a bundle: what a stranger is told. A test executes every line of it that is a command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.evidence.luggage import LeftOut

WHOLE = "The run {run_id}, packed so that anybody can check it without the sender's project and without a network."
PUBLIC = """\
What may be public of the run {run_id}, without paths, hosts and users:
packed so that anybody can check it without the sender's project and without a network.

No file of the run was changed for this: each is here whole, byte by byte, or it is not here at all. The seal is not, as
it names hosts and paths.{report}
"""
PAGE = " {name} is a page made for this bundle, not the run's own report."
CHECKS = """
1. Everything, with nothing but Python 3.9 or newer:
       python3 -I {program} . --key KEY_ID
   On Windows say `py -I` for `python3 -I`.
   KEY_ID is what the sender told you by another way than this bundle. It prints PROVEN, or what is wrong; without
   --key it can only say whether the bundle contradicts itself.
   This copy of {program} came with the bundle, so it is no witness. When it matters, take the file from the project,
   and compare its SHA-256 with the one that is published there.
2. Bad copies, not forgeries, as anybody can write new sums:
       sha256sum -c {sums}

What it cannot show: times are the clocks of those who ran and packed it; a key that came along proves nothing; how
many runs and trials there were is what the sender's ledger says; whether the numbers are right, only a replay shows.
"""
WITHOUT_SEAL = """\
That these files are the run's as they were sealed is the word of whoever signed the list, until you are shown what is
not here: the list has the SHA-256 of each such file. From what is here the run cannot be replayed.
"""
ALONG = """
Of what the run was made from, these came along: {parts}.
"""
NOT_HERE = """
Not here, and why:
"""


def readme(
    run_id: str,
    *,
    program: str,
    sums: str,
    parts: Sequence[str],
    left_out: Sequence[LeftOut],
    public: bool = False,
    report: str | None = None,
) -> str:
    """Return the text; `public` is for a bundle that leaves out what identifies people, `report` names its page."""
    checks = CHECKS.format(program=program, sums=sums)
    if not public:
        along = ALONG.format(parts=", ".join(parts) or "none") if parts or left_out else ""
        return f"{WHOLE.format(run_id=run_id)}\n{checks}{along}{''.join(_without(left_out))}"
    head = PUBLIC.format(run_id=run_id, report=PAGE.format(name=report) if report else "")
    return f"{head}{checks}{WITHOUT_SEAL}{NOT_HERE}{''.join(_without(left_out, digests=True))}"


def _without(left_out: Iterable[LeftOut], *, digests: bool = False) -> Iterable[str]:
    for item in left_out:
        digest = f" (SHA-256 {item.sha256})" if digests and item.sha256 else ""
        yield f"  - not {item.name}: {item.why}{digest}\n"
