"""The doors: what is bound, what is refused and in which words."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from trader_monitor.config.values import Listen
from trader_monitor.runtime.sockets import CannotBind, bind_tcp, bind_unix, lend, port_of


def test_a_taken_port_is_fatal_and_names_the_key_and_the_port() -> None:
    with bind_tcp(Listen("127.0.0.1", 0), "http.listen") as first:
        taken = pytest.raises(CannotBind, match=rf"http\.listen.*:{port_of(first)}.*taken")
        with taken:
            bind_tcp(Listen("127.0.0.1", port_of(first)), "http.listen")


def test_an_address_of_another_host_is_refused() -> None:
    with pytest.raises(CannotBind, match="no such address"):
        bind_tcp(Listen("192.0.2.1", 0), "live.listen")


def test_a_lent_socket_may_be_closed_and_the_root_still_listens() -> None:
    with bind_tcp(Listen("127.0.0.1", 0), "http.listen") as root:
        lend(root).close()
        with socket.create_connection(root.getsockname(), timeout=2):
            pass


def test_the_unix_socket_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ingest.sock"
    with bind_unix(path, "ingest.socket"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_dead_daemons_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "ingest.sock"
    bind_unix(path, "ingest.socket").close()
    with bind_unix(path, "ingest.socket"):
        assert path.is_socket()


def test_a_living_daemons_socket_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ingest.sock"
    with bind_unix(path, "ingest.socket"), pytest.raises(CannotBind, match="another daemon"):
        bind_unix(path, "ingest.socket")


def test_a_file_that_is_no_socket_is_never_deleted(tmp_path: Path) -> None:
    path = tmp_path / "ingest.sock"
    path.write_text("precious")
    with pytest.raises(CannotBind, match="no socket"):
        bind_unix(path, "ingest.socket")
    assert path.read_text() == "precious"
