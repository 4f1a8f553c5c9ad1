"""The wire, for both roles, without I/O: bytes in, events out; messages in, bytes out.

`connection.Connection` is the way in. `greeting` alone is free of third-party imports, because a host writes its
hello before it imports anything that takes time.
"""
