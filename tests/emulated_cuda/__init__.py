"""A GPU that is not there: the program's own code runs with device cuda, and its tensors lie in the machine's memory.

What is emulated is what the program and its libraries ask of `torch.cuda` and of the driver: events, streams,
synchronisation, the caching allocator, the device's facts. No number of it says anything of a GPU.

- gpu.py: the device, with its allocator; what it counts
- tensors.py: which tensors lie on the device, and which calls make the host wait for it
- streams.py: events and streams
- torch_cuda.py: `torch.cuda` and NCCL replaced; `emulated_cuda()` is the way in
- cells.py: one rank of a cell, in this process
- commands.py, site/: whole commands, whose every process has the emulation
"""
