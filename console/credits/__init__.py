"""Credits by hand, and taking them back: who asked, who agreed, and that each is carried out exactly once."""
