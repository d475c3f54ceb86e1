"""The cluster's configuration files: two nodes of one host, four GPUs each, everything on the loopback."""

import socket
from dataclasses import dataclass
from pathlib import Path

NODES = ("n1", "n2")
CPUS_PER_NODE = 8
GPUS_PER_NODE = 4
MAX_ARRAY_SIZE = 40
FIRST_PORT, LAST_PORT = 17001, 18000  # below the ports that the kernel hands to outgoing connections


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Of the loopback; slurmdbd reaches its database by a socket."""

    nodes: tuple[int, ...]
    controller: int
    accounting: int


def free_ports() -> Ports:
    """The first block of ports that nobody listens on, so that two clusters fit one machine.

    By blocks, so that the port of a daemon that a test has stopped is not taken by another cluster.
    """
    size = len(NODES) + 2
    for first in range(FIRST_PORT, LAST_PORT, size):
        block = range(first, first + size)
        if all(is_free(port) for port in block):
            *nodes, controller, accounting = block
            return Ports(nodes=tuple(nodes), controller=controller, accounting=accounting)
    raise OSError(f"no {size} free ports in a row from {FIRST_PORT} to {LAST_PORT}")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - free on every address, nothing is served
        except OSError:
            return False
        return True


def slurm_conf(directory: Path, ports: Ports) -> str:
    """Jobs start within a second, a lost node is noticed within seconds, a requeued job starts again at once.

    `cred_expire` is also how long SLURM holds back a job that it has requeued.
    """
    host = socket.gethostname()
    return f"""\
ClusterName=sailor
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports.controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={directory}/munge/socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool/%n
SlurmctldPidFile={directory}/run/slurmctld.pid
SlurmdPidFile={directory}/run/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides

SlurmdTimeout=10
KillWait=2
MinJobAge=3600
OverTimeLimit=0
JobRequeue=1
MaxArraySize={MAX_ARRAY_SIZE}

SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=1000

AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports.accounting}
AccountingStoragePass={directory}/munge/socket
AccountingStorageTRES=gres/gpu
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill

GresTypes=gpu
{node_lines(host, ports)}
PartitionName=debug Nodes={",".join(NODES)} Default=YES DefaultTime=00:10:00 MaxTime=01:00:00
PartitionName=short Nodes={",".join(NODES)} DefaultTime=00:01:00 MaxTime=00:02:00
"""


def node_lines(host: str, ports: Ports) -> str:
    return "\n".join(
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
        f"CPUs={CPUS_PER_NODE} RealMemory=16000 Gres=gpu:{GPUS_PER_NODE}"
        for node, port in zip(NODES, ports.nodes, strict=True)
    )


def gres_conf(directory: Path) -> str:
    return f"NodeName={','.join(NODES)} Name=gpu File={directory}/gpu[0-{GPUS_PER_NODE - 1}]\n"


def slurmdbd_conf(directory: Path, ports: Ports) -> str:
    """`localhost` makes the database's client library use the socket named by MYSQL_UNIX_PORT."""
    return f"""\
AuthType=auth/munge
AuthInfo=socket={directory}/munge/socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={ports.accounting}
SlurmUser=root
PidFile={directory}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_accounting
"""


def mariadb_conf(directory: Path) -> str:
    """Small and forgetful: its data live as long as the cluster."""
    return f"""\
[mariadbd]
user=root
datadir={directory}/database/data
tmpdir={directory}/database
socket={directory}/database/socket
pid-file={directory}/run/mariadbd.pid
skip-networking
performance_schema=off
innodb_buffer_pool_size=64M
innodb_log_file_size=16M
innodb_flush_log_at_trx_commit=0
innodb_lock_wait_timeout=900
"""
