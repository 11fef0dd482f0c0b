"""Everything that touches NATS: connection, streams, append, tail, frames, bodies. No other package imports nats."""
