"""HTTPS by certificate files: what cannot be used is told at the start, and new files are read while streams go on."""

import os
import signal
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest
import trustme

from firesteel.bench.servers import free_port
from firesteel.config import ServerConfig
from firesteel.errors import ConfigError
from firesteel.server.tls import Tls, uses_tls
from tests.server.live import Live, chat_body, firesteel, serving, wait_for


class Files:
    """A certificate of a new authority and its key, as files."""

    def __init__(self, folder: Path, name: str = "a") -> None:
        self.authority = trustme.CA()
        self.issued = self.authority.issue_cert("127.0.0.1", "localhost")
        self.cert, self.key = folder / f"{name}.pem", folder / f"{name}.key"
        self.write(self.cert, self.key)

    def write(self, cert: Path, key: Path) -> None:
        cert.write_bytes(b"".join(blob.bytes() for blob in self.issued.cert_chain_pems))
        key.write_bytes(self.issued.private_key_pem.bytes())
        key.chmod(0o600)

    def trusting(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    def config(self, **changes: str) -> ServerConfig:
        files = {"tls_cert": str(self.cert), "tls_key": str(self.key), **changes}
        return ServerConfig(tls_cert=files["tls_cert"], tls_key=files["tls_key"])


def test_half_of_the_files_is_a_mistake() -> None:
    assert not uses_tls(ServerConfig())
    with pytest.raises(ConfigError, match=r"`tls.key` is missing"):
        uses_tls(ServerConfig(tls_cert="a"))
    with pytest.raises(ConfigError, match=r"`tls.cert` is missing"):
        uses_tls(ServerConfig(tls_key="a"))


def test_files_that_cannot_be_used_are_named_with_the_remedy(tmp_path: Path) -> None:
    files, others = Files(tmp_path), Files(tmp_path, "b")
    Tls(files.config())
    with pytest.raises(ConfigError, match=r"`tls.cert`: there is no file /gone"):
        Tls(files.config(tls_cert="/gone"))
    with pytest.raises(ConfigError, match=r"`tls.key`: .*b.key is not the key of the certificate"):
        Tls(files.config(tls_key=str(others.key)))
    files.key.chmod(0o644)
    with pytest.raises(ConfigError, match=r"`tls.key`: every user can read .*; chmod o-r"):
        Tls(files.config())
    files.key.chmod(0o600)
    files.cert.write_text("no certificate")
    with pytest.raises(ConfigError, match="must be PEM files"):
        Tls(files.config())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_key_that_this_user_may_not_read(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.key.chmod(0)
    with pytest.raises(ConfigError, match=r"`tls.key`: .* cannot be read"):
        Tls(files.config())


def test_a_bad_file_at_reload_keeps_the_old_certificate(tmp_path: Path) -> None:
    files, others = Files(tmp_path), Files(tmp_path, "b")
    tls = Tls(files.config())
    with pytest.raises(ConfigError):
        tls.check(files.config(tls_key=str(others.key)))
    with pytest.raises(ConfigError, match="restart"):
        tls.check(ServerConfig())
    tls.check(files.config())
    tls.take(files.config())


def get(live: Live, files: Files) -> int:
    with httpx.Client(verify=files.trusting(), trust_env=False) as client:
        return client.get(f"https://127.0.0.1:{live.port}/v1/models").status_code


def test_a_renewed_certificate_is_served_while_a_stream_goes_on(tmp_path: Path) -> None:
    first, second = Files(tmp_path), Files(tmp_path, "b")
    with serving("--tls-cert", str(first.cert), "--tls-key", str(first.key), verify=first.trusting()) as live:
        assert live.url.startswith("https")
        body = chat_body("slow", stream=True, max_tokens=150)
        with live.http.stream("POST", "/v1/chat/completions", json=body) as stream:
            lines = stream.iter_lines()
            next(lines)
            second.write(first.cert, first.key)
            live.process.send_signal(signal.SIGHUP)
            wait_for(lambda: "settings reloaded" in live.log.read_text(), "the reload")
            assert get(live, second) == 200
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                get(live, first)
            assert "data: [DONE]" in list(lines)


def test_a_reload_that_is_refused_takes_no_certificate(tmp_path: Path) -> None:
    first, second, file = Files(tmp_path), Files(tmp_path, "b"), tmp_path / "firesteel.toml"
    text = f'tls.cert = "{first.cert}"\ntls.key = "{first.key}"\n'
    file.write_text(text)
    with serving("--config", str(file), verify=first.trusting()) as live:
        second.write(first.cert, first.key)
        file.write_text(text + 'guard_actions = ["nonsense"]')
        live.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "the old settings stay" in live.log.read_text(), "the refusal")
        assert get(live, first) == 200


def test_a_server_without_tls_does_not_say_that_it_took_it(tmp_path: Path) -> None:
    files, file = Files(tmp_path), tmp_path / "firesteel.toml"
    file.write_text("")
    with serving("--config", str(file)) as live:
        file.write_text(f'tls.cert = "{files.cert}"\ntls.key = "{files.key}"')
        live.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "reload" in live.log.read_text(), "the reload")
        log = live.log.read_text()
    assert "the old settings stay: `tls.cert` and `tls.key` cannot be given" in log
    assert "restart it" in log


def test_the_server_speaks_no_plain_http_then(tmp_path: Path) -> None:
    files = Files(tmp_path)
    with serving("--tls-cert", str(files.cert), "--tls-key", str(files.key), verify=files.trusting()) as live:
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{live.port}/health", trust_env=False)
        assert live.health() == 200


def test_the_command_refuses_files_before_it_loads_anything(tmp_path: Path) -> None:
    line = firesteel("serve", "--backend", "scripted", "--port", str(free_port()), "--tls-cert", str(tmp_path / "x"))
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "`tls.key` is missing" in done.stderr
