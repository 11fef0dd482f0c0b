"""`./dev bench`: measures the gateway, and its peers, on this machine. See docs/bench.md for how and what came out."""
