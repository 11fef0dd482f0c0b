"""`onysoft`: a client of the gRPC admin service, and the way to start one process of the gateway.

Ownership: the names of commands and the keys of their JSON, which other people's scripts rely on.
"""
