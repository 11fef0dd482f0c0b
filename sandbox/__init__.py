"""The provider simulator: a real HTTP server that speaks OpenRouter's protocol; everything runs with no account."""
