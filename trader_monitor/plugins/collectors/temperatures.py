"""Temperatures, where the host has sensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import psutil
from msgspec import Struct

from trader_monitor.runtime.env import Env
from trader_monitor.runtime.readings import Reading, gauge
from trader_monitor.runtime.registry import collector

NOW = gauge("host_temperature_celsius", "Temperature at the sensor.")
HIGH = gauge("host_temperature_high_celsius", "Temperature that the sensor's maker calls high.")
CRITICAL = gauge("host_temperature_critical_celsius", "Temperature that the sensor's maker calls critical.")


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to choose."""

    OWN: ClassVar[bool] = True


@collector("temperatures", Options)
def temperatures(options: Options, env: Env) -> list[Reading]:
    """Temperatures of the host's sensors; a host that has none has no such series."""
    return list(_read())


def _read() -> Iterator[Reading]:
    for chip, sensors in psutil.sensors_temperatures().items():
        for number, sensor in enumerate(sensors):
            labels = {"chip": chip, "sensor": sensor.label or str(number)}
            if sensor.current is not None:
                yield NOW(sensor.current, **labels)
            if sensor.high:
                yield HIGH(sensor.high, **labels)
            if sensor.critical:
                yield CRITICAL(sensor.critical, **labels)
