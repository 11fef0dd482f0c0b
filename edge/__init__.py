"""The HTTP proxy in front of everything: it checks what can be checked cheaply, sends work to a core, relays the
answer, and keeps no state that matters. It imports nothing of the core."""
