"""How to talk to a model: provider accounts, the streaming client, the catalogue of models."""
