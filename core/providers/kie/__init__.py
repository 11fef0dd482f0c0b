"""KieAI: one adapter for each family of its APIs, over one client. Rules are those of its documents."""
