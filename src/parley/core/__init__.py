"""The words of the domain as types: errors, messages and steps, channels, trace events."""
