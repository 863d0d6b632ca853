"""Channels between parties: in memory, and WebSocket over mutual TLS."""
