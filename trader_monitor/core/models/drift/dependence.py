"""Dependence: how much one row of a feature says about the next, so that rows are not taken for evidence twice.

A feature is seen as a Gaussian autoregression that was put through its own distribution (autoregressive-to-anything,
Cario and Nelson 1996): ranks become normal scores, ties are undone by the Hermite expansion of the steps that they
make, the order is chosen by Akaike's criterion, the coefficients are Yule and Walker's. `tau`, the
integrated autocorrelation time, says how many rows weigh as much as one independent row.
"""

from __future__ import annotations

import math

import numpy as np
from msgspec import Struct

from trader_monitor.core.models.columns import Ordered
from trader_monitor.core.samples import Floats

__all__ = ["Dependence", "dependence_of", "normal_quantile", "scores", "spectrum", "tau_of", "tau_within"]

MOST_LAGS = 24
"""The longest autoregression that is tried."""

_TERMS = 300
_STABLE = 0.9999
_FEWEST = 8

# The rational approximation of the normal quantile with 16 digits (Wichura 1988, algorithm AS 241).
# fmt: off
_MIDDLE = (
    (3.3871328727963665, 133.14166789178438, 1971.5909503065513, 13731.69376550946, 45921.95393154987,
     67265.7709270087, 33430.57558358813, 2509.0809287301227),
    (1.0, 42.31333070160091, 687.1870074920579, 5394.196021424751, 21213.794301586597,
     39307.89580009271, 28729.085735721943, 5226.495278852854),
)
_NEAR = (
    (1.4234371107496835, 4.630337846156546, 5.769497221460691, 3.6478483247632045, 1.2704582524523684,
     0.2417807251774506, 0.022723844989269184, 0.0007745450142783414),
    (1.0, 2.053191626637759, 1.6763848301838038, 0.6897673349851, 0.14810397642748008,
     0.015198666563616457, 0.0005475938084995345, 1.0507500716444169e-09),
)
_FAR = (
    (6.657904643501103, 5.463784911164114, 1.7848265399172913, 0.29656057182850487, 0.026532189526576124,
     0.0012426609473880784, 2.7115555687434876e-05, 2.0103343992922881e-07),
    (1.0, 0.599832206555888, 0.1369298809227358, 0.014875361290850615, 0.0007868691311456133,
     1.8463183175100548e-05, 1.421511758316446e-07, 2.0442631033899397e-15),
)
# fmt: on


class Dependence(Struct, frozen=True, kw_only=True):
    """`coefficients` of the autoregression behind `rows` rows, and its integrated autocorrelation time."""

    rows: int
    coefficients: tuple[float, ...] = ()
    tau: float = 1.0

    @property
    def effective(self) -> float:
        """How many independent rows these are worth."""
        return self.rows / self.tau


def normal_quantile(share: Floats) -> Floats:
    """The standard normal distribution's quantile at each share, which is between 0 and 1 and neither."""
    q = share - 0.5
    tail = np.sqrt(-np.log(np.minimum(share, 1.0 - share)))
    outer = np.where(tail <= 5.0, _ratio(_NEAR, tail - 1.6), _ratio(_FAR, tail - 5.0))
    found: Floats = np.where(np.abs(q) <= 0.425, q * _ratio(_MIDDLE, 0.180625 - q * q), np.copysign(outer, q))
    return found


def _ratio(terms: tuple[tuple[float, ...], tuple[float, ...]], x: Floats) -> Floats:
    found: Floats = np.polyval(terms[0][::-1], x) / np.polyval(terms[1][::-1], x)
    return found


def scores(values: Ordered) -> tuple[Floats, Floats]:
    """The normal score of each value's middle rank, and the shares at or below each distinct value but the last."""
    distinct, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    below = np.cumsum(counts)
    middle = (below - 0.5 * counts) / len(values)
    return normal_quantile(middle)[which], below[: len(distinct) - 1] / len(values)


def dependence_of(values: Ordered) -> Dependence:
    """The dependence of `values` (in the order of time, finite, at least two distinct)."""
    n = len(values)
    scored, shares = scores(values)
    found = _autocorrelation(scored, min(4 * MOST_LAGS, n // 4))
    tied = len(shares) < 0.9 * n
    dependence = Dependence(rows=n)
    for _ in range(3):
        # The mean is estimated too, which takes one long-run variance off every autocovariance.
        lost = min(dependence.tau / n, 0.5)
        corrected = (found + lost) / (1.0 + lost)
        told = 1.0
        if tied:
            corrected, told = _untied(corrected, scored, shares)
        dependence = _autoregression(corrected, n, told)
    return dependence


def tau_of(flags: Floats) -> float:
    """The integrated autocorrelation time of a series of noughts and ones in the order of time; 1 of a constant."""
    n = len(flags)
    if n < _FEWEST or flags.min() == flags.max():
        return 1.0
    found, tau = _autocorrelation(flags, min(4 * MOST_LAGS, n // 4)), 1.0
    for _ in range(3):
        lost = min(tau / n, 0.5)
        tau = _autoregression((found + lost) / (1.0 + lost), n).tau
    return tau


def tau_within(tau: float, rows: int) -> float:
    """The autocorrelation time that tells within windows of `rows` rows, where correlations decay geometrically."""
    rho = (tau - 1.0) / (tau + 1.0)
    return tau - 2.0 * rho * (1.0 - rho**rows) / (rows * (1.0 - rho) ** 2)


def _autocorrelation(scored: Floats, lags: int) -> Floats:
    n = len(scored)
    size = 1 << (2 * n - 1).bit_length()
    power = np.abs(np.fft.rfft(scored - scored.mean(), size)) ** 2
    found: Floats = np.fft.irfft(power, size)[: lags + 1]
    return np.asarray(found / found[0])


def _untied(found: Floats, scored: Floats, shares: Floats) -> tuple[Floats, float]:
    """The autocorrelations behind steps: those of a Gaussian series whose steps correlate as `found`.

    And what a row still tells of them, 1 where there are no steps.
    """
    levels = np.unique(scored)
    at = normal_quantile(shares)
    rises = np.diff(levels)
    weights = np.empty(_TERMS)
    # The Hermite polynomial of degree j - 1 at the steps, times the density, over the root of j!.
    before, last = np.zeros_like(at), np.exp(-0.5 * at * at) / math.sqrt(2.0 * math.pi)
    weights[0] = float(rises @ last) ** 2
    for j in range(2, _TERMS + 1):
        before, last = last, (at * last - (j - 2) / math.sqrt(j - 1) * before) / math.sqrt(j)
        weights[j - 1] = float(rises @ last) ** 2
    variance = float(np.square(scored - scored.mean()).mean())
    rest = max(variance - float(weights.sum()), 0.0)
    rho = np.sin(np.linspace(-0.5, 0.5, 401) * math.pi)  # dense where steps make the curve steep
    powers = rho[:, None] ** np.arange(1, _TERMS + 1)
    curve = np.maximum.accumulate((powers @ weights + rest * rho ** (_TERMS + 1)) / variance)
    untied: Floats = np.interp(found, curve, rho)
    untied[0] = 1.0
    return untied, float(weights[0]) / variance


def _autoregression(correlation: Floats, n: int, told: float = 1.0) -> Dependence:
    """Durbin and Levinson's recursion, as far as the information criterion allows.

    Where ties let a row tell less (`told` < 1), errors of the correlations are not those of an autoregression of
    their own: they weigh the more, the less variance is left, and the heavier penalty (Schwarz's) keeps them out.
    """
    chosen = Dependence(rows=n)
    coefficients = np.empty(0)
    variance, criterion, best = 1.0, 0.0, 0.0
    tied = told < 1.0
    for order in range(1, min(MOST_LAGS, len(correlation) - 1) + 1):
        partial = (correlation[order] - coefficients @ correlation[order - 1 : 0 : -1]) / variance
        if order > 1 and abs(partial) >= _STABLE:
            break  # correlations that no series has, as estimates of rare events may be
        partial = float(np.clip(partial, -_STABLE, _STABLE))
        coefficients = np.append(coefficients - partial * coefficients[::-1], partial)
        weight = n * told * told * variance if tied else n
        criterion += weight * math.log1p(-partial * partial) + (math.log(n) if tied else 2.0)
        variance *= 1.0 - partial * partial
        if criterion < best:
            best = criterion
            # The spectral density at nought over the variance, which is 1; alternating rows are not overrated.
            tau = max(1.0, variance / (1.0 - float(coefficients.sum())) ** 2)
            chosen = Dependence(rows=n, coefficients=tuple(coefficients.tolist()), tau=tau)
    return chosen


def spectrum(coefficients: tuple[float, ...], size: int) -> Floats:
    """The spectral density at the size // 2 + 1 frequencies of a real transform of `size` points, to a factor."""
    response = np.fft.rfft(np.array([1.0, *(-c for c in coefficients)]), size)
    found: Floats = 1.0 / np.maximum(np.abs(response) ** 2, 1e-12)
    return found
