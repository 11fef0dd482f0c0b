"""`./dev up`: the whole gateway on one machine, as separate supervised processes.

Ownership: the data folder (ports.py picks ports, folder.py keeps secrets and dev.json), the processes (child.py), their
order of start and stop (supervisor.py). It knows what to start (plan.py), never what is inside.
"""
