"""Secrets come by reference, from places that nobody else reads, and are never shown."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path

import pytest

from tests.unit.config.files import GOOD, load, written
from tradekeel.config import Secret, Vault, load_config
from tradekeel.config.secrets import SECRET_BYTES_MAX
from tradekeel.errors import InputError

VALUE = "s3cr3t-value"


def secret_file(folder: Path, content: bytes = VALUE.encode() + b"\n", mode: int = 0o600) -> Path:
    path = folder / "token"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def refused(value: object, environ: dict[str, str] | None = None, folder: Path | None = None) -> str:
    with pytest.raises(InputError) as caught:
        Vault(environ or {}).decode(value, folder)
    return str(caught.value)


def test_a_variable_a_file_and_a_credential_are_read_without_their_last_line_break(tmp_path: Path) -> None:
    secret_file(tmp_path)
    vault = Vault({"TOKEN": VALUE, "CREDENTIALS_DIRECTORY": str(tmp_path)})
    for reference in ({"env": "TOKEN"}, {"file": str(tmp_path / "token")}, {"credential": "token"}):
        assert vault.decode(reference).reveal() == VALUE
    assert vault.values() == {VALUE}


def test_a_file_may_be_relative_to_the_configuration(tmp_path: Path) -> None:
    secret_file(tmp_path)
    assert Vault({}).decode({"file": "token"}, tmp_path).reveal() == VALUE


def test_a_credential_is_found_under_the_name_that_systemd_gives_to_files_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "tradekeel_oanda-token").write_text(VALUE)
    assert Vault({"CREDENTIALS_DIRECTORY": str(tmp_path)}).decode({"credential": "oanda-token"}).reveal() == VALUE


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o700])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path, mode=mode)
    assert f"has mode {mode:04o}; chmod 0600 it" in refused({"file": str(path)})


def test_a_file_stricter_than_0600_is_taken(tmp_path: Path) -> None:
    assert Vault({}).decode({"file": str(secret_file(tmp_path, mode=0o400))}).reveal() == VALUE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = secret_file(tmp_path)
    os.chown(path, 12345, 12345)
    assert "belongs to somebody else (uid 12345); chown it" in refused({"file": str(path)})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (VALUE, "a secret may not stand in the file (it was not read); say where it is: { credential ="),
        (5, "allowed is { credential ="),
        ({}, "allowed is { credential ="),
        ({"env": "A", "file": "b"}, "allowed is { credential ="),
        ({"enf": "A"}, 'unknown place for a secret, "enf": did you mean "env"?'),
        ({"vault": "A"}, 'unknown place for a secret, "vault": places: credential, env, file'),
        ({"env": 5}, "env takes a string"),
        ({"env": "A=B"}, "a variable's name has letters"),
        ({"credential": "../etc/shadow"}, "a credential's name has letters"),
        ({"file": ""}, "file takes a path"),
        ({"file": "a\0b"}, "file takes a string"),
        ({"env": "NOBODY"}, "the environment has no variable NOBODY"),
        ({"env": "SHORT"}, 'the secret in env "SHORT" has fewer than 6 characters'),
        ({"credential": "token"}, "there are no systemd credentials here"),
        ({"file": "/nonexistent/token"}, 'the file "/nonexistent/token" cannot be read: No such file or directory'),
        ({"file": "/"}, 'the file "/" cannot be read: Is a directory'),
        ({"file": "/dev/null"}, '"/dev/null" is not a file'),
    ],
)
def test_what_is_no_reference_or_leads_nowhere_is_explained(value: object, said: str) -> None:
    message = refused(value, {"SHORT": "12345"})
    assert said in message
    assert VALUE not in message


def test_a_credential_that_was_not_handed_over_says_where_it_belongs(tmp_path: Path) -> None:
    message = refused({"credential": "token"}, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert message.startswith('systemd handed over no credential "token"')


@pytest.mark.parametrize(
    ("content", "said"), [(b"x" * (SECRET_BYTES_MAX + 1), "is larger than"), (b"\xff" * 20, "is not UTF-8 text")]
)
def test_a_file_that_is_no_secret_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in refused({"file": str(secret_file(tmp_path, content))})


def test_nothing_but_reveal_shows_the_value() -> None:
    secret = Secret("env", "TOKEN", VALUE)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r}", f"{[secret]}"]
    assert shown[0] == 'Secret({env = "TOKEN"})'
    assert VALUE not in " ".join(shown)
    assert VALUE.encode() not in pickle.dumps(secret)
    with pytest.raises(InputError, match="was not fetched"):
        copy.deepcopy(secret).reveal()


def test_secrets_are_equal_when_place_and_value_are() -> None:
    secret = Secret("env", "TOKEN", VALUE)
    assert secret == Secret("env", "TOKEN", VALUE)
    assert secret != Secret("env", "TOKEN", VALUE + "2")
    assert secret != Secret("env", "OTHER", VALUE)
    assert secret != Secret("env", "TOKEN")
    assert Secret("env", "TOKEN") == Secret("env", "TOKEN")
    assert secret != VALUE
    with pytest.raises(TypeError):
        hash(secret)


def test_a_command_that_only_reads_the_file_needs_no_secret(tmp_path: Path) -> None:
    text = GOOD.replace('feed = "market"', 'feed = "market"\ntoken = { credential = "oanda" }')
    token = load_config(written(tmp_path, text), {}, fetch_secrets=False).accounts["paper-1"].token
    assert token == Secret("credential", "oanda")
    assert token is not None
    with pytest.raises(InputError, match="was not fetched"):
        token.reveal()


def test_a_fetched_secret_is_nowhere_in_the_configuration_but_in_its_field(tmp_path: Path) -> None:
    text = GOOD.replace('feed = "market"', 'feed = "market"\ntoken = { env = "TOKEN" }')
    config = load(tmp_path, text, {"TOKEN": VALUE})
    assert VALUE not in repr(config)
    assert config.vault.values() == {VALUE}
