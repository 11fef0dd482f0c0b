"""Adapters to the AI providers, all behind one port (`core.providers.port`)."""
