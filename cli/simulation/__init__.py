"""`onysoft simulate`: a month of business, written into a fresh instance by the gateway's own fold and sinks."""
