"""Every kind of check against the thing itself: it fails, the alert says why, it is well again, the alert ends."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import time
from pathlib import Path

from aiohttp import web

from tests.acceptance.house import account, daemon, firing, free_port, resolved, sink
from tests.acceptance.test_incident import hook

EAGER = 'every = "1s"\ntimeout = "900ms"\ntrip_after = 1\ncooldown = "1s"\n'


def check(name: str, **options: object) -> str:
    told = "".join(f"{key} = {value!r}\n" for key, value in options.items())
    return f"[checks.{name}]\n{EAGER}{told}"


async def test_tcp_heartbeat_process_and_promql_fail_alert_recover_and_resolve(tmp_path: Path) -> None:
    port = free_port()
    config = check("gateway", type="tcp", host="127.0.0.1", port=port)
    config += check("pulse", type="heartbeat", source="night-owl", missed=2)
    config += check("worker", type="process", match="^/bin/sleep 600[.]0625$")
    config += check("margin", type="promql", expr="account_equity > 100")
    async with sink() as slack, daemon(tmp_path, config + hook(slack.url)) as house:
        beat = {"type": "heartbeat", "source": "night-owl"}
        await house.send({**beat, "at": time.time(), "interval_seconds": 0.25})
        await house.send(account(50.0))
        why = {
            "gateway": "Connection refused",
            "pulse": "ago, wanted one every 0.25 s",
            "worker": "0 processes match, wanted at least 1",
            "margin": "is 50, which breaks account_equity > 100",
        }
        for name, answer in why.items():
            told = await slack.want(firing("check_failing", check=name, severity="error"))
            assert answer in told["annotations"]["answer"]
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port)
        worker = await asyncio.create_subprocess_exec("/bin/sleep", "600.0625")
        try:
            await house.send({**beat, "at": time.time(), "interval_seconds": 60})
            await house.send(account(150.0))
            well = {
                "gateway": "connected in",
                "pulse": "ago, wanted one every 60 s",
                "worker": "1 processes match",
                "margin": "account_equity > 100 holds for 1",
            }
            for name, answer in well.items():
                told = await slack.want(resolved("check_failing", check=name))
                assert answer in told["annotations"]["answer"]
            assert dict.fromkeys(why, 1.0) == {name: await house.value(f'check_up{{check="{name}"}}') for name in why}
        finally:
            server.close()
            worker.kill()
            await worker.wait()


def certificate(folder: Path, days: int) -> Path:
    """A certificate for the loopback that signs itself, with its key."""
    path = folder / f"{days}.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -batch -subj /CN=desk"
    options = ["-addext", "subjectAltName=IP:127.0.0.1", "-days", str(days), "-keyout", str(path), "-out", "-"]
    made = subprocess.run([*command.split(), *options], check=True, capture_output=True, text=True)
    path.write_text(path.read_text() + made.stdout)
    return path


async def test_a_certificate_near_its_end_fails_with_the_days_that_are_left_until_it_is_renewed(tmp_path: Path) -> None:
    old, new = [await asyncio.to_thread(certificate, tmp_path, days) for days in (2, 90)]
    trusted = tmp_path / "ca.pem"
    trusted.write_text(old.read_text() + new.read_text())
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(old)
    app = web.Application()
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}/"
    config = check("broker", type="http", url=url, ca=str(trusted), status=[404], min_tls_days=14)
    config += check("untrusting", type="http", url=url, status=[404])
    try:
        async with sink() as slack, daemon(tmp_path, config + hook(slack.url)) as house:
            told = await slack.want(firing("check_failing", check="broker"))
            assert told["annotations"]["answer"] == "the certificate ends in 2.0 days, wanted 14"
            tls.load_cert_chain(new)
            told = await slack.want(resolved("check_failing", check="broker"))
            assert told["annotations"]["answer"].startswith("status 404 in ")
            told = await slack.want(firing("check_failing", check="untrusting"))
            assert "self-signed certificate" in told["annotations"]["answer"], "no check trusts whom it was not told to"
            assert await house.value('check_up{check="untrusting"}') == 0
    finally:
        await runner.cleanup()
