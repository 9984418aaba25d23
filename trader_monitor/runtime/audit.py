"""The audit of predictions: on request an entry for each, written in the transaction of the prediction itself.

Asked for by `[models] audit = true`, or by the prediction with `"context": {"audit": true}`. An entry tells what was
predicted, and by which inputs: their SHA-256, so that whoever kept them can prove that these they were.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterable
from typing import Any

from trader_monitor.core.facts import Fact, Prediction
from trader_monitor.core.models.features import Features

__all__ = ["audited", "inputs_digest", "write_audit"]


def inputs_digest(features: Features | None) -> str | None:
    """SHA-256 in hexadecimal of the features as they were sent: JSON in UTF-8, keys sorted, no spaces, numbers as
    doubles in their shortest form (Python: `json.dumps(features, sort_keys=True, separators=(",", ":"),
    ensure_ascii=False)` with floats). None where there are none."""
    if features is None:
        return None
    plain = {
        name: value if value is None or isinstance(value, str) else float(value) for name, value in features.items()
    }
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def audited(facts: Iterable[Fact], all_of_them: bool) -> list[tuple[int, Prediction]]:
    """The predictions of a batch that want an entry, with their places."""
    return [
        (place, fact)
        for place, fact in enumerate(facts)
        if type(fact) is Prediction and (all_of_them or (fact.context or {}).get("audit") is True)
    ]


def write_audit(
    db: sqlite3.Connection, seq: int, wall: float, predictions: list[tuple[int, Prediction]], trace_id: str
) -> None:
    """Enters them into the present transaction; `trace_id` is the request's, a prediction's own goes before."""
    rows = []
    for place, prediction in predictions:
        entry: dict[str, Any] = {
            "recorded_at": wall,
            "at": prediction.at,
            "id": prediction.id,
            "source": prediction.source,
            "model": prediction.model,
            "version": prediction.version,
            "subject": prediction.subject,
            "output": prediction.output,
            "label": prediction.label,
            "probability": prediction.probability,
            "confidence": prediction.confidence,
            "trace_id": (prediction.context or {}).get("trace_id") or trace_id or None,
            "inputs_sha256": inputs_digest(prediction.features),
        }
        body = json.dumps(entry, ensure_ascii=False).encode("utf-8", "surrogatepass")
        rows.append((seq + place, prediction.at, prediction.model, prediction.version, zlib.crc32(body), body))
    db.executemany("INSERT INTO prediction_audit (seq, at, model, version, crc, body) VALUES (?,?,?,?,?,?)", rows)
