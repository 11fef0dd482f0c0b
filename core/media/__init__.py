"""Media models as data: what they take, what they cost, and a provider request made of a caller's. Pure."""
