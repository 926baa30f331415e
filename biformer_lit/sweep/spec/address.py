"""Addresses of storages, whose passwords are used and never shown or written down."""

import os
import re
from collections.abc import Callable
from urllib.parse import quote, unquote, unquote_plus

from biformer_lit.errors import ConfigError

_REFERENCE = re.compile(r"\$(\w+)|\$\{(\w+)\}")
_SCHEME = re.compile(r"[A-Za-z][\w+.-]*://")
# what follows a login: a host or several with their ports, a database, a query
_PLACE = re.compile(r"(\[[^\]@]*\]|[^/?#@\s])*(/[^?#@]*)?(\?[^=&?]+=[^&]*(&[^=&?]+=[^&]*)*)?")
_PARAMETER = re.compile(r"([?&])([^=&?]+)=([^&]*)")
_SECRET = re.compile(r"pass(?!file)|pwd|secret|token|odbc_connect", re.IGNORECASE)
_PASSWORD = ("", "password", "passwd", "pwd", "pass")
_VARIABLES = {"postgres": "PGPASSWORD", "mysql": "MYSQL_PWD", "mariadb": "MYSQL_PWD"}
_HIDDEN = "***"
_SHORTEST = 3  # letters of a password that is looked for in messages; a shorter one is in any word

# what an address in a file may name; the file may come from anyone
_DRIVERS = re.compile(
    r"(sqlite|grpc|postgresql(\+(psycopg|psycopg2|pg8000))?"
    r"|(mysql|mariadb)(\+(pymysql|mysqldb|mysqlconnector|mariadbconnector))?)://"
)
_FOR_STORAGES = re.compile(r"PASS|PWD|STORAGE|DATABASE|DB_|_DB|^PG|POSTGRES|MYSQL|OPTUNA", re.IGNORECASE)

_used: set[str] = set()


def check_written(url: str) -> None:
    """Refuse an address in a study file that a stranger may have written to find out what your environment holds.

    Raises:
        ConfigError: If it names a driver that is none of Optuna's usual ones, or a variable that is none for storages.
    """
    for found in _REFERENCE.finditer(url):
        variable = found[1] or found[2]
        if not _FOR_STORAGES.search(variable):
            raise ConfigError(
                f"storage: {shown(url)} would send the environment variable {variable} to its server; give the address "
                "with --storage, or name a variable for it, such as STORAGE_PASSWORD"
            )
    if not url.startswith("$") and not _DRIVERS.match(url):
        raise ConfigError(
            f"storage: {shown(url)} is not sqlite:///FILE, postgresql://..., mysql://... or grpc://HOST:PORT; if you "
            "trust its driver, give the address with --storage"
        )


def shown(url: str) -> str:
    """The address as it may be shown: with references to the environment, and *** for a password itself."""
    return _rewritten(url, lambda text, _name: text if _REFERENCE.fullmatch(text) else _HIDDEN)


def kept(url: str) -> str:
    """The address as it may be written down: a password gives way to a reference to the environment.

    The reference is to the variable that the database's own programs read, such as ``$PGPASSWORD``.
    """
    kind = next((name for start, name in _VARIABLES.items() if url.startswith(start)), "STORAGE_PASSWORD")

    def reference(text: str, name: str) -> str:
        if _REFERENCE.fullmatch(text):
            return text
        return f"${kind}" if name.lower() in _PASSWORD else f"$STORAGE_{re.sub(r'[^A-Z0-9]', '_', name.upper())}"

    return _rewritten(url, reference)


def complete(url: str) -> str:
    """The address as a driver needs it, with what the environment holds; a password may have any characters.

    What a variable holds is the password as it is; one in the address itself may be written as in other addresses, with
    %40 for @, or as it is where that leaves no doubt.

    Raises:
        ConfigError: If a variable that holds a password is not set, or the login cannot be made out.
    """

    def value(text: str, name: str) -> str:
        reference = _REFERENCE.fullmatch(text)
        if reference is None:
            found = unquote_plus(text) if name else unquote(text)
        else:
            variable = reference[1] or reference[2]
            if variable not in os.environ:
                raise ConfigError(
                    f"storage={shown(url)}: the environment variable {variable}, which is to hold the password, is not "
                    "set; set it"
                )
            found = os.environ[variable]
        _used.update((found, text, quote(found, safe="")))
        return quote(found, safe="")

    address = url if _has_secret(url) else os.path.expandvars(url)  # a variable may hold a login, or all of it
    if _is_unreadable(address):
        raise ConfigError(
            f"storage={shown(url)}: cannot be read as an address; write scheme://user:$PASSWORD@host/database, with "
            "the password in the environment variable PASSWORD"
        )
    return _rewritten(address, value, os.path.expandvars)


def redacted(text: str) -> str:
    """A message without the passwords that were used."""
    for secret in sorted(_used, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, _HIDDEN)
    return text


def _has_secret(url: str) -> bool:
    found: list[str] = []
    _rewritten(url, lambda text, _name: found.append(text) or text)  # type: ignore[func-returns-value]
    return bool(found)


def _is_unreadable(url: str) -> bool:
    """Return whether there seems to be a login that cannot be made out."""
    return _login(url) is None and "@" in _after_scheme(url).partition("/")[0].partition("?")[0]


def _rewritten(url: str, change: Callable[[str, str], str], others: Callable[[str], str] = str) -> str:
    """The address with its secrets changed, and with the rest changed by ``others``.

    Args:
        url: The address.
        change: From a secret and the name of its parameter, empty for the login's password, to what stands for it.
        others: Changes what lies between.
    """
    if _is_unreadable(url):
        scheme = _SCHEME.match(url)
        return f"{scheme[0] if scheme else ''}{_HIDDEN}"
    login = _login(url)
    user, password, place = login or (url, None, "")
    place, mark, query = place.partition("?") if login else ("", "", "")
    if login is None:
        user, mark, query = url.partition("?")
    text = others(user)
    if password is not None:
        text += ":" + (change(password, "") if password else "")
    text += others(place)

    def parameter(found: re.Match[str]) -> str:
        name, given = found[2], found[3]
        secret = _SECRET.search(name) and given
        return f"{found[1]}{others(name)}={change(given, name) if secret else others(given)}"

    return text + _PARAMETER.sub(parameter, mark + query)


def _login(url: str) -> tuple[str, str | None, str] | None:
    """Scheme and user, the password, and the rest from the @ on; None if there is no login.

    A password may hold any characters: it ends at the first @ that is followed by what can be a host.
    """
    scheme = _SCHEME.match(url)
    rest = _after_scheme(url)
    if scheme is None or "@" not in rest:
        return None
    user, _, place = rest.partition("@")
    if not re.search("[:/?]", user) and _PLACE.fullmatch(place):
        return scheme[0] + user, None, f"@{place}"
    user, colon, rest = rest.partition(":")
    if not colon or re.search("[/?]", user):
        return None
    for at in re.finditer("@", rest):
        if _PLACE.fullmatch(rest, at.end()):
            return scheme[0] + user, rest[: at.start()], rest[at.start() :]
    return None


def _after_scheme(url: str) -> str:
    scheme = _SCHEME.match(url)
    return url[scheme.end() :] if scheme else url
