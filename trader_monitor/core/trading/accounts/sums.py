"""Sums of positions that are worth something: what is added can be taken away again exactly.

Money is kept as whole numbers of 2^-60 of the currency, so that a sum is the same however often and in whatever order
its positions changed, and a change costs the same whether there are ten of them or ten thousand.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeAlias

from trader_monitor.core.tally import Family, Key, Tally

__all__ = ["SCALE", "AccountSum", "Exposure", "HoldingKey", "Sum", "Sums"]

SCALE = 1 << 60

HoldingKey: TypeAlias = tuple[str, str | None, str | None, str]
"""Source, account, exchange, symbol."""


class Sums(Protocol):
    """Who keeps the sums and writes their series."""

    tally: Tally
    of_group: dict[str, tuple[Family, Family]]

    def show(self, account: AccountSum) -> None: ...

    def forget(self, total: Sum) -> None: ...


class Exposure(NamedTuple):
    """An account's in one currency. Money is positive but for `net`; `largest` and `herfindahl` are of gross, 0 to 1.

    `unpriced` of the `positions` have no known price and are missing from the money.
    """

    gross: float
    net: float
    long: float
    short: float
    positions: int
    unpriced: int
    largest: float
    herfindahl: float


class Sum:
    """Positions of one group in one currency, added up; writes its series at the step's end."""

    __slots__ = ("_dirty", "exposures", "family", "gross", "key", "meant", "members", "net", "positions")

    def __init__(self, exposures: Sums, family: str, key: Key) -> None:
        self.exposures = exposures
        self.family = family
        self.key = key
        self.gross = self.net = self.positions = 0
        self.members = 0
        """Who belongs here, flat ones too; where nobody does any more, the series end."""
        self.meant = 0
        self._dirty = False

    def add(self, amount: int, size: int, positions: int, t_ms: int | None) -> None:
        """`size` is how much gross exposure grows, `amount` how much net; without a time nothing is written."""
        self.gross += size
        self.net += amount
        self.positions += positions
        if t_ms is not None:
            self.touch(t_ms)

    def touch(self, t_ms: int) -> None:
        if t_ms > self.meant:
            self.meant = t_ms
        if not self._dirty:
            self._dirty = True
            self.exposures.tally.pending.append(self)

    def settle(self) -> None:
        self._dirty = False
        families = self.exposures.of_group[self.family]
        if self.members:
            for family, money in zip(families, (self.gross, self.net), strict=True):
                family.cell(self.key).stand(self.meant, money / SCALE)
        else:
            for family in families:
                family.end(self.key, self.meant)
            self.exposures.forget(self)


class AccountSum(Sum):
    """An account in one currency, with how its positions share it."""

    __slots__ = ("_largest", "_sizes", "_squares")

    def __init__(self, exposures: Sums, family: str, key: Key) -> None:
        super().__init__(exposures, family, key)
        self._squares = 0
        self._sizes: dict[HoldingKey, int] = {}
        """Of the positions that have a price."""
        self._largest: int | None = 0
        """None where it has to be looked for."""

    def resize(self, key: HoldingKey, size: int | None) -> None:
        """One position's share is another; None where it has no price, or is flat."""
        before = self._sizes.get(key, 0)
        if size is None:
            size = 0
            self._sizes.pop(key, None)
        else:
            self._sizes[key] = size
        self._squares += size * size - before * before
        if self._largest is not None:
            if size >= self._largest:
                self._largest = size
            elif before == self._largest:
                self._largest = None

    def exposure(self) -> Exposure:
        gross, net = self.gross, self.net
        if self._largest is None:
            self._largest = max(self._sizes.values(), default=0)
        return Exposure(
            gross / SCALE,
            net / SCALE,
            (gross + net) / (2 * SCALE),
            (gross - net) / (2 * SCALE),
            self.positions,
            self.positions - len(self._sizes),
            self._largest / gross if gross else 0.0,
            self._squares / (gross * gross) if gross else 0.0,
        )

    def settle(self) -> None:
        self._dirty = False
        self.exposures.show(self)
