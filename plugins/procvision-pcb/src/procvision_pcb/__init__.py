"""`pcb-compare`: names what differs between a bare circuit board and a defect-free reference.

`compare.Reference` is the whole of it as a library; `algorithm.PcbCompare` puts it behind a ProcVision host.
"""
