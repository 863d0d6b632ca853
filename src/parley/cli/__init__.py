"""The commands: one module per group, over what the party offers."""
