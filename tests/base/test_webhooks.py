"""Which addresses a webhook may have: those named, and what lies below them."""

import pytest

from base.errors import ConfigurationError
from base.settings import load_settings
from base.webhooks import is_allowed

ALLOWED = ("https://hooks.example.com/done/", "https://other.example.com:8443", "http://127.0.0.1:9/hook")


@pytest.mark.parametrize(
    "address",
    [
        "https://hooks.example.com/done/",
        "https://hooks.example.com/done",
        "https://HOOKS.example.com:443/done/1?x=/../y",
        "https://other.example.com:8443/any/path",
        "https://other.example.com:8443",
        "http://127.0.0.1:9/hook/1",
    ],
)
def test_what_is_named_and_what_lies_below_it_is_allowed(address):
    assert is_allowed(address, ALLOWED)


@pytest.mark.parametrize(
    "address",
    [
        "http://hooks.example.com/done/",
        "https://hooks.example.com/donets",
        "https://hooks.example.com/",
        "https://hooks.example.com:8443/done/",
        "https://hooks.example.com.evil.example/done/",
        "https://hooks.example.com@evil.example/done/",
        "https://evil.example/https://hooks.example.com/done/",
        "https://hooks.example.com/done/../other",
        "https://hooks.example.com/done/%2e%2E/other",
        "https://hooks.example.com/done/.%2e/other",
        "https://hooks.example.com/done/..%2fother",
        "https://hooks.example.com/done/..\\other",
        "https://hooks.example.com\\@evil.example/done/",
        "https://hooks.example.com/done/#x",
        "https://hooks.example.com/done/\n",
        "https://hooks.example.com./done/",
        " https://hooks.example.com/done/",
        "https://hooks.ex\u0430mple.com/done/",
        "//hooks.example.com/done/",
        "/done/",
        "http://127.0.0.1:9/hook2",
        "http://127.1:9/hook",
        "http://localhost:9/hook",
        "http://[::ffff:127.0.0.1]:9/hook",
        "https://hooks.example.com/done/" + "x" * 2_000,
        "",
        None,
        ["https://hooks.example.com/done/"],
        {"url": "https://hooks.example.com/done/"},
    ],
)
def test_whatever_else_is_refused(address):
    assert not is_allowed(address, ALLOWED)


@pytest.mark.parametrize(
    "wrong",
    [
        "hooks.example.com",
        "http://hooks.example.com/",
        "ftp://x/",
        "https://a/../b",
        "https://u:p@a/",
        "*",
        "",
    ],
)
def test_what_cannot_be_allowed_is_told_with_file_and_line(wrong, tmp_path):
    path = tmp_path / "twobrain.toml"
    path.write_text(f'[server]\nwebhooks = ["{wrong}"]\n')
    with pytest.raises(ConfigurationError, match=r"line 2: server\.webhooks"):
        load_settings({"TWOBRAIN_CONFIG": str(path), "TWOBRAIN_DATA_DIR": str(tmp_path)})
