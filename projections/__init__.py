"""Read models built from the log. Each can be thrown away and built again. See README.md in this folder."""
