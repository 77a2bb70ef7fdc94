import pytest

from tests.weights.server import serving


@pytest.fixture
def server(monkeypatch):
    """A test server, reached without a proxy; retries do not wait."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("VML_BENCH_MIRROR", raising=False)
    with serving() as running:
        yield running


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("VML_BENCH_CACHE", str(folder))
    return folder
