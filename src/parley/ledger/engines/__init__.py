"""What orders the transactions of a consortium: one package per engine."""
