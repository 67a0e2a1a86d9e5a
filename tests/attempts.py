"""One principal tries everything, and what did not go as the rights say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from deploy.cluster.access import Right, permits
from schemas.servers.kafka import Cluster
from tests.wire import FORBIDDEN, Wire, connected

__all__ = ["Attempt", "differences"]

Attempt = Callable[[Wire, Sequence[str]], Awaitable[dict[str, int]]]


async def differences(
    cluster: Cluster,
    rights: Collection[Right],
    who: str,
    resource: str,
    names: Sequence[str],
    attempts: Mapping[str, tuple[Attempt, ...]],
) -> tuple[int, list[str]]:
    """Let one principal try everything; return how many tries there were, and those that did not go as declared."""
    wrong, tries = [], 0
    async with connected(cluster) as wire:
        for operation, ways in attempts.items():
            for way in ways:
                codes = await way(wire, names)
                assert set(codes) == set(names)
                for name, code in codes.items():
                    tries += 1
                    allowed = permits(rights, who, resource, name, operation)
                    # What is allowed is done (0); a group or an id that nobody uses yet may have other answers.
                    as_declared = (code == 0 or resource != "TOPIC") and code not in FORBIDDEN.values()
                    if (as_declared if allowed else code == FORBIDDEN[resource]) is False:
                        wrong.append(f"{who} {operation} {name}: {'allowed' if allowed else 'refused'}, code {code}")
    return tries, wrong
