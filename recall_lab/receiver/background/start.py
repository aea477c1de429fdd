"""Start a receiver, or find the one that runs.

A cell may be run again and again, by several notebooks, after a kernel has restarted: there is
one receiver for one port and one set of settings, and this is where it is found.
"""

from __future__ import annotations

import atexit
import socket
import sys
from pathlib import Path

import msgspec

from recall_lab.arguments import Duration
from recall_lab.control.limits import Limits
from recall_lab.control.settings import Settings
from recall_lab.errors import PortInUse
from recall_lab.receiver.access import Access, Secrets, hidden_all, with_access
from recall_lab.receiver.background.handle import Receiver
from recall_lab.receiver.background.hosts import Host, ProcessHost, ThreadHost
from recall_lab.receiver.tunnel import check_installed
from recall_lab.text import counted

# Kept through %autoreload, which runs this module again in the same namespace. That someone
# holds the receiver is also what keeps a child from lingering out.
_receivers: dict[str, Receiver] = globals().get("_receivers", {})


def receive(
    port: int = 3456,
    directory: str | Path | None = None,
    host: str = "127.0.0.1",
    mode: str = "process",
    *,
    idle_timeout: Duration | None = 600.0,
    sync: Duration = 1.0,
    secret: Secrets = None,
    token: Secrets | bool = None,
    replay_check: bool = False,
    tunnel: str | None = None,
    domain: str | None = None,
    public_url: str | None = None,
    limits: Limits | None = None,
    locks: bool = True,
    replace: bool = False,
) -> Receiver:
    """Start to receive in the background and return at once.

    Running the cell again, after a kernel restart too, gives the receiver that is already
    running when the settings are the same; when they differ, it is stopped and a new one starts
    on the same port, unless a bot is connected to it or another notebook uses it. It is never moved
    to another port.

    Args:
        port: port to listen on; 0 takes any free one (see ``Receiver.port``), and gives a receiver
            that no other notebook or script uses.
        directory: where captures go; made if it is not there. By default ``captures`` where the
            kernel, or the program, was started: ``%cd`` changes nothing.
        host: address to listen on; the default is reachable from this machine only.
        mode: ``"process"``: in a child process, which a busy kernel does not disturb and which
            outlives it. ``"thread"``: in a thread of this process, for places where no child
            can run. A thread loses nothing either, but while the kernel computes in pure Python
            it is late to note when a packet arrived: by some 10 ms with one stream, by seconds
            with twenty. Latency and jitter measured then are the kernel's, not the network's.
        idle_timeout: seconds that a child goes on with no notebook attached and no bot connected;
            None: until it is stopped. A bot that is scheduled (``rl.bots.create(join_at=)``) is
            waited for. It can be made longer by running the cell again, and not shorter.
        sync: seconds between two syncs of a capture to the disk: what a power cut can cost. With
            many hundreds of streams it takes longer; ``status.unsynced`` says how much is due.
        secret: of the workspace, ``whsec_...``, or several while it is replaced: only connections
            signed with it are let in. Best left to the environment or ``.env``
            (RECALL_WORKSPACE_VERIFICATION_SECRET), where a notebook does not show it.
        token: what has to be in the URL, ``?token=...`` (128 bits or more), or several; False for
            none. True has one made, which stays the same when the receiver is started with other
            settings, until it is stopped. A bot is told it by ``rx.bot_url``.
        replay_check: let a signed request in only once.
        tunnel: ``"ngrok"`` or ``"cloudflared"``: open the receiver to the internet
            (see :mod:`recall_lab.receiver.tunnel`); closed when it stops.
        domain: the address that ngrok keeps for you.
        public_url: where bots connect, when a tunnel or proxy of yours leads to this port.
        limits: how much is taken of those who connect, such as ``rl.Limits(day=20 * 2**30)``:
            space on the disk, streams, sockets.
        locks: False lets it write where the file system has no locks (some of NFS, of Lustre):
            nothing then keeps a second receiver from spoiling a recording that it writes too.
        replace: stop a receiver with other settings that has the port, even while bots are
            connected to it or another notebook uses it.

    A receiver that can be reached from outside (by a tunnel, a `public_url`, or a `host` other
    than this machine's own) has to have a secret or a token. What of them is not given is taken
    from the environment; where both are there, both are demanded.
    ``status.auth_required`` says what is.

    Raises:
        PortInUse: when another program has the port, or a receiver with other settings that bots
            are connected to, or that another notebook uses.
        ReceiverFailed: when the receiver can't start, or nothing could be kept in the folder, which
            is tried; says why.
        TunnelFailed: when the tunnel can't be opened here.
        InvalidArgument: for a setting that can't be, or a receiver open to all.
        MissingSetting, MissingExtra: for a tunnel of ngrok, without its token or its SDK.

    Example:
        >>> rx = receive(port=3456, directory="captures")  # doctest: +SKIP
        >>> rx.url  # doctest: +SKIP
        'ws://127.0.0.1:3456/'
    """
    secret, token = hidden_all(secret), hidden_all(token)
    directory = _default() if directory is None else directory
    settings = Settings.checked(
        host=host, port=port, mode=mode, directory=directory, idle_timeout=idle_timeout, sync=sync,
        tunnel=tunnel, domain=domain, public_url=public_url, limits=limits,
        locks=locks,
    )  # fmt: skip
    check_installed(settings.tunnel)
    access = Access.checked(secret, token, replay_check=replay_check, public=settings.exposure)
    settings = with_access(settings, access)
    found, access = _make_way(settings, access, replace)
    if found is None:
        try:
            found = Receiver(_start(settings, access))
        except PortInUse:
            # two cells may have started the same receiver at once: the other one's will do
            found, _ = _make_way(settings, access, replace)
            if found is None:
                raise
    found._host.ready()
    for stopped in [id_ for id_, rx in _receivers.items() if not rx.alive]:
        del _receivers[stopped]
    _receivers[found.id] = found
    return found


def receivers() -> list[Receiver]:
    """Return all receivers of this user that run, in this process or in children.

    Example:
        >>> for rx in receivers():  # doctest: +SKIP
        ...     rx.stop()
    """
    here = {rx.id: rx for rx in _receivers.values() if rx.alive}
    for host in ProcessHost.running():
        if host.id in here:
            host.close()
        else:
            here[host.id] = Receiver(host)
    return list(here.values())


def _make_way(settings: Settings, access: Access, replace: bool) -> tuple[Receiver | None, Access]:
    """Return the receiver that already runs with these settings; stop one that has our port.

    A token that was made for the one that is stopped goes over to the next: its bots know it.

    Raises:
        PortInUse: when that one is in use.
    """
    for found in receivers():
        theirs = found._host.settings
        if theirs.same_as(settings) and (settings.port or not found._host.others()):
            found._host.stay(settings.idle_timeout)
            return found, access
        if settings.port and found.port == settings.port and _meet(theirs.host, settings.host):
            in_use = "" if replace else _in_use(found, settings)
            if in_use:
                raise PortInUse(settings.port, in_use)
            token, made = found._host.token() if access.made else ("", False)
            if made:
                access = msgspec.structs.replace(access, tokens=(token,))
            found.stop()
        elif found.id not in _receivers:
            found._host.close()
    return None, access


def _in_use(found: Receiver, wanted: Settings) -> str:
    """Say who would miss a receiver, and how to share it; ``""`` when nobody would."""
    others, bots = found._host.others(), found.status.connections
    users = ["process " + ", ".join(map(str, others)) + " uses too"] * bool(others)
    users += [f"{counted(bots, 'bot')} {'is' if bots == 1 else 'are'} connected to"] * bool(bots)
    if not users:
        return ""
    theirs = found._host.settings
    differs = [
        f"{name}={getattr(theirs, name)!r}"
        for name in theirs.__struct_fields__
        if name not in ("access", "idle_timeout") and getattr(theirs, name) != getattr(wanted, name)
    ]
    differs += ["the same secret and token"] * (theirs.access != wanted.access)
    return (
        f"a receiver into {theirs.directory!r} that {' and '.join(users)} (the same settings would "
        f"share it: {', '.join(differs)}; replace=True, in a terminal --replace, ends it)"
    )


def _meet(one: str, other: str) -> bool:
    """Whether nobody can listen on one port of both hosts at the same time."""
    if one == other or not {one, other}.isdisjoint({"0.0.0.0", "::", ""}):
        return True
    try:
        first, second = ({info[4][0] for info in socket.getaddrinfo(h, None)} for h in (one, other))
    except OSError:
        return True
    return bool(first & second)


def _default() -> Path:
    """Return where captures go unless told otherwise: where the kernel, or the program, began."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return Path(getattr(shell, "starting_dir", "")) / "captures"


def _start(settings: Settings, access: Access) -> Host:
    start = ProcessHost.start if settings.mode == "process" else ThreadHost.start_with
    return start(settings, access)


@atexit.register
def _stop_threads() -> None:
    """Close the captures of receivers that end with this process."""
    for receiver in list(_receivers.values()):
        if receiver.mode == "thread" and receiver.alive:
            receiver.stop()
