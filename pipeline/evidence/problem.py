"""What verification finds: problems, each with a file and a kind, and notes that are not problems."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import VerificationError


@dataclass(frozen=True)
class Problem:
    """One thing that does not match the seal: which file, what kind, said in a sentence.

    Kinds. Files: edited, added, missing, unsafe name, twin name. Manifest: unsealed, edited, renamed, unknown
    schema. Signatures: unsigned (when the policy asks for one, or a signed run's report has none), bad signature,
    unknown key, expired key, wrong signer. Ledger: missing, edited, added, reordered, torn, rolled back, contradiction,
    missing entry, missing run. Bundles: refused, repacked.
    """

    path: str
    kind: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.kind}: {self.message}"


@dataclass(frozen=True)
class Verification:
    """The outcome of verifying one run directory, a bundle, or the ledger.

    `notes` are sentences worth knowing that are not problems (the run is unsigned, nobody's key was checked);
    `signer` is the name, or without a trust file the keyid, of the key that signed the manifest; `trusted` says that it
    is a key of the trust file, and that its signature is good; `sent` that it came from elsewhere; `adopted` is the
    number of the ledger's entry that took the run up after its seal, None when the ledger knows the seal itself.
    """

    run_id: str
    problems: tuple[Problem, ...]
    files: int = 0
    manifest_sha256: str | None = None
    notes: tuple[str, ...] = ()
    signer: str | None = None
    trusted: bool = False
    sent: bool = False
    adopted: int | None = None

    @property
    def ok(self) -> bool:
        """Say whether everything matches the seal."""
        return not self.problems

    @property
    def verdict(self) -> str:
        """The outcome in a word; `consistent` was sent, and signed by nobody known here, who may have made it up."""
        if self.problems:
            return "NOT OK"
        if self.sent and not self.trusted:
            return "consistent"
        return "ok, unsigned" if self.manifest_sha256 and self.signer is None else "ok"

    def raise_for_problems(self) -> None:
        """Raise VerificationError that names each problem; nothing when all is well."""
        if self.problems:
            lines = "\n".join(f"  - {problem}" for problem in self.problems)
            raise VerificationError(f"The run {self.run_id} does not match its seal:\n{lines}")
