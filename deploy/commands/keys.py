"""Commands `xinliu exchange keys new | list | use | retire`: the provinces' signing keys, replaced without a stop."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.calendar.clock import TIME_HELP, read_time, time_text
from schemas.console.groups import EXCHANGE, group
from schemas.console.hints import hint
from schemas.console.options import Json
from schemas.console.tables import Wide, print_table
from schemas.console.terminal import Console
from schemas.errors import UsageError
from schemas.exchange.keys import Keyring, Signer, make_key, retire, switch
from schemas.operations.two_people import require_two

if TYPE_CHECKING:
    from schemas.servers.connection import Connection, Exchange

__all__ = ["keys_app", "mount"]

keys_app = typer.Typer(
    help="The keys that provinces sign with: a new one signs, and an old one is retired, while everything runs.",
    no_args_is_help=True,
)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]
KeyId = Annotated[str, typer.Argument(help="Which key: `xinliu exchange keys list` names them.")]


@dataclass(frozen=True, slots=True)
class _Keys:
    province: str
    keyring: Path
    signing: Path | None
    """The view worker's signing key file; None if it is not set for this process."""

    @property
    def signs(self) -> str | None:
        """Id of the signing key."""
        return Signer.from_file(self.signing).key_id if self.signing is not None and self.signing.exists() else None

    @property
    def needed(self) -> Path:
        """The view worker's signing key file. Raises UsageError if it is not set."""
        if self.signing is None:
            raise UsageError("the setting `exchange` names no signing_key: this is done where the view worker runs")
        return self.signing


@keys_app.command("new")
def new(
    ctx: typer.Context,
    algorithm: Annotated[str, typer.Option(help="How it signs.")] = "ed25519",
    use_it: Annotated[
        bool, typer.Option("--use", help="Sign with it at once: where all provinces look into this very keyring.")
    ] = False,
) -> None:
    """Make a key of this province: its public file goes into the keyring, the private one waits beside that which signs."""
    keys = _keys(ctx)
    signing = keys.needed
    file = make_key(keys.province, signing.parent, keys.keyring, algorithm=algorithm)
    key_id = file.name.split(".")[1]
    public = keys.keyring / f"{keys.province}.{key_id}.json"
    if not signing.exists():
        file.replace(signing)
        print(
            f"{key_id} signs: it is the first key of {keys.province} here; copy {public} to the other provinces' keyrings"
        )
    elif use_it:
        print(f"{key_id} signs from now on instead of {switch(signing, file, keys.keyring)}")
    else:
        print(
            hint(
                f"{key_id} waits: copy {public} to the other provinces' keyrings, then `xinliu exchange keys use {key_id}`"
            )
        )


@keys_app.command("use")
def use(ctx: typer.Context, key_id: KeyId, dry_run: DryRun = False) -> None:
    """Sign with a key that waits, from now on: every other province must have its public file already."""
    keys = _keys(ctx)
    signing = keys.needed
    waiting = signing.parent / f"{keys.province}.{key_id}.key.json"
    if keys.signs == key_id:
        raise UsageError(f"the key {key_id!r} signs already")
    if not waiting.exists():
        raise UsageError(f"there is no {waiting}: `xinliu exchange keys new` makes a key")
    if dry_run:
        print(f"{key_id} would sign instead of {keys.signs}")
        return
    before = switch(signing, waiting, keys.keyring)
    print(hint(f"{key_id} signs from now on instead of {before}; then `xinliu exchange keys retire {before}`"))


@keys_app.command("retire")
def retire_key(
    ctx: typer.Context,
    key_id: KeyId,
    until: Annotated[
        str | None, typer.Option(help=f"Nothing that it signs later is believed; now by default. {TIME_HELP}")
    ] = None,
    compromised: Annotated[
        bool,
        typer.Option(
            "--compromised", help="Somebody else may have it: believe nothing of it any more, whenever it came."
        ),
    ] = False,
    province: Annotated[
        str | None, typer.Option(help="Of another province: it is believed here no more, whatever that province does.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; kept with the event, where two people are asked for.")] = "",
    dry_run: DryRun = False,
) -> None:
    """Believe nothing of a key that comes, or says it was made, from now on; what came before stands.

    What a compromised key has brought already is taken out by `xinliu replay plan --cut-off`. If two people are
    required, the first call proposes it, another person approves that (`xinliu approve`), and the same call does it.
    """
    keys = _keys(ctx)
    whose = province or keys.province
    if whose == keys.province and keys.signs == key_id:
        raise UsageError(f"the key {key_id!r} signs: let another sign first (`xinliu exchange keys new`, `… use`)")
    moment = read_time(until, "--until") or datetime.now(UTC)
    if key_id not in {key.key_id for key in Keyring(keys.keyring).held() if key.province == whose}:
        raise UsageError(f"there is no key {key_id!r} of {whose} in {keys.keyring}")
    if not dry_run:
        connect: Callable[[], Connection] = ctx.obj
        about = {"province": whose, "key_id": key_id, "until": until and moment.isoformat(), "compromised": compromised}
        why = reason.strip() or f"{key_id} of {whose} is retired"
        proposal = require_two(connect(), "CUT_OFF_KEY", about, why)
        if proposal is not None:  # written first: an unlogged action must not happen
            _write_down(connect(), {**about, "until": moment.isoformat(), "proposal": proposal}, why)
        retire(keys.keyring, whose, key_id, moment, compromised=compromised)
    file = keys.keyring / f"{whose}.{key_id}.json"
    believed = "believed no more, whatever it signed" if compromised else f"believed until {time_text(moment)}"
    print(f"{key_id} {'would be' if dry_run else 'is'} {believed}; copy {file} to the other provinces' keyrings")


def _write_down(connection: Connection, detail: Mapping[str, Any], reason: str) -> None:
    from schemas.contracts.registry import Registry
    from schemas.operations.log import OperationsWriter
    from schemas.operations.operators import operator_event

    event = operator_event(connection.kafka, "KEY_RETIRED", reason, detail)
    with Registry(connection.registry) as registry:
        OperationsWriter(connection.kafka, registry).write(event)


@keys_app.command("list")
def list_keys(ctx: typer.Context, wide: Wide = False, as_json: Json = False) -> None:
    """Show the keys in the keyring: of all provinces, and which of ours signs."""
    keys = _keys(ctx)
    signs, now = keys.signs, datetime.now(UTC)
    found = []
    for key in Keyring(keys.keyring).held():
        ours = key.province == keys.province
        over = key.believed_until is not None and key.believed_until <= now
        state = (
            "COMPROMISED"
            if key.compromised
            else "SIGNS"
            if ours and key.key_id == signs
            else "RETIRED"
            if over
            else "BELIEVED"
        )
        until = key.believed_until.isoformat() if key.believed_until else None
        found.append(
            {
                "province": key.province,
                "key_id": key.key_id,
                "algorithm": key.algorithm,
                "state": state,
                "believed_until": until,
            }
        )
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return
    rows = [
        (
            *(row[name] or "" for name in ("province", "key_id", "algorithm", "state")),
            time_text(datetime.fromisoformat(row["believed_until"])) if row["believed_until"] else "",
        )
        for row in found
    ]
    titles = ("province", "key", "algorithm", "state", "believed until")
    print_table(Console(), titles, rows, least=("algorithm",), wide=wide)


def _keys(ctx: typer.Context) -> _Keys:
    connect: Callable[[], Connection] = ctx.obj
    connection = connect().acting("view")  # who signs
    exchange: Exchange | None = connection.exchange
    if exchange is None:
        raise UsageError(
            "this province shares nothing: name keyring and signing key with XINLIU_EXCHANGE (docs/exchange.md)"
        )
    return _Keys(connection.province, exchange.keyring, exchange.signing_key)


def mount(app: typer.Typer) -> None:
    """Add the commands to `xinliu`."""
    group(app, "exchange", EXCHANGE).add_typer(keys_app, name="keys")
