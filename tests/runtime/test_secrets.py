"""What could be a secret is not shown, wherever it came from."""

import pytest

from runtime.text import public_address, without_secrets


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("s3://bucket/a", "s3://bucket/a"),
        ("s3://me:word@host/a", "s3://host/a"),
        ("rtsp://me:w@rd@host:554/1", "rtsp://host:554/1"),
        ("https://host/a@b.jpg", "https://host/a@b.jpg"),
        ("https://host/a?sig=abc&part=3", "https://host/a?sig=***&part=3"),
        ("https://host/a?pin=123&abc", "https://host/a?pin=***&***"),
        ("photos/a@b?c=d", "photos/a@b?c=d"),
    ],
)
def test_an_address_is_shown_without_what_could_be_a_secret(address, shown):
    assert public_address(address) == shown


def test_what_a_library_says_has_no_user_no_query_and_no_secret_of_the_environment(monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "abcdef0123")
    monkeypatch.setenv("PWD", "/home/me/photos")
    said = "403 for https://me:p@ss@host/a?sig=1 with abcdef0123 in /home/me/photos"
    assert without_secrets(said) == "403 for https://host/a with *** in /home/me/photos"
