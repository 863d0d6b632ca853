"""The whole forest of a merged model, in the formats of others."""
