"""Texts of real failures, and what each one means. Where no source is given, the text is that of the library's code.

Sources: pytorch 2.13 (c10/cuda/CUDACachingAllocator.cpp, aten/src/ATen/cuda/Exceptions.h, torch/csrc/distributed/c10d),
NCCL 2.29.7 (the strings of libnccl.so.2), and the GitHub threads that are named.
"""

import errno

import pytest
import torch

from sailor_exp.config.schema import Device
from sailor_exp.errors import TooFewDevicesError
from sailor_exp.instruments import failures
from sailor_exp.instruments.failures import ran_out_of_memory, told
from sailor_exp.sweep.messages import Cause
from sailor_exp.sweep.rank_process import cause_of
from sailor_exp.units import GIB
from tests.build.cells import cell

OOM, LOST, FAILED = Cause.out_of_memory, Cause.lost_peer, Cause.error

ASYNCHRONOUS = (
    "\nCUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be "
    "incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\nCompile with `TORCH_USE_CUDA_DSA` to enable "
    "device-side assertions.\n"
)


def cuda(text):
    return torch.AcceleratorError(f"CUDA error: {text}{ASYNCHRONOUS}")


def nccl(kind, meaning, last_error):
    call = "NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.cpp:94"
    version = "NCCL version 2.27.5"
    return torch.distributed.DistBackendError(
        f"{call}, {kind} (run with NCCL_DEBUG=INFO for details), {version}\n{meaning}\nLast error:\n{last_error}"
    )


def cuda_call(last_error):
    return nccl("unhandled cuda error", "ncclUnhandledCudaError: Call to CUDA function failed.", last_error)


def system_call(last_error):
    meaning = "ncclSystemError: System call (e.g. socket, malloc) or external library call failed or device error."
    return nccl("unhandled system error", meaning, last_error)


def remote(last_error):
    meaning = "ncclRemoteError: A call failed possibly due to a network error or a remote process exiting prematurely."
    return nccl("remote process exited or there was a network error", meaning, last_error)


ALLOCATOR = (
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 39.39 GiB of which 12.31 MiB is "
    "free. Including non-PyTorch memory, this process has 39.37 GiB memory in use."
)
NO_HANDLE = RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`")
NO_ROOM = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
HOST = OSError(errno.ENOMEM, "Cannot allocate memory")
CPU_ALLOCATOR = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "17179869184 bytes. Error code 12 (Cannot allocate memory)"
)

ON_A_GPU = [
    # out of the GPU's memory
    (torch.OutOfMemoryError(ALLOCATOR), OOM),
    (cuda("out of memory"), OOM),
    (RuntimeError("CUDA driver error: out of memory"), OOM),
    (RuntimeError("Triton Error [CUDA]: out of memory"), OOM),
    (cuda_call("Cuda failure 2 'out of memory'"), OOM),  # NVIDIA/nccl#1235
    # the GPU, for another reason
    (NO_HANDLE, FAILED),  # EleutherAI/lm-evaluation-harness#1689: an index out of range
    (cuda_call("Failed to CUDA calloc async 608 bytes"), FAILED),
    (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle, opa, opb)`"), FAILED),
    (cuda("no kernel image is available for execution on the device"), FAILED),
    (cuda("an illegal memory access was encountered"), FAILED),
    (cuda("uncorrectable ECC error encountered"), FAILED),
    (cuda("too many resources requested for launch"), FAILED),
    (RuntimeError("out of resource: shared memory, Required: 147456, Hardware limit: 101376"), FAILED),
    (cuda_call("Cuda failure 1 'invalid argument'"), FAILED),  # hiyouga/LlamaFactory#8036
    # the machine around it
    (HOST, FAILED),
    (CPU_ALLOCATOR, FAILED),
    (MemoryError(), FAILED),
    (RuntimeError("std::bad_alloc"), FAILED),
    (system_call("Call to ibv_reg_mr failed with error Cannot allocate memory"), FAILED),
    (cuda_call("Failed to CUDA host alloc 4194304 bytes"), FAILED),
    (RuntimeError("Resource temporarily unavailable"), FAILED),
    # NCCL, and no peer was lost
    (
        system_call(  # pytorch/ci-infra#490
            "Error while creating shared memory segment /dev/shm/nccl-WU88OE (size 9637888), error: No space left on "
            "device (28)"
        ),
        FAILED,
    ),
    (
        nccl(
            "invalid usage",
            "ncclInvalidUsage: This usually reflects invalid usage of NCCL library.",
            "Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 1000",
        ),
        FAILED,
    ),
    (
        nccl("internal error", "ncclInternalError: Internal check failed.", "Bootstrap : no socket interface found"),
        FAILED,
    ),
    (
        torch.distributed.DistNetworkError(
            "The server socket has failed to listen on any local network address. port: 29500, useIpv6: false, code: "
            "-98, name: EADDRINUSE, message: address already in use"
        ),
        FAILED,
    ),
    # a peer is gone
    (remote("socketProgress: Connection closed by remote peer node1<57557>"), LOST),  # NVIDIA/nccl#1232
    (remote("Net : Call to recv from 10.200.84.247<58355> failed : Broken pipe"), LOST),  # NVIDIA/nccl#795
    (
        nccl(
            "internal error",
            "ncclInternalError: Internal check failed.",
            "Socket recv failed while polling for opId=0x7f6f18cb7f40",  # NVIDIA/nccl-tests#166
        ),
        LOST,
    ),
    (system_call("socketStartConnect: Connect to 10.0.0.2<45763> failed : Software caused connection abort"), LOST),
    (
        remote("NET/IB : Got completion from peer 10.0.35.1<49189> with error 4, opcode 5327, len 5327"),
        LOST,
    ),  # NVIDIA/nccl-tests#252
    (torch.distributed.DistBackendError("NCCL communicator was aborted on rank 1."), LOST),
    (
        torch.distributed.DistBackendError(
            "[Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7, OpType=ALLREDUCE) ran for "
            "360029 milliseconds before timing out."
        ),
        LOST,
    ),
    (
        torch.distributed.DistNetworkError(
            "Failed to recv, got 0 bytes. Connection was likely closed. Did the remote server shutdown or crash?"
        ),
        LOST,
    ),
    (
        torch.distributed.DistNetworkError(
            "The client socket has failed to connect to 10.0.0.1:23456 (errno: 111 - Connection refused)."
        ),
        LOST,
    ),
    (torch.distributed.DistStoreError("Timed out after 361 seconds waiting for clients. 1/2 clients joined."), LOST),
    # neither
    (ValueError("out of memory"), FAILED),
    (RuntimeError("shape '[2, 3]' is invalid for input of size 5"), FAILED),
    (TooFewDevicesError(asked=2, visible=0), Cause.refused),
]

ON_A_CPU = [
    (CPU_ALLOCATOR, OOM),
    (MemoryError(), OOM),
    (HOST, OOM),
    (RuntimeError("std::bad_alloc"), OOM),
    (RuntimeError("could not create a memory object"), OOM),
    (RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:537] Connection closed by peer [::1]:3521"), LOST),
    (RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection reset by peer"), LOST),
    (RuntimeError("Timed out waiting 360000ms for recv operation to complete"), LOST),
    (RuntimeError("Gloo connectFullMesh failed with SO_ERROR: Connection refused, remote=[127.0.0.1]:1201"), LOST),
    (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), LOST),
    (RuntimeError("Resource temporarily unavailable"), FAILED),
    (ValueError("out of memory"), FAILED),
    (OSError(errno.ENOSPC, "No space left on device"), FAILED),
]


def shown(value):
    return f"{type(value).__name__} {str(value).strip()[-40:]}" if isinstance(value, BaseException) else None


@pytest.mark.parametrize(("error", "cause"), ON_A_GPU, ids=shown)
def test_on_a_gpu_with_memory_to_spare_each_failure_is_what_it_is(monkeypatch, error, cause):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (20 * GIB, 40 * GIB))
    assert cause_of(error, cell("gpu=a100-40", "tp=2")) is cause


@pytest.mark.parametrize(("error", "cause"), ON_A_CPU, ids=shown)
def test_on_a_cpu_the_machines_memory_is_that_of_the_rank(error, cause):
    assert cause_of(error, cell("tp=2")) is cause


@pytest.mark.parametrize("error", [NO_HANDLE, NO_ROOM, cuda_call("Failed to CUDA calloc async 608 bytes")], ids=shown)
@pytest.mark.parametrize(("free", "means"), [(0, OOM), (GIB // 10, OOM), (GIB, FAILED), (None, FAILED)])
def test_a_library_that_got_no_memory_counts_as_out_of_memory_only_where_little_is_free(
    monkeypatch, error, free, means
):
    def memory():
        if free is None:
            raise cuda("an illegal memory access was encountered")
        return free, 40 * GIB

    monkeypatch.setattr(torch.cuda, "mem_get_info", memory)
    assert cause_of(error, cell("gpu=a100-40")) is means


@pytest.mark.parametrize("error", [error for error, cause in [*ON_A_GPU, *ON_A_CPU] if cause is LOST], ids=shown)
def test_a_rank_alone_has_lost_no_peer(error):
    assert cause_of(error, cell("tp=1")) is FAILED


def test_a_thread_without_a_stack_is_out_of_memory_where_memory_is_limited(monkeypatch):
    monkeypatch.setattr(failures, "limited", lambda: True)
    error = RuntimeError("Resource temporarily unavailable")
    assert ran_out_of_memory(error, Device.cpu)
    assert not ran_out_of_memory(error, Device.cuda)


def test_the_message_has_nccls_own_cause_which_stands_on_a_later_line():
    message = told(cuda_call("Cuda failure 1 'invalid argument'"))
    assert message.startswith("DistBackendError: NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.cpp:94")
    assert message.endswith("NCCL version 2.27.5 Last error: Cuda failure 1 'invalid argument'")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (cuda("device-side assert triggered"), "AcceleratorError: CUDA error: device-side assert triggered"),
        (ValueError(), "ValueError: ValueError()"),
        (
            TooFewDevicesError(asked=2, visible=0),
            "2 ranks need 2 CUDA devices; 0 are visible. Lower tp or ranks, or run where they are.",
        ),
        (cuda_call(""), None),
    ],
    ids=shown,
)
def test_other_messages_are_one_line_with_the_type_of_an_error_that_is_not_ours(error, message):
    assert told(error) == (message or f"DistBackendError: {str(error).splitlines()[0]}")
