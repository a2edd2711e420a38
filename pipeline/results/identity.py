"""What a check of two parts of a result against each other found, and what all of them say together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, Self, get_args

HOLDS: Final = "holds"
DIFFERS: Final = "does not hold"
UNCHECKED: Final = "cannot be checked"
RECONCILED: Final = "RECONCILED"
NOT_RECONCILED: Final = "NOT RECONCILED"
NOT_RECONCILABLE: Final = "NOT RECONCILABLE"
Status = Literal["holds", "does not hold", "cannot be checked"]
Mark = Literal["RECONCILED", "NOT RECONCILED", "NOT RECONCILABLE"]


@dataclass(frozen=True)
class Identity:
    """Two parts of a result that have to agree, and whether they do.

    name          its key, as `equity_trades`; `says` is the identity in words
    status        holds, does not hold, or cannot be checked
    ties_equity   whether it holds the equity against something that was not made from it
    compared      how many labels, trades or values were compared; `failed` of them do not agree
    off_by        the largest difference, left side less right side, in `unit` (money, units or share)
    where         the trade or the symbol of the first one that does not agree, and `first` its time, ISO 8601
    missing       what would be needed to check it
    note          the convention under which it holds, what was left out, what a difference looks like
    """

    name: str
    says: str
    status: Status
    ties_equity: bool = False
    compared: int = 0
    failed: int = 0
    off_by: float | None = None
    unit: str = "money"
    where: str = ""
    first: str | None = None
    missing: tuple[str, ...] = ()
    note: str = ""

    @property
    def sentence(self) -> str:
        """The finding as one plain sentence, without its note."""
        if self.status == UNCHECKED:
            return f"{self.says}: cannot be checked, for want of {listed(self.missing)}."
        if self.status == HOLDS:
            return f"{self.says}: holds ({self.compared:,} compared)."
        place = ", ".join(filter(None, (self.where, self.first)))
        first = f", first at {place}" if place else ""
        by = f"{amount(self.off_by or 0.0, self.unit)}{first}"
        return f"{self.says}: does not hold by {by} ({self.failed:,} of {self.compared:,})."

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON values."""
        return asdict(self) | {"missing": list(self.missing)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote; fields of a later version are passed over. Raises ValueError for another form."""
        known = {each.name: values[each.name] for each in fields(cls) if each.name in values}
        try:
            read = cls(**known | {"missing": tuple(known.get("missing", ()))})
        except TypeError:
            raise ValueError(f"an identity has another form: {sorted(map(str, values))}") from None
        texts = (read.name, read.says, read.unit, read.where, read.note, read.first or "", *read.missing)
        numbers = (read.compared, read.failed, read.off_by or 0.0)
        if read.status not in get_args(Status) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"the identity {read.name!r} holds a value of another type")
        if not all(isinstance(number, int | float) for number in numbers):
            raise ValueError(f"the identity {read.name!r} holds a value of another type")
        return read


@dataclass(frozen=True)
class Reconciliation:
    """Every identity of a result, checked or not."""

    identities: tuple[Identity, ...]

    def __getitem__(self, name: str) -> Identity:
        return next(each for each in self.identities if each.name == name)

    @property
    def checked(self) -> tuple[Identity, ...]:
        """The identities that could be checked."""
        return tuple(each for each in self.identities if each.status != UNCHECKED)

    @property
    def broken(self) -> tuple[Identity, ...]:
        """The identities that do not hold."""
        return tuple(each for each in self.identities if each.status == DIFFERS)

    @property
    def mark(self) -> Mark:
        """RECONCILED when all that were checked hold and one of them ties the equity to something else."""
        if self.broken:
            return NOT_RECONCILED
        return RECONCILED if any(each.ties_equity for each in self.checked) else NOT_RECONCILABLE

    @property
    def sentence(self) -> str:
        """The mark with what it rests on."""
        if self.broken:
            worst = next((each for each in self.broken if each.ties_equity), self.broken[0])
            more = f" And {len(self.broken) - 1} more." if len(self.broken) > 1 else ""
            note = f" {worst.note}" if worst.note else ""
            return f"{NOT_RECONCILED}: {worst.sentence}{note}{more}"
        if self.mark == NOT_RECONCILABLE:
            return f"{NOT_RECONCILABLE}: nothing was saved to hold the equity against."
        tied = "; ".join(each.says for each in self.checked if each.ties_equity)
        return f"{RECONCILED}: {tied}."

    def to_dict(self) -> dict[str, Any]:
        """Return mark and identities as JSON values."""
        return {"mark": self.mark, "identities": [each.to_dict() for each in self.identities]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote; the mark follows from the identities."""
        return cls(tuple(Identity.from_dict(each) for each in values.get("identities", ())))


def amount(value: float, unit: str) -> str:
    """Return a difference as text: as many digits as tell it, with its unit where that is not money."""
    size = abs(value)
    text = f"{value:,.2f}" if 0.1 <= size < 1e15 else f"{value:.3g}"
    return text if unit == "money" else f"{text} {unit}" if unit == "units" else f"{text} of equity"


def listed(parts: tuple[str, ...]) -> str:
    """Return parts as a text: a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else "anything"
