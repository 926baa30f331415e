"""Passwords of storages: used, and written or shown nowhere."""

import json
import re
import zipfile

import pytest
import yaml
from finished_studies import finished_study
from sqlalchemy.engine import make_url
from studies import start, study, sweep

from biformer_lit.errors import ConfigError
from biformer_lit.sweep.results.export import write_bundle
from biformer_lit.sweep.spec.address import check_written, complete, kept, redacted, shown
from biformer_lit.sweep.spec.study_reader import read_spec
from biformer_lit.sweep.trials.storage import open_storage
from biformer_lit.sweep.trials.study import SPEC, read_text, text_of

HARD = "p@s/w#r%d?:ö"


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("postgresql://me:secret@host:5432/db?sslmode=require", "secret"),
        (f"postgresql+psycopg://me:{HARD}@host/db", HARD),
        ("postgresql://me:p%40ss%2Fw@host/db", "p@ss/w"),
        ("postgresql://me@server:secret@server.cloud:5432/db", "secret"),
        ("postgresql://me:secret@[::1]:5432/db", "secret"),
        ("postgresql://me:secret@host/db?options=a@b", "secret"),
        ("postgresql://me:x@y?z@host/db", "x@y?z"),
        ("mysql+pymysql://me:$DATABASE_WORD@host/db", HARD),
        ("mysql+pymysql://me:${DATABASE_WORD}@host/db", HARD),
        ("postgresql://$DATABASE_LOGIN@host/db", "sec/ret"),
        ("$DATABASE", HARD),
        ("postgresql://me@host:5432/db", None),
        ("sqlite:////data/a:b@c/study.db", None),
    ],
)
def test_the_driver_gets_the_password(url, password, monkeypatch):
    monkeypatch.setenv("DATABASE_WORD", HARD)
    monkeypatch.setenv("DATABASE_LOGIN", "me:sec/ret")
    monkeypatch.setenv("DATABASE", f"postgresql://me:{HARD}@host/db")
    made = make_url(complete(url))
    assert made.password == password
    assert made.host in ("host", "server.cloud", "::1", None)
    for text in (shown(url), kept(url)):
        assert password is None or (password not in text and "sec/ret" not in text)
        assert "%40" not in text


@pytest.mark.parametrize("name", ["password", "passwd", "PWD"])
def test_a_password_in_the_query(name, monkeypatch):
    url = f"mysql+pymysql://me@host/db?charset=utf8&{name}=s@c/r%23t"
    assert make_url(complete(url)).query[name] == "s@c/r#t"
    assert shown(url) == f"mysql+pymysql://me@host/db?charset=utf8&{name}=***"
    assert kept(url) == f"mysql+pymysql://me@host/db?charset=utf8&{name}=$MYSQL_PWD"
    monkeypatch.setenv("MYSQL_PWD", HARD)
    assert make_url(complete(kept(url))).query[name] == HARD


@pytest.mark.parametrize(
    ("url", "reference"),
    [
        ("postgresql://me:secret@host/db", "postgresql://me:$PGPASSWORD@host/db"),
        ("mysql+pymysql://me:secret@host/db", "mysql+pymysql://me:$MYSQL_PWD@host/db"),
        ("grpc://me:secret@host:1", "grpc://me:$STORAGE_PASSWORD@host:1"),
        ("postgresql://host/db?sslpassword=secret", "postgresql://host/db?sslpassword=$STORAGE_SSLPASSWORD"),
        ("postgresql://me:$MINE@host/db", "postgresql://me:$MINE@host/db"),
        ("postgresql://me@host/db?passfile=/home/me/.pgpass", "postgresql://me@host/db?passfile=/home/me/.pgpass"),
        ("sqlite:///study.db", "sqlite:///study.db"),
    ],
)
def test_what_is_written_down_is_a_reference(url, reference):
    assert kept(url) == reference
    assert kept(reference) == reference


def test_a_variable_that_is_not_set():
    with pytest.raises(ConfigError, match="variable NOT_SET_ANYWHERE, which is to hold the password, is not set"):
        complete("postgresql://me:$NOT_SET_ANYWHERE@host/db")


def test_a_login_that_cannot_be_made_out(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read as an address") as raised:
        open_storage("postgresql://me:secret@ho st/db", tmp_path)
    assert "secret" not in str(raised.value)
    assert "secret" not in kept("postgresql://me:secret@ho st/db")


@pytest.mark.parametrize(
    "url", [f"mysql+nothing://a:{HARD}@b/c", "grpc://a:secret@b", "postgresql://h:x/d?password=secret"]
)
def test_errors_do_not_tell(tmp_path, url):
    with pytest.raises(ConfigError) as raised:
        open_storage(url, tmp_path)
    assert "secret" not in str(raised.value)
    assert HARD not in str(raised.value)
    complete("postgresql://me:hunter2@host/db")
    assert redacted("FATAL: hunter2 is wrong") == "FATAL: *** is wrong"


def test_a_study_file_keeps_the_reference(tmp_path):
    spec = read_spec(study(tmp_path, storage=f"postgresql://me:{HARD}@host/db"))
    assert yaml.safe_load(text_of(spec))["storage"] == "postgresql://me:$PGPASSWORD@host/db"


def test_a_study_file_of_an_earlier_version(tmp_path):
    """It may hold a password: neither the report nor the bundle repeats it."""
    folder = finished_study(tmp_path / "old", factors={"a": {"a0": {"model.lce": 0}, "a1": {"model.lce": 3}}})
    text = (folder / SPEC).read_text()
    assert read_text(folder) == text
    (folder / SPEC).write_text(f"{text}storage: 'postgresql://me:{HARD}@host/db'\n")
    assert HARD not in read_text(folder)
    write_bundle(folder, tmp_path / "b.zip", checkpoints=False)
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        contents = [archive.read(name).decode() for name in archive.namelist() if "events" not in name]
    assert not any(HARD in one or "me:p" in one for one in contents)
    assert any("me:$PGPASSWORD@host" in one for one in contents)


@pytest.mark.slow
def test_a_real_database_with_a_password(tmp_path, postgres, monkeypatch):
    """Nothing that a study leaves behind holds the password, nor do its processes' command lines."""
    url = postgres.database().replace("tester@", "tester:$PGPASS@")
    path = study(tmp_path, cells=2, set={"fake.epoch_seconds": 0.2})
    process = start(tmp_path, path, "--storage", url, PGPASS=HARD)
    assert process.wait() == 0, (tmp_path / "coordinator.log").read_text()
    literal = url.replace("$PGPASS", HARD)
    path = study(tmp_path, cells=2, seeds=[0, 1], set={"fake.epoch_seconds": 0.2})
    process = start(tmp_path, path, "--storage", literal, "--extend")
    assert process.wait() == 0, (tmp_path / "coordinator.log").read_text()
    monkeypatch.setenv("PGPASSWORD", HARD)
    sweep("status", tmp_path / "study")
    sweep("export", tmp_path / "study", "--bundle", tmp_path / "b.zip")
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 10
    for file in files:
        content = file.read_bytes()
        assert HARD.encode() not in content, file
        assert json.dumps(HARD)[1:-1].encode() not in content, file


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///study.db",
        "grpc://host:13000",
        "postgresql://me:$PGPASSWORD@host/db",
        "postgresql+psycopg://$DB_USER:${DB_PASS}@$POSTGRES_HOST/db?sslmode=require",
        "mysql+pymysql://me:$STORAGE_PASSWORD@host/db",
        "$OPTUNA_STORAGE",
    ],
)
def test_addresses_that_a_file_may_hold(url):
    check_written(url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://u:$AWS_SECRET_ACCESS_KEY@evil.example/db", "AWS_SECRET_ACCESS_KEY to its server"),
        ("mysql://u@evil.example/${HF_TOKEN}", "HF_TOKEN to its server"),
        ("$HOME", "HOME to its server"),
        ("evil+driver://host/db", "is not sqlite:///FILE"),
        ("sqlite+evil:///file", "is not sqlite:///FILE"),
    ],
)
def test_addresses_that_are_to_be_typed(tmp_path, url, message):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({"question": "Which?", "base": "digits", "plan": "factorial", "storage": url}))
    with pytest.raises(ConfigError, match="storage: .*" + re.escape(message)):
        read_spec(path)
