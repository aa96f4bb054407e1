"""Conversations, runs, and the doors to them."""
