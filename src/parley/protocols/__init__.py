"""Conversations between parties: one module each, from its ladder to its roles."""
