"""The systemd unit of a node: when it starts, how it is watched, and what it may touch.

Sources: systemd.service(5), systemd.exec(5) and systemd.resource-control(5). `systemd-analyze security` rates what a
unit may still do; tests hold this one to its lowest level.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from eyeflow.base.record import dataclass
from eyeflow.node.boards.settings import board_needs
from eyeflow.node.config.config import NodeConfig
from eyeflow.node.config.sections import Backend
from eyeflow.node.engine.engine import STOP_GRACE_S

WATCHDOG_S = 60
STOP_S = int(STOP_GRACE_S) + 55
"""How long a stop may take: actions under way, then the store. A slow disk must not cost the clean end."""

TEMPLATE = """\
# Written by `eyeflow node install-service`. Change it with: systemctl edit {unit}

[Unit]
Description=eyeflow node {name}
After=network.target time-sync.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
WorkingDirectory={folder}
User={user}
UMask=0077
Restart=on-failure
RestartSec=5
WatchdogSec={watchdog}
TimeoutStartSec=5min
TimeoutStopSec={stop}
LimitNOFILE=4096

# It writes to its own files, and to nothing else.
ProtectSystem=strict
ProtectHome={home}
ReadWritePaths={writable}
PrivateTmp={private_tmp}
PrivateMounts=yes

# It uses the devices of its configuration, and no others.
PrivateDevices={private_devices}
DevicePolicy=closed
{devices}
# It is an ordinary process with a network.
CapabilityBoundingSet=
AmbientCapabilities=
NoNewPrivileges=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
{priority}SystemCallErrorNumber=EPERM
LockPersonality=yes
MemoryDenyWriteExecute={no_jit}
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RemoveIPC=yes

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True, slots=True)
class Service:
    """A node as a service: the name of its unit, and the unit's text."""

    unit: str
    text: str


def service_of(config: NodeConfig, config_file: Path, command: tuple[str, ...], user: str) -> Service:
    """Return the service of a node; `command` is how this eyeflow is called, by absolute paths."""
    unit = f"eyeflow-{re.sub('[^a-zA-Z0-9_.-]', '-', config.name)}.service"
    needs = [one.system_needs(config.ports) for one in config.ports.connectors if not one.needed(config.ports)]
    needs.append(board_needs(config.boards))
    devices = sorted({device for one in needs for device in one.devices})
    groups = sorted({group for one in needs for group in one.groups})
    writable = [config.data_dir, *(path for one in needs for path in one.writable)]
    paths = (config_file, *writable, Path(command[0]))
    lines = [f"DeviceAllow={_word(device)} rw" for device in devices]
    lines += [f"SupplementaryGroups={' '.join(groups)}"] * bool(groups)
    command_line = (*command, "node", "start", "--config", str(config_file))
    return Service(
        unit,
        TEMPLATE.format(
            unit=unit,
            name=_text(config.name),
            command=" ".join(map(_word, command_line)),
            folder=_text(str(config_file.parent)),
            user=_text(user),
            watchdog=WATCHDOG_S,
            stop=STOP_S,
            home="read-only" if _are_below(paths, "/home", "/root", "/run/user") else "yes",
            private_tmp="no" if _are_below(paths, "/tmp", "/var/tmp") else "yes",
            writable=" ".join(_word(str(path)) for path in writable),
            private_devices="no" if devices else "yes",
            # Java writes the code that it runs.
            no_jit="no" if config.offline.backend is Backend.KAFKA_EMBEDDED else "yes",
            # What copies to Kafka lowers its own priority, so that it gives way to rules.
            priority="" if config.offline.backend is Backend.SQLITE else "SystemCallFilter=setpriority\n",
            devices="".join(f"{line}\n" for line in lines),
        ),
    )


def _are_below(paths: tuple[Path, ...], *folders: str) -> bool:
    """Say whether one of these paths is below one of the folders: those cannot be hidden then."""
    return any(path.resolve().is_relative_to(folder) for path in paths for folder in folders)


def _text(value: str) -> str:
    """Return a text in which systemd finds no specifier."""
    return value.replace("%", "%%")


def _word(value: str) -> str:
    """Return one word of a line, quoted if it must be. `$` would be a variable there."""
    escaped = _text(value).replace("\\", "\\\\").replace("$", "$$")
    return escaped if shlex.quote(value) == value else '"' + escaped.replace('"', '\\"') + '"'
