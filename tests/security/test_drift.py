"""What has drifted on a secure stack is named by one command: rights, grants, files, versions."""

from __future__ import annotations

import json

import psycopg

from tests.secure import Secure, xinliu


def drifted(secure: Secure) -> set[tuple[str, str]]:
    done = xinliu(secure, "doctor", "--security", "--json")
    assert done.returncode in (0, 1), done.stderr
    found = {(one["area"], one["what"]) for one in json.loads(done.stdout)}
    assert done.returncode == bool(found)
    return {
        (area, what)
        for area, what in found
        if str(secure.stack.layout.folder) in what or area not in ("files", "versions")
    }


def test_a_grant_and_an_open_file_are_drifts_and_nothing_else_is(secure: Secure) -> None:
    assert drifted(secure) == set()
    file = secure.stack.layout.folder / "stack.json"
    mode = file.stat().st_mode
    owner = secure.connection.acting("admin").database.get_secret_value()
    try:
        file.chmod(0o644)
        with psycopg.connect(owner, autocommit=True) as database:
            database.execute("GRANT SELECT ON xinliu.replay TO xinliu_reader")
        found = drifted(secure)
    finally:
        file.chmod(mode)
        with psycopg.connect(owner, autocommit=True) as database:
            database.execute("REVOKE SELECT ON xinliu.replay FROM xinliu_reader")
    assert {area for area, _ in found} == {"files", "database grants"}
    assert drifted(secure) == set()
