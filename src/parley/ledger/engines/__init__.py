"""What orders transactions: the embedded engine for two or three organisations, CometBFT for more."""
